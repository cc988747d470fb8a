// SPDX-License-Identifier: GPL-3.0-or-later
// One brick of several loses its disk in the middle of whatever is under way, the others go on; later it is
// back. When all is at rest nothing is half-made.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/concurrency.h"
#include "core-volume/graph/volume_actors.h"
#include "tests/support/seeds.h"

namespace polder {
namespace {

using std::chrono::milliseconds;

class VolumeOneBrickTest : public testing::TestWithParam<Spread> {
 protected:
  /// Clients that work until end_actors().
  void start_actors(SimVolume& volume, std::uint64_t seed) {
    shared_.bricks_may_go = true;
    shared_.pause = milliseconds(1);
    shared_.stop = false;
    for (std::uint32_t i = 0; i < 6; ++i) {
      actors_.push_back(std::make_unique<Actor>(volume, shared_, 10 + i, seed * 100 + i + 1));
      group_->spawn(volume.loop.executor(), actors_.back()->act(1 << 20));
    }
  }
  void end_actors(SimVolume& volume) {
    shared_.stop = true;
    volume.loop.run_until_done(group_->wait_idle(), std::chrono::seconds(10));
    actors_.clear();
  }
  /// From its `call`-th call on the disk answers EIO; the owner notices a little later.
  static void lose(SimVolume& volume, std::uint32_t set, std::uint64_t call) {
    volume.disk_of(set).fail_nth(call, EIO, true);
    for (int i = 0; i < 100 && !volume.disk_of(set).fault_fired(); ++i) volume.loop.run_for(milliseconds(10));
    ASSERT_TRUE(volume.disk_of(set).fault_fired());
    volume.loop.run_for(milliseconds(20));
    must(volume.run_one(volume.stack->check(true)));
    ASSERT_TRUE(volume.stack->failures().contains(set));
  }
  static void bring_back(SimVolume& volume, std::uint32_t set) {
    volume.disk_of(set).heal();
    for (int i = 0; i < 100 && !volume.stack->failures().empty(); ++i) {
      volume.run_one(volume.stack->start_failed());
      volume.loop.run_for(milliseconds(10));
    }
    ASSERT_THAT(volume.stack->failures(), testing::IsEmpty());
  }

  Shared shared_;
  std::vector<std::unique_ptr<Actor>> actors_;
  std::unique_ptr<TaskGroup> group_ = std::make_unique<TaskGroup>("actors");
};

TEST_P(VolumeOneBrickTest, GoesAtAnyMomentAndComesBack) {
  for (auto seed : seeds(1, 30)) {
    SimVolume volume(3, GetParam(), seed, true);
    std::mt19937_64 random(seed);
    shared_.directories = {Gfid::root()};
    shared_.done = 0;
    for (std::uint64_t round = 0; round < 6; ++round) {
      SCOPED_TRACE(fmt::format("seed {}, round {}", seed, round));
      start_actors(volume, seed * 1000 + round);
      volume.loop.run_for(milliseconds(20));
      const auto set = static_cast<std::uint32_t>(1 + random() % 2);
      lose(volume, set, 1 + random() % 1000);
      const auto before = shared_.done;
      volume.loop.run_for(milliseconds(100));
      EXPECT_GT(shared_.done, before + 50) << "the others go on";
      bring_back(volume, set);
      volume.loop.run_for(milliseconds(50));
      end_actors(volume);
      EXPECT_THAT(shared_.unexpected, testing::IsEmpty());
      ASSERT_THAT(volume.problems(), testing::IsEmpty());
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Spreads, VolumeOneBrickTest, testing::Values(Spread::kDirs, Spread::kFiles),
                         [](const auto& test) { return std::string(to_string(test.param)); });

}  // namespace
}  // namespace polder
