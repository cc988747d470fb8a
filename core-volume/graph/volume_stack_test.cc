// SPDX-License-Identifier: GPL-3.0-or-later
// A volume of several sets as a whole: bricks that fail and come back, sets that join.
#include "core-volume/graph/volume_stack.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>

#include "base/log.h"
#include "core-volume/graph/volume_stack_test_support.h"
#include "core-volume/layer/slots_for_new_objects.h"

namespace polder {
namespace {

using testing::HasSubstr;

/// Makes directories below the root until each of the volume's sets has `each`; by set.
std::map<std::uint32_t, std::vector<Gfid>> directories_on_all(SimVolume& volume, std::size_t each = 1) {
  Client client(volume);
  std::map<std::uint32_t, std::vector<Gfid>> made;
  for (int i = 0; i < 1000; ++i) {
    auto enough = [&](const auto& of) { return of.second.size() >= each; };
    if (made.size() == volume.stack->bricks().size() && std::ranges::all_of(made, enough)) return made;
    auto gfid = must(client.mkdir(Gfid::root(), "d" + std::to_string(i))).gfid;
    made[volume.stack->placement().set_of(gfid)].push_back(gfid);
  }
  ADD_FAILURE() << "new directories do not reach every set";
  return made;
}

TEST(VolumeStack, AWholeVolumeLivesThroughRestartsAndKills) {
  SimVolume volume;
  auto directories = directories_on_all(volume);
  Client client(volume);
  for (const auto& [set, gfids] : directories) client.file(gfids[0], "file", "on " + std::to_string(set));
  const auto before = client.dump();
  volume.stop();
  volume.start();
  EXPECT_EQ(client.dump(), before);
  volume.kill();
  volume.start();
  EXPECT_EQ(client.dump(), before);
}

/// A name on one set, and its directory not yet on another one, whose disk has refused it.
TEST(VolumeStack, WhatASetCouldNotTakeYetIsAnErrorUntilItHasIt) {
  SimVolume volume(3, Spread::kDirs, 1, true);
  Client client(volume);
  const auto parent = make_directory_on(volume, client, Gfid::root(), "parent", 1);
  int missing = 0;
  for (std::uint64_t n = 1; n <= 60; ++n) {
    const auto name = fmt::format("d{}", n);
    volume.disk_of(2).fail_nth(1 + n % 16, EIO);
    const auto made = client.mkdir(parent, name);
    const auto seen = client.lookup(parent, name);
    if (!seen && !seen.failed_with(ENOENT)) {
      EXPECT_EQ(code_of(client.rmdir(parent, name)), EIO);
      EXPECT_EQ(code_of(client.rename(parent, name, Gfid::root(), "elsewhere")), EIO);
    }
    volume.disk_of(2).heal();
    const bool there = !seen.failed_with(ENOENT);
    if (!made) EXPECT_EQ(made.error().maybe_applied(), there) << made.error().message();
    if (there && !seen) {
      EXPECT_EQ(code_of(seen), EIO);
      ++missing;
    }
    volume.loop.run_for(std::chrono::seconds(12));
    must(volume.run_one(volume.stack->check(true)));
    volume.run_one(volume.stack->start_failed());
    if (there) EXPECT_TRUE(must(client.lookup(parent, name)).is_directory());
  }
  EXPECT_GT(missing, 0);
}

std::size_t lines_with(const std::string& path, std::string_view text) {
  std::ifstream file(path);
  std::size_t count = 0;
  for (std::string line; std::getline(file, line);) count += line.contains(text);
  return count;
}

/// It is tried many times a second, for as long as the disk is away.
TEST(VolumeStack, ASetThatWaitsForItsDiskIsSaidOnceAndItsReturnToo) {
  const std::string path = testing::TempDir() + "polder-volume-stack.log";
  log::configure("test", log::Level::kInfo, path);
  SimVolume volume(3, Spread::kDirs, 1, true);
  Client client(volume);
  const auto parent = make_directory_on(volume, client, Gfid::root(), "parent", 1);
  volume.loop.run_for(std::chrono::seconds(1));
  volume.disk_of(2).fail_nth(1, EIO, true);
  std::size_t late = 0;
  for (int n = 0; n < 20; ++n) late += code_of(client.mkdir(parent, fmt::format("d{}", n))) == EIO;
  volume.loop.run_for(std::chrono::seconds(5));
  EXPECT_GT(late, 0u);
  EXPECT_EQ(lines_with(path, "it will be tried again"), late);
  EXPECT_EQ(lines_with(path, "is done on set 2 now"), 0u);
  volume.disk_of(2).heal();
  must(volume.run_one(volume.stack->check(true)));
  volume.run_one(volume.stack->start_failed());
  volume.loop.run_for(std::chrono::seconds(12));
  EXPECT_EQ(lines_with(path, "is done on set 2 now"), late);
  log::configure("test", log::Level::kInfo);
  std::remove(path.c_str());
}

TEST(VolumeStack, NothingIsReapedWhileTheBricksAreCompared) {
  SimVolume volume(1);
  Client client(volume);
  auto file = client.file(Gfid::root(), "file", "text");
  auto handle = must(client.open(file)).handle;
  must(client.unlink(Gfid::root(), "file"));
  auto& brick = *volume.stack->brick(0);
  {
    auto held = must(volume.run_one(brick.ordering().hold_reaping()));
    TaskGroup group("test");
    group.spawn(volume.loop.executor(), [](FileOps& ops, Gfid gfid, HandleId id) -> Task<void> {
      must(co_await ops.release({.session = 7}, gfid, id));
    }(volume.ops(), file, handle));
    volume.loop.run_for(std::chrono::seconds(10));
    EXPECT_EQ(must(brick.store().orphans()).size(), 1u);
    held.release();
    volume.run_one(group.wait_idle());
  }
  EXPECT_TRUE(must(brick.store().orphans()).empty());
  EXPECT_TRUE(brick.store().attr(file).failed_with(ESTALE));
}

TEST(VolumeStack, WhatIsOnABrickThatDoesNotStartIsEioAndTheRestWorks) {
  SimVolume volume;
  auto directories = directories_on_all(volume);
  Client client(volume);
  client.file(directories[1][0], "file", "data");
  volume.stop();
  must(volume.disk.rename(Disk::kNoDir, "/b1", Disk::kNoDir, "/gone"));
  volume.start();
  EXPECT_THAT(volume.stack->failures().at(1), HasSubstr("/b1"));
  EXPECT_EQ(volume.stack->brick(1), nullptr);
  auto failed = client.lookup(directories[1][0], "file");
  ASSERT_TRUE(failed.failed_with(EIO));
  EXPECT_THAT(failed.error().message(), HasSubstr("/b1"));
  client.file(directories[2][0], "file", "more");
  for (int i = 0; i < 50; ++i) {
    auto made = client.mkdir(Gfid::root(), "while it is away " + std::to_string(i));
    ASSERT_TRUE(made) << made.error().message();
    EXPECT_NE(volume.stack->placement().set_of(made->gfid), 1U);
  }
  must(volume.disk.rename(Disk::kNoDir, "/gone", Disk::kNoDir, "/b1"));
  volume.run_one(volume.stack->start_failed());
  EXPECT_TRUE(volume.stack->failures().empty());
  EXPECT_EQ(client.content(must(client.lookup(directories[1][0], "file")).gfid), "data");
}

TEST(VolumeStack, WithoutTheRootsBrickThereIsNoVolume) {
  SimVolume volume;
  volume.stop();
  must(volume.disk.rename(Disk::kNoDir, "/b0", Disk::kNoDir, "/gone"));
  auto started = volume.run_one(VolumeStack::start(volume.seams, volume.config));
  ASSERT_FALSE(started);
  EXPECT_THAT(started.error().message(), HasSubstr("/b0"));
  must(volume.disk.rename(Disk::kNoDir, "/gone", Disk::kNoDir, "/b0"));
  volume.start();
}

TEST(VolumeStack, ABrickInAnotherSetsPlaceIsRefused) {
  SimVolume volume;
  volume.stop();
  std::swap(volume.config.bricks[1], volume.config.bricks[2]);
  volume.start();
  EXPECT_EQ(volume.stack->failures().size(), 2U);
  EXPECT_THAT(volume.stack->failures().at(1), HasSubstr("set 2"));
}

TEST(VolumeStack, ABrickThatGoesWhileItRunsIsTakenDownAndComesBack) {
  SimVolume volume;
  auto directories = directories_on_all(volume);
  Client client(volume);
  client.file(directories[2][0], "file", "data");
  EXPECT_TRUE(volume.run_one(volume.stack->check(true)));
  EXPECT_TRUE(volume.stack->failures().empty());

  must(volume.disk.rename(Disk::kNoDir, "/b2", Disk::kNoDir, "/gone"));  // as if it were unmounted
  EXPECT_TRUE(volume.run_one(volume.stack->check(false)));
  EXPECT_THAT(volume.stack->failures().at(2), HasSubstr("/b2"));
  EXPECT_TRUE(client.lookup(directories[2][0], "file").failed_with(EIO));
  client.file(directories[1][0], "file", "goes on");
  {
    auto held = volume.stack->brick(1);  // somebody who looks at another brick is not in the way
    volume.run_one(volume.stack->start_failed());
    EXPECT_EQ(volume.stack->failures().size(), 1U);
  }
  must(volume.disk.rename(Disk::kNoDir, "/gone", Disk::kNoDir, "/b2"));
  volume.run_one(volume.stack->start_failed());
  EXPECT_TRUE(volume.stack->failures().empty());
  EXPECT_EQ(client.content(must(client.lookup(directories[2][0], "file")).gfid), "data");
}

TEST(VolumeStack, ABrickIsNotStartedAgainWhileSomebodyHasTheOldOne) {
  SimVolume volume;
  auto held = volume.stack->brick(2);
  must(volume.disk.rename(Disk::kNoDir, "/b2", Disk::kNoDir, "/gone"));
  must(volume.run_one(volume.stack->check(false)));
  must(volume.disk.rename(Disk::kNoDir, "/gone", Disk::kNoDir, "/b2"));
  volume.run_one(volume.stack->start_failed());
  EXPECT_EQ(volume.stack->failures().size(), 1U);
  held.reset();
  volume.run_one(volume.stack->start_failed());
  EXPECT_TRUE(volume.stack->failures().empty());
}

TEST(VolumeStack, TheRootsBrickThatGoesIsTheOwnersBusiness) {
  SimVolume volume;
  must(volume.disk.rename(Disk::kNoDir, "/b0", Disk::kNoDir, "/gone"));
  auto well = volume.run_one(volume.stack->check(false));
  ASSERT_FALSE(well);
  EXPECT_THAT(well.error().message(), HasSubstr("/b0"));
  EXPECT_NE(volume.stack->brick(0), nullptr);
  must(volume.disk.rename(Disk::kNoDir, "/gone", Disk::kNoDir, "/b0"));
}

/// As the node does it.
void add_set(SimVolume& volume, std::uint32_t set) {
  auto config = volume.make_brick(set);
  must(volume.run_one(volume.stack->add_set(set, config)));
  auto slots = must(volume.run_one(volume.stack->plan_slots(set)));
  volume.config.bricks[set] = config;
  volume.config.slots = slots;
  volume.run_one(volume.stack->hand_over(slots));
}

TEST(VolumeStack, ANewSetTakesNewDirectoriesAtOnceAndWhatIsThereStays) {
  SimVolume volume(1);
  Client client(volume);
  for (int i = 0; i < 300; ++i) {
    auto directory = must(client.mkdir(Gfid::root(), "old" + std::to_string(i))).gfid;
    client.file(directory, "file", std::to_string(i));
  }
  const auto before = client.dump();
  add_set(volume, 1);
  EXPECT_EQ(client.dump(), before);
  add_set(volume, 2);
  EXPECT_EQ(client.dump(), before);
  auto directories = directories_on_all(volume, 5);
  for (const auto& [set, gfids] : directories) client.file(gfids[0], "file", "x");
  const auto after = client.dump();
  volume.kill();
  volume.start();
  EXPECT_EQ(client.dump(), after);
}

TEST(VolumeStack, ASetThatDoesNotJoinAfterAllLeavesTheVolumeAsItWas) {
  SimVolume volume(1);
  Client client(volume);
  client.file(Gfid::root(), "file", "data");
  auto config = volume.make_brick(1);
  must(volume.run_one(volume.stack->add_set(1, config)));
  volume.run_one(volume.stack->remove_set(1));
  EXPECT_EQ(volume.stack->bricks().size(), 1U);
  EXPECT_TRUE(volume.stack->failures().empty());
  EXPECT_EQ(client.content(must(client.lookup(Gfid::root(), "file")).gfid), "data");
  must(client.mkdir(Gfid::root(), "more"));
  // And once more.
  must(volume.run_one(volume.stack->add_set(1, config)));
  auto missing = config;
  missing.path = "/nowhere";
  EXPECT_FALSE(volume.run_one(volume.stack->add_set(2, missing)));
  EXPECT_TRUE(volume.stack->failures().empty());
  must(volume.run_one(volume.stack->plan_slots(1)));
  volume.run_one(volume.stack->remove_set(1));
}

TEST(VolumeStack, SlotsForNewObjectsAndUsedOnesAreNeverHandedOver) {
  SimVolume volume(2);
  Client client(volume);
  std::set<std::uint16_t> used;
  for (int i = 0; i < 100; ++i)
    used.insert(must(client.mkdir(Gfid::root(), "d" + std::to_string(i))).gfid.slot());
  const auto before = slots_for_new_objects(volume.stack->placement(), 0);
  auto config = volume.make_brick(2);
  must(volume.run_one(volume.stack->add_set(2, config)));
  auto slots = must(volume.run_one(volume.stack->plan_slots(2)));
  Placement planned;
  planned.set_table(slots);
  for (auto slot : used) {
    Gfid gfid = Gfid::random(*volume.random, slot);
    EXPECT_NE(planned.set_of(gfid), 2U);
  }
  EXPECT_EQ(slots_for_new_objects(planned, 0), before);
  volume.config.bricks[2] = config;
  volume.run_one(volume.stack->hand_over(slots));
}

}  // namespace
}  // namespace polder
