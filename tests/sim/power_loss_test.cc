// SPDX-License-Identifier: GPL-3.0-or-later
// A mount that lives on while the machine of its bricks loses power.
#include <fcntl.h>
#include <gmock/gmock.h>

#include "tests/sim/sim_world.h"

namespace polder {
namespace {

using namespace std::chrono_literals;

class PowerLossUnderAMount : public testing::Test {
 protected:
  PowerLossUnderAMount() { log_only_what_was_asked_for(); }
  int fsync(Gfid gfid) { return code_of(client.fsync(gfid)); }

  SimWorld world{1};
  BorrowedStack stack{world.loop, world.mount};
  Client client{stack};
};

TEST_F(PowerLossUnderAMount, WhatWasNotSyncedIsNotSaidToBeSafe) {
  const auto safe = client.file(Gfid::root(), "safe", "bytes");
  ASSERT_EQ(fsync(safe), 0);
  const auto file = client.file(Gfid::root(), "file", "bytes");
  ASSERT_EQ(code_of(client.sync()), 0);
  client.put(file, 0, std::string(100'000, 'x'));
  world.east.lose_power(3);
  world.east.boot();
  EXPECT_EQ(fsync(safe), 0);
  EXPECT_EQ(fsync(file), EIO);
  EXPECT_EQ(fsync(file), 0);
}

TEST_F(PowerLossUnderAMount, NorWhatItHadChangedOfNames) {
  const auto file = client.file(Gfid::root(), "file", "bytes");
  ASSERT_EQ(fsync(file), 0);
  client.dir(Gfid::root(), "d");
  world.east.lose_power(4);
  world.east.boot();
  EXPECT_EQ(fsync(file), EIO);
  EXPECT_EQ(fsync(Gfid::root()), EIO);
  EXPECT_EQ(fsync(Gfid::root()), 0);
}

TEST_F(PowerLossUnderAMount, AKilledDaemonHasLostNothing) {
  const auto file = client.file(Gfid::root(), "file", "bytes");
  world.east.kill();
  world.east.boot();
  EXPECT_EQ(fsync(file), 0);
  EXPECT_EQ(fsync(Gfid::root()), 0);
}

TEST_F(PowerLossUnderAMount, NorOneThatWasStoppedInOrder) {
  const auto file = client.file(Gfid::root(), "file", "bytes");
  world.east.shut_down();
  world.east.disks().crash(5);
  world.east.boot();
  EXPECT_EQ(fsync(file), 0);
}

}  // namespace
}  // namespace polder
