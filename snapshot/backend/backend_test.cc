// SPDX-License-Identifier: GPL-3.0-or-later
// One suite for every backend. It needs a brick directory on storage that can do snapshots, in
// POLDER_TEST_BRICK: tests/integration/snapshot_backend_test.sh makes one on btrfs, and one on LVM thin in
// the guest kernel.
#include "snapshot/backend/backend.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "snapshot/backend/mounts.h"

namespace polder {
namespace {

namespace fs = std::filesystem;

std::string read(const fs::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}
void write(const fs::path& path, const std::string& text) {
  std::ofstream(path) << text;
}

class BackendTest : public testing::Test {
 protected:
  void SetUp() override {
    const char* brick = std::getenv("POLDER_TEST_BRICK");
    if (!brick) GTEST_SKIP() << "run by tests/integration/snapshot_backend_test.sh";
    brick_ = brick;
    mounts_ = brick_.parent_path().parent_path() / "mounts";
    fs::create_directories(mounts_);
    auto made = make_snapshot_backend(brick_);
    ASSERT_TRUE(made) << made.error().message();
    backend_ = std::move(*made);
    auto left = backend_->list();
    ASSERT_TRUE(left);
    for (const auto& id : *left) ASSERT_TRUE(backend_->remove(id));
    fs::create_directories(brick_ / ".polder");
    fs::remove(brick_ / kRestoreMarker);
    write(brick_ / "file", "first");
  }
  void TearDown() override {
    if (!backend_) return;
    for (const auto& id : *backend_->list()) {
      EXPECT_TRUE(backend_->deactivate(id, mounts_ / id));
      auto removed = backend_->remove(id);
      EXPECT_TRUE(removed) << removed.error().message();
    }
  }
  void check(Result<void> result) { ASSERT_TRUE(result) << result.error().message(); }

  fs::path brick_, mounts_;
  std::unique_ptr<SnapshotBackend> backend_;
};

TEST_F(BackendTest, ASnapshotKeepsWhatWasThere) {
  auto space = backend_->check_space();
  ASSERT_TRUE(space) << space.error().message();
  check(backend_->create("one"));
  write(brick_ / "file", "second");
  check(backend_->create("one"));  // repeated: nothing new
  EXPECT_EQ(*backend_->list(), std::vector<std::string>{"one"});
  auto path = backend_->activate("one", mounts_ / "one");
  ASSERT_TRUE(path) << path.error().message();
  EXPECT_EQ(read(fs::path(*path) / "file"), "first");
  EXPECT_EQ(read(brick_ / "file"), "second");
  std::ofstream forbidden(fs::path(*path) / "new");
  EXPECT_FALSE(forbidden.is_open()) << "a snapshot is read-only";
  EXPECT_EQ(*backend_->activate("one", mounts_ / "one"), *path);
  check(backend_->deactivate("one", mounts_ / "one"));
  check(backend_->deactivate("one", mounts_ / "one"));
  check(backend_->remove("one"));
  check(backend_->remove("one"));
  EXPECT_TRUE(backend_->list()->empty());
}

TEST_F(BackendTest, RestoreBringsItBackAndKeepsTheOld) {
  check(backend_->create("good"));
  write(brick_ / "file", "bad");
  auto copy = backend_->prepare_restore("good", mounts_ / "restore");
  ASSERT_TRUE(copy) << copy.error().message();
  EXPECT_EQ(read(brick_ / "file"), "bad") << "nothing is replaced before the commit";
  write(fs::path(*copy) / kRestoreMarker, "good");
  check(backend_->commit_restore("kept", mounts_ / "restore"));
  EXPECT_EQ(read(brick_ / "file"), "first");
  check(backend_->commit_restore("kept",
                                 mounts_ / "restore"));  // repeated after a crash: still the restored content
  EXPECT_EQ(read(brick_ / "file"), "first");
  auto kept = backend_->activate("kept", mounts_ / "kept");
  ASSERT_TRUE(kept) << kept.error().message();
  EXPECT_EQ(read(fs::path(*kept) / "file"), "bad");
  check(backend_->deactivate("kept", mounts_ / "kept"));
  write(brick_ / "file", "writable");
  EXPECT_EQ(read(brick_ / "file"), "writable");
}

TEST_F(BackendTest, AnAbandonedRestoreLeavesNothing) {
  check(backend_->create("good"));
  ASSERT_TRUE(backend_->prepare_restore("good", mounts_ / "restore"));
  ASSERT_TRUE(backend_->prepare_restore("good", mounts_ / "restore")) << "made anew";
  check(backend_->abandon_restore(mounts_ / "restore"));
  check(backend_->abandon_restore(mounts_ / "restore"));
  EXPECT_EQ(*backend_->list(), std::vector<std::string>{"good"});
}

TEST_F(BackendTest, HostileIdsAreRefused) {
  for (const std::string& id :
       std::vector<std::string>{"", "../x", "a b", "-x", "x/y", "A", std::string(65, 'a')}) {
    EXPECT_TRUE(backend_->create(id).failed_with(EINVAL)) << id;
    EXPECT_TRUE(backend_->remove(id).failed_with(EINVAL)) << id;
  }
  EXPECT_FALSE(backend_->activate("absent", mounts_ / "absent"));
  EXPECT_FALSE(backend_->prepare_restore("absent", mounts_ / "restore"));
}

TEST(MountsTest, ParsesEscapesAndOptionalFields) {
  auto mounts = parse_mountinfo(
      "25 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
      "30 25 7:0 / /a\\040b rw,nosuid shared:2 master:1 - xfs /dev/mapper/vg-lv rw,attr2\nrubbish\n");
  ASSERT_EQ(mounts.size(), 2u);
  EXPECT_EQ(mounts[1].target, "/a b");
  EXPECT_EQ(mounts[1].type, "xfs");
  EXPECT_EQ(mounts[1].source, "/dev/mapper/vg-lv");
}

TEST(BackendChoiceTest, OtherFileSystemsAreRefusedWithAReason) {
  auto made = make_snapshot_backend("/proc");
  ASSERT_FALSE(made);
  EXPECT_NE(made.error().message().find("neither btrfs nor"), std::string::npos) << made.error().message();
}

}  // namespace
}  // namespace polder
