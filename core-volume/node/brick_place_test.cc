// SPDX-License-Identifier: GPL-3.0-or-later
// Which directories become bricks. On the kernel's disk, since "on the root file system" is a fact of the
// kernel.
#include "core-volume/node/brick_place.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace polder {
namespace {

using testing::HasSubstr;

struct BrickPlaceTest : testing::Test {
  std::unique_ptr<Disk> disk = make_kernel_disk();
  std::string folder = [] {
    std::string pattern = "/var/tmp/polder-place-test.XXXXXX";
    return std::string(::mkdtemp(pattern.data()));
  }();
  ~BrickPlaceTest() override { std::filesystem::remove_all(folder); }

  Result<BrickPlace> prepare(const std::string& path, bool force = true) {
    return prepare_brick_place(*disk, path, force);
  }
};

TEST_F(BrickPlaceTest, PathsAreAbsoluteAndPlain) {
  for (const auto* good : {"/a", "/bricks/data", "/a/.b", "/a/b..c"})
    EXPECT_TRUE(check_brick_path(good)) << good;
  for (const auto& bad : {std::string(), std::string("a"), std::string("/"), std::string("/a/"),
                          std::string("//a"), std::string("/a/../b"), std::string("/a/./b"),
                          std::string("/.."), std::string("/a\0b", 4), "/" + std::string(2000, 'a')}) {
    EXPECT_TRUE(check_brick_path(bad).failed_with(EINVAL)) << bad;
  }
}

TEST_F(BrickPlaceTest, AMissingDirectoryIsMadeWithItsParents) {
  auto path = folder + "/x/y/brick";
  auto place = prepare(path);
  ASSERT_TRUE(place) << place.error().message();
  EXPECT_TRUE(place->made);
  EXPECT_TRUE(std::filesystem::is_directory(path));
  ASSERT_TRUE(remove_unfinished_brick(*disk, path, Gfid{{1}}, false));
  EXPECT_FALSE(std::filesystem::exists(path));
  EXPECT_TRUE(remove_unfinished_brick(*disk, path, Gfid{{1}}, false)) << "it never came that far";
}

TEST_F(BrickPlaceTest, AnEmptyDirectoryIsTakenAsItIs) {
  auto place = prepare(folder);
  ASSERT_TRUE(place) << place.error().message();
  EXPECT_FALSE(place->made);
  ASSERT_TRUE(remove_unfinished_brick(*disk, folder, Gfid{{1}}, true));
  EXPECT_TRUE(std::filesystem::exists(folder));
}

TEST_F(BrickPlaceTest, WhatIsThereIsNeverTaken) {
  std::ofstream(folder + "/precious") << "x";
  auto place = prepare(folder, true);
  ASSERT_TRUE(place.failed_with(ENOTEMPTY));
  EXPECT_THAT(place.error().message(), HasSubstr("'precious'"));
  EXPECT_TRUE(prepare(folder + "/precious").failed_with(ENOTDIR));
  EXPECT_TRUE(prepare(folder + "/precious/below").failed_with(ENOTDIR));
  std::filesystem::create_symlink("/", folder + "/link");
  EXPECT_FALSE(prepare(folder + "/link"));
}

TEST_F(BrickPlaceTest, AFormerBrickAndTheTopOfAFileSystemAreNamed) {
  std::filesystem::create_directory(folder + "/old");
  std::filesystem::create_directory(folder + "/old/.polder");
  EXPECT_TRUE(prepare(folder + "/old").failed_with(EEXIST));
  std::filesystem::create_directory(folder + "/top");
  std::filesystem::create_directory(folder + "/top/lost+found");
  EXPECT_THAT(prepare(folder + "/top").error().message(), HasSubstr("/top/brick"));
}

TEST_F(BrickPlaceTest, TheRootFileSystemNeedsForce) {
  auto root = disk->stat(Disk::kNoDir, "/").value();
  auto here = disk->stat(Disk::kNoDir, folder).value();
  if (root.st_dev != here.st_dev) GTEST_SKIP() << "/var/tmp is a file system of its own here";
  auto refused = prepare(folder + "/brick", false);
  ASSERT_TRUE(refused.failed_with(EINVAL));
  EXPECT_THAT(refused.error().message(), HasSubstr("'force'"));
  EXPECT_FALSE(std::filesystem::exists(folder + "/brick"));
}

TEST_F(BrickPlaceTest, BricksDoNotOverlap) {
  std::vector<std::string> used = {"/bricks/a"};
  EXPECT_TRUE(refuse_overlap("/bricks/a", used).failed_with(EEXIST));
  EXPECT_TRUE(refuse_overlap("/bricks/a/b", used).failed_with(EEXIST));
  EXPECT_TRUE(refuse_overlap("/bricks", used).failed_with(EEXIST));
  EXPECT_TRUE(refuse_overlap("/bricks/ab", used));
}

}  // namespace
}  // namespace polder
