// SPDX-License-Identifier: GPL-3.0-or-later
// Volumes of several bricks on one node: creation that is all or nothing, bricks that fail, bricks that join.
#include <gmock/gmock.h>

#include <fstream>

#include "core-volume/node/volumes_test_support.h"

namespace polder {
namespace {

using testing::HasSubstr;

struct VolumeSetsTest : VolumesTest {
  std::string brick(const std::string& name) { return "alpha:" + folder + "/" + name; }
  bool exists(const std::string& name) { return std::filesystem::exists(folder + "/" + name); }
  VolumeStack& stack(const std::string& name) { return *node->volumes->running(name)->stack; }
  VolumeInfo info(const std::string& name) { return node->run(get_volume(*node->store, name)).value().value; }

  Result<FileAttr> mkdir(const std::string& volume, std::string name) {
    auto make = [](FileOps& ops, std::string name) -> Task<Result<FileAttr>> {
      co_return co_await ops.mkdir(OpContext{}, Gfid::root(), name, NewObject{.mode = S_IFDIR | 0755});
    };
    return node->run(make(stack(volume).top(), std::move(name)));
  }
  Result<FileAttr> lookup(const std::string& volume, std::string name) {
    auto look = [](FileOps& ops, std::string name) -> Task<Result<FileAttr>> {
      co_return co_await ops.lookup(OpContext{}, Gfid::root(), name);
    };
    return node->run(look(stack(volume).top(), std::move(name)));
  }
};

TEST_F(VolumeSetsTest, EachBrickIsASetAndAllComeBackAfterARestart) {
  ASSERT_TRUE(create("data", {brick("a"), brick("b"), brick("c")}));
  ASSERT_TRUE(node->run(node->volumes->start("data", false)));
  EXPECT_EQ(stack("data").bricks().size(), 3U);
  std::set<std::uint32_t> sets;
  for (int i = 0; i < 64; ++i) {
    auto made = mkdir("data", "d" + std::to_string(i));
    ASSERT_TRUE(made) << made.error().message();
    sets.insert(stack("data").placement().set_of(made->gfid));
  }
  EXPECT_EQ(sets.size(), 3U);
  restart();
  for (int i = 0; i < 64; ++i) EXPECT_TRUE(lookup("data", "d" + std::to_string(i)));
}

TEST_F(VolumeSetsTest, ACreationThatFailsAtTheThirdBrickLeavesNothing) {
  std::filesystem::create_directory(folder + "/c");
  std::ofstream(folder + "/c/precious") << "x";
  auto made = create("data", {brick("a"), brick("b"), brick("c")});
  ASSERT_TRUE(made.failed_with(ENOTEMPTY));
  EXPECT_FALSE(exists("a") || exists("b"));
  EXPECT_TRUE(exists("c/precious"));
  EXPECT_TRUE(node->run(list_volumes(*node->store)).value().empty());
  EXPECT_TRUE(create("data", {brick("a"), brick("a")}).failed_with(EINVAL));
  EXPECT_TRUE(create("data", {brick("a"), brick("a/b")}).failed_with(EEXIST));
  auto shared = node->run(node->volumes->create({.name = "data", .bricks = {brick("a"), brick("b")}}));
  EXPECT_FALSE(shared) << "without force";
}

TEST_F(VolumeSetsTest, WhatWasInTheMakingWhenTheDaemonDiedIsTakenBackAtItsStart) {
  ASSERT_TRUE(create("data", {brick("a"), brick("b")}));
  // As a daemon leaves it that dies before the last step; the second directory was there before.
  auto stored = node->run(get_volume(*node->store, "data")).value();
  for (const auto& spec : stored.value.bricks) stored.value.making.push_back({spec, spec.set == 1});
  ASSERT_TRUE(node->run(put_volume(*node->store, stored.value, stored.version)));
  restart();
  EXPECT_TRUE(node->run(list_volumes(*node->store)).value().empty());
  EXPECT_FALSE(exists("a"));
  EXPECT_TRUE(std::filesystem::is_empty(folder + "/b"));
  ASSERT_TRUE(create("data", {brick("a"), brick("b")})) << "it can be made again";
}

TEST_F(VolumeSetsTest, ABrickWithSomethingInItIsNeverTakenBack) {
  ASSERT_TRUE(create("data", {brick("a"), brick("b")}));
  ASSERT_TRUE(node->run(node->volumes->start("data", false)));
  for (int i = 0; i < 32; ++i) ASSERT_TRUE(mkdir("data", "d" + std::to_string(i)));
  ASSERT_TRUE(node->run(node->volumes->stop("data")));
  const auto id = info("data").bricks.at(1).id;
  EXPECT_TRUE(remove_unfinished_brick(*node->disk, folder + "/b", id, false).failed_with(ENOTEMPTY));
  EXPECT_TRUE(remove_unfinished_brick(*node->disk, folder + "/b", Gfid{{9}}, false)) << "another's";
  EXPECT_TRUE(exists("b/.polder/brick"));
}

TEST_F(VolumeSetsTest, AVolumeStartsWithoutABrickAndTakesItWhenItComesBack) {
  ASSERT_TRUE(create("data", {brick("a"), brick("b")}));
  ASSERT_TRUE(node->run(node->volumes->start("data", false)));
  node.reset();
  std::filesystem::rename(folder + "/b", folder + "/gone");
  node = std::make_unique<Node>(folder);
  ASSERT_NE(node->volumes->running("data"), nullptr) << node->volumes->failure("data");
  EXPECT_THAT(stack("data").failures().at(1), HasSubstr("/b"));
  ASSERT_TRUE(mkdir("data", "meanwhile"));
  EXPECT_TRUE(node->run(node->volumes->start("data", true)));
  EXPECT_EQ(stack("data").failures().size(), 1U);
  std::filesystem::rename(folder + "/gone", folder + "/b");
  EXPECT_TRUE(node->run(node->volumes->start("data", true)));
  EXPECT_TRUE(stack("data").failures().empty());
}

TEST_F(VolumeSetsTest, ABrickThatGoesIsNoticedAndComesBackByItself) {
  ASSERT_TRUE(create("data", {brick("a"), brick("b")}));
  ASSERT_TRUE(node->run(node->volumes->start("data", false)));
  auto wait_until = [&](auto condition) {
    for (int i = 0; i < 200 && !condition(); ++i)
      node->loop.run_until_done(node->clock->sleep_for(std::chrono::milliseconds(50))).value();
    return condition();
  };
  std::filesystem::rename(folder + "/b", folder + "/gone");
  EXPECT_TRUE(wait_until([&] { return stack("data").failures().contains(1); }));
  std::filesystem::rename(folder + "/gone", folder + "/b");
  EXPECT_TRUE(wait_until([&] { return stack("data").failures().empty(); }));
  // The root's: the whole volume goes down, and comes back.
  std::filesystem::rename(folder + "/a", folder + "/gone");
  EXPECT_TRUE(wait_until([&] { return !node->volumes->running("data"); }));
  EXPECT_THAT(node->volumes->failure("data"), HasSubstr("/a"));
  std::filesystem::rename(folder + "/gone", folder + "/a");
  EXPECT_TRUE(wait_until([&] { return node->volumes->running("data") != nullptr; }));
}

TEST_F(VolumeSetsTest, ABrickJoinsAndStays) {
  ASSERT_TRUE(create("data", brick("a")));
  AddBrick request{.volume = "data", .brick = brick("b"), .force = true, .progress = {}};
  EXPECT_TRUE(node->run(node->volumes->add_brick(request)).failed_with(ENOTCONN));
  ASSERT_TRUE(node->run(node->volumes->start("data", false)));
  for (int i = 0; i < 32; ++i) ASSERT_TRUE(mkdir("data", "old" + std::to_string(i)));
  auto added = node->run(node->volumes->add_brick(request));
  ASSERT_TRUE(added) << added.error().message();
  EXPECT_EQ(added->info.bricks.size(), 2U);
  EXPECT_TRUE(node->run(node->volumes->add_brick(request)).failed_with(EINVAL)) << "the same once more";
  std::set<std::uint32_t> sets;
  for (int i = 0; i < 32; ++i)
    sets.insert(stack("data").placement().set_of(mkdir("data", "new" + std::to_string(i)).value().gfid));
  EXPECT_EQ(sets.size(), 2U);
  restart();
  EXPECT_EQ(stack("data").bricks().size(), 2U);
  EXPECT_EQ(info("data").slots, added->info.slots);
  for (int i = 0; i < 32; ++i) {
    EXPECT_TRUE(lookup("data", "old" + std::to_string(i)));
    EXPECT_TRUE(lookup("data", "new" + std::to_string(i)));
  }
}

TEST_F(VolumeSetsTest, ABrickThatCannotJoinLeavesNothing) {
  ASSERT_TRUE(create("data", brick("a")));
  ASSERT_TRUE(node->run(node->volumes->start("data", false)));
  node->volumes->add_hooks({.may_extend = [](const VolumeInfo&) -> Task<Result<void>> {
    co_return Error(EBUSY).with("it has snapshots");
  }});
  AddBrick request{.volume = "data", .brick = brick("b"), .force = true, .progress = {}};
  EXPECT_TRUE(node->run(node->volumes->add_brick(request)).failed_with(EBUSY));
  EXPECT_FALSE(exists("b"));
}

TEST_F(VolumeSetsTest, WhoAsksAndLeavesHasNotAddedABrick) {
  ASSERT_TRUE(create("data", brick("a")));
  ASSERT_TRUE(node->run(node->volumes->start("data", false)));
  int steps = 0;
  AddBrick request{.volume = "data", .brick = brick("b"), .force = true, .progress = {}};
  request.progress = [&steps](std::string) -> Task<Result<void>> {
    if (++steps == 2) co_return Error(ECONNRESET);
    co_return Result<void>();
  };
  EXPECT_TRUE(node->run(node->volumes->add_brick(request)).failed_with(ECONNRESET));
  EXPECT_FALSE(exists("b"));
  EXPECT_EQ(info("data").bricks.size(), 1U);
  EXPECT_TRUE(info("data").making.empty());
  EXPECT_TRUE(mkdir("data", "works"));
  request.progress = {};
  EXPECT_TRUE(node->run(node->volumes->add_brick(request)));
}

TEST_F(VolumeSetsTest, SpreadIsAnOptionThatWorksAtOnce) {
  ASSERT_TRUE(create("data", {brick("a"), brick("b")}));
  ASSERT_TRUE(node->run(node->volumes->start("data", false)));
  EXPECT_EQ(stack("data").placement().spread(), Spread::kAuto);
  EXPECT_EQ(node->run(node->volumes->set_option("data", "distribute.spread", "files")).value(), "files");
  EXPECT_EQ(stack("data").placement().spread(), Spread::kFiles);
  EXPECT_FALSE(node->run(node->volumes->set_option("data", "distribute.spread", "all")));
  restart();
  EXPECT_EQ(stack("data").placement().spread(), Spread::kFiles);
}

}  // namespace
}  // namespace polder
