// SPDX-License-Identifier: GPL-3.0-or-later
#include "base/disk_tree.h"

#include <gtest/gtest.h>

#include "tests/support/sim_disk.h"

namespace polder {
namespace {

constexpr int kDirectory = O_RDONLY | O_DIRECTORY;

class DiskTreeTest : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    disk_.set_reflink(GetParam());
    must(disk_.mkdir(Disk::kNoDir, "/log", 0750));
    must(disk_.mkdir(Disk::kNoDir, "/log/old", 0700));
    write("/log/index", std::string(3 << 20, 'i'));
    write("/log/old/a", "first");
    write("/log/old/a", "behind a hole", 1 << 20);
    write("/log/empty", "");
  }

  template <typename T>
  static T must(Result<T> result) {
    if (!result) throw std::runtime_error(result.error().message());
    if constexpr (!std::is_void_v<T>) return *std::move(result);
  }
  void write(const std::string& path, const std::string& text, std::uint64_t offset = 0) {
    auto file = must(disk_.open(Disk::kNoDir, path, O_RDWR | O_CREAT, 0640));
    if (!text.empty()) must(disk_.pwrite(file.fd(), as_bytes(text), offset));
  }
  std::string read(const std::string& path) {
    auto file = must(disk_.open(Disk::kNoDir, path, O_RDONLY));
    std::string text(4 << 20, '\0');
    text.resize(must(disk_.pread(file.fd(), std::as_writable_bytes(std::span(text)), 0)));
    return text;
  }
  bool exists(const std::string& path) { return disk_.stat(Disk::kNoDir, path).has_value(); }
  struct stat stat(const std::string& path) { return must(disk_.stat(Disk::kNoDir, path)); }
  Result<void> remove(const std::string& name) {
    return remove_tree(disk_, must(disk_.open(Disk::kNoDir, "/", kDirectory)).fd(), name);
  }

  SimDisk disk_;
};

TEST_P(DiskTreeTest, ACopyHasBytesHolesAndModes) {
  must(copy_tree(disk_, "/log", "/copy"));
  for (const auto* path : {"/index", "/old/a", "/empty"}) {
    EXPECT_TRUE(read(std::string("/copy") + path) == read(std::string("/log") + path)) << path;
    EXPECT_EQ(stat(std::string("/copy") + path).st_mode, stat(std::string("/log") + path).st_mode) << path;
    EXPECT_EQ(stat(std::string("/copy") + path).st_blocks, stat(std::string("/log") + path).st_blocks)
        << path;
  }
  EXPECT_EQ(stat("/copy").st_mode & 07777, 0750U);
  write("/copy/index", "x");
  EXPECT_EQ(read("/log/index")[0], 'i') << "the two have nothing in common but bytes";
  EXPECT_TRUE(copy_tree(disk_, "/log", "/copy").failed_with(EEXIST));
}

TEST_P(DiskTreeTest, NothingElseIsCopied) {
  must(disk_.symlink("old", Disk::kNoDir, "/log/link"));
  EXPECT_TRUE(copy_tree(disk_, "/log", "/copy").failed_with(EINVAL));
}

TEST_P(DiskTreeTest, RemovesAllBelowAndFollowsNothing) {
  write("/precious", "x");
  must(disk_.mkdir(Disk::kNoDir, "/kept", 0700));
  write("/kept/file", "x");
  must(disk_.symlink("../kept", Disk::kNoDir, "/log/link"));
  must(remove("log"));
  EXPECT_FALSE(exists("/log"));
  EXPECT_TRUE(exists("/kept/file") && exists("/precious"));
  must(remove("log"));
  must(remove("precious"));
  EXPECT_FALSE(exists("/precious"));
}

TEST_P(DiskTreeTest, AnyCallMayFailAndIsReported) {
  for (std::uint64_t n = 1;; ++n) {
    ASSERT_LT(n, 1000U) << "no end of calls";
    disk_.fail_nth(n, EIO);
    auto copied = copy_tree(disk_, "/log", "/copy");
    const bool fired = disk_.fault_fired();
    disk_.heal();
    if (copied) {
      EXPECT_TRUE(read("/copy/index") == read("/log/index") && read("/copy/old/a") == read("/log/old/a"))
          << n;
    }
    if (!fired) break;
    must(remove("copy"));
  }
}

INSTANTIATE_TEST_SUITE_P(WithAndWithoutReflinks, DiskTreeTest, testing::Bool());

}  // namespace
}  // namespace polder
