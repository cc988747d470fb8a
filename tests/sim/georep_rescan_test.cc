// SPDX-License-Identifier: GPL-3.0-or-later
// When the log does not reach back to what the secondary has: the primary goes over all of it again.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core-volume/layers/store/survey.h"
#include "tests/sim/sim_world.h"
#include "tests/workload/application.h"

namespace polder {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::IsEmpty;

class GeorepRescan : public testing::Test {
 protected:
  GeorepRescan() {
    log_only_what_was_asked_for();
    auto random = make_seeded_random(7);
    content.resize(1 << 20);
    random->fill(std::span(reinterpret_cast<std::uint8_t*>(content.data()), content.size()));
    a = client.dir(Gfid::root(), "a");
    b = client.dir(a, "b");
    large = client.file(a, "large", content);
    small = client.file(b, "small", "content");
    must(client.link(small, a, "second"));
    client.file(a, "gone", "content");
    const auto gone = client.dir(a, "gone-dir");
    client.file(client.dir(gone, "below"), "file", "content");
    must(client.link(small, gone, "third"));
    client.file(Gfid::root(), "replaced", "old");
    must(client.setxattr(small, "user.x", "old"));
    world.pair();
    world.start_session();
    world.checkpoint();
  }

  /// Of every kind that a rescan has to find.
  void change() {
    must(client.unlink(a, "gone"));
    const auto gone = must(client.lookup(a, "gone-dir")).gfid;
    const auto below = must(client.lookup(gone, "below")).gfid;
    must(client.unlink(below, "file"));
    must(client.rmdir(gone, "below"));
    must(client.unlink(gone, "third"));
    must(client.rmdir(a, "gone-dir"));
    must(client.rename(a, "b", Gfid::root(), "moved"));
    must(client.rename(Gfid::root(), "moved", Gfid::root(), "b"));
    must(client.rename(Gfid::root(), "a", b, "below-now"));
    must(client.unlink(Gfid::root(), "replaced"));
    client.file(Gfid::root(), "replaced", "new");
    must(client.rename(a, "large", b, "large"));
    client.put(large, 500'000, "other");
    must(client.setxattr(small, "user.x", "new"));
    must(client.unlink(a, "second"));
  }
  void change_beyond_the_log() {
    world.network.partition("east", "west");
    change();
    world.trim_log();
  }
  void connect_again() {
    world.network.reset("east", "west");
    world.network.heal("east", "west");
  }
  json::object status() { return world.status(world.east); }
  void expect_the_same() {
    EXPECT_THAT(world.differences(), IsEmpty());
    world.loop.run_for(100ms);  // the status follows
    EXPECT_EQ(status().at("status").as_string(), "Live");
    EXPECT_TRUE(status().at("exact").as_bool());
    const auto survey = must(world.west.brick().store().survey());
    EXPECT_THAT(survey.nameless, IsEmpty());
    EXPECT_EQ(survey.directories.size(), survey.subdirectories.size() + 1) << "but for the root";
  }
  std::uint64_t shipped() { return world.network.carried_bytes("east", "west"); }

  SimWorld world{1};
  BorrowedStack mounted{world.loop, world.mount};
  Client client{mounted};
  std::string content;
  Gfid a, b, large, small;
};

TEST_F(GeorepRescan, ALogThatWasTrimmedMeanwhile) {
  change_beyond_the_log();
  const auto before = shipped();
  connect_again();
  std::string seen, reason;
  for (int i = 0; i < 10'000 && seen != "Rescan"; ++i) {
    world.loop.run_for(1ms);
    seen = status().at("status").as_string();
    reason = status().at("reason").as_string();
  }
  EXPECT_EQ(seen, "Rescan");
  EXPECT_THAT(reason, HasSubstr("no longer reaches back"));
  EXPECT_FALSE(status().at("exact").as_bool());
  world.checkpoint();
  EXPECT_LT(shipped() - before, 200'000U) << "the large file's bytes are there";
  expect_the_same();
}

/// And with deaths, so that it is begun anew, goes on, and its cuts are applied again.
TEST_F(GeorepRescan, ClientsAndFaultsGoOnWhileItRuns) {
  change_beyond_the_log();
  Application application(world.mount, world.loop.clock(), *world.random);
  TaskGroup group("applications");
  group.spawn(world.loop.executor(), application.run(300));
  connect_again();
  for (int i = 0; group.size() > 0; ++i) {
    world.loop.run_for(100ms);
    if (i % 3 == 1) world.network.reset("east", "west");
    auto& site = i % 4 < 2 ? world.west : world.east;
    if (i % 5 == 2) site.lose_power(static_cast<std::uint64_t>(i));
    if (i % 5 == 4) site.kill();
    if (!site.up()) site.boot();
  }
  world.checkpoint();
  expect_the_same();
}

/// Renamed from where the listing has not been into where it has: it must not go as a surplus.
TEST_F(GeorepRescan, AFileThatMovesMeanwhileKeepsItsBytes) {
  std::vector<Gfid> directories;
  for (int i = 0; i < 40; ++i) directories.push_back(client.dir(Gfid::root(), "dir" + std::to_string(i)));
  client.file(directories[0], "mover", "content");
  world.checkpoint();
  change_beyond_the_log();
  connect_again();
  std::size_t at = 0;
  for (int i = 0; i < 200; ++i) {
    const auto to = (at + 17) % directories.size();
    must(client.rename(directories[at], "mover", directories[to], "mover"));
    at = to;
    world.loop.run_for(world.some(2ms));
  }
  world.checkpoint();
  expect_the_same();
}

TEST_F(GeorepRescan, ASecondaryThatWasWiped) {
  world.west.wipe_brick();
  change();
  world.checkpoint();
  expect_the_same();
}

TEST_F(GeorepRescan, WhatIsSpooledForAnotherStateIsDropped) {
  world.west.slow_disks({.usual = 5ms});
  change();
  const auto waits = [&] {
    const auto west = world.status(world.west);
    return west.at("spooled_cut").to_number<std::uint64_t>() >
           west.at("applied_cut").to_number<std::uint64_t>();
  };
  for (int i = 0; i < 5'000 && !waits(); ++i) world.loop.run_for(1ms);
  ASSERT_TRUE(waits());
  world.west.slow_disks({});
  world.west.wipe_brick();
  world.checkpoint();
  expect_the_same();
}

class GeorepRestoredSecondary : public GeorepRescan {
 protected:
  GeorepRestoredSecondary() {
    world.west.create_snapshot("before");
    change();
    world.checkpoint();
  }
  void restore() {
    world.west.call("POST", "/v1/volumes/data/stop");
    world.west.restore_snapshot("before");
    world.west.call("POST", "/v1/volumes/data/start");
  }
};

TEST_F(GeorepRestoredSecondary, FollowsTheLogWhereItReaches) {
  restore();
  client.file(Gfid::root(), "later", "content");
  world.checkpoint();
  expect_the_same();
}

TEST_F(GeorepRestoredSecondary, IsScannedWhereTheLogDoesNotReach) {
  world.trim_log();
  restore();
  client.file(Gfid::root(), "later", "content");
  world.checkpoint();
  expect_the_same();
}

}  // namespace
}  // namespace polder
