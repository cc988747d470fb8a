// SPDX-License-Identifier: GPL-3.0-or-later
// One suite for every backend. The real ones need a brick directory on storage that can do snapshots, in
// POLDER_TEST_BRICK: tests/integration/snapshot_backend_test.sh makes one on btrfs, and one on LVM thin in
// the guest kernel. The simulation's is always there.
#include "snapshot/backend/backend.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "base/disk.h"
#include "snapshot/backend/lvm.h"
#include "snapshot/backend/mounts.h"
#include "tests/support/sim_snapshots.h"

namespace polder {
namespace {

enum class Storage { kReal, kSimulated };

class BackendTest : public testing::TestWithParam<Storage> {
 protected:
  void SetUp() override {
    const char* brick = "/brick0/data";
    if (GetParam() == Storage::kReal && !(brick = std::getenv("POLDER_TEST_BRICK")))
      GTEST_SKIP() << "run by tests/integration/snapshot_backend_test.sh";
    brick_ = brick;
    if (GetParam() == Storage::kSimulated) {
      disks_.add("brick0");
      disk_ = &disks_;
      backends_ = std::make_unique<SimSnapshots>(disks_);
    }
    mounts_ = above(above(brick_)) + "/mounts";
    make_directory(brick_);
    make_directory(mounts_);
    auto made = backends_->make(brick_);
    ASSERT_TRUE(made) << made.error().message();
    backend_ = std::move(*made);
    auto left = backend_->list();
    ASSERT_TRUE(left);
    for (const auto& id : *left) ASSERT_TRUE(backend_->remove(id));
    make_directory(at(brick_, ".polder"));
    auto none = disk_->unlink(Disk::kNoDir, at(brick_, kRestoreMarker));
    ASSERT_TRUE(none || none.failed_with(ENOENT));
    write("file", "first");
  }
  void TearDown() override {
    if (!backend_) return;
    for (const auto& id : *backend_->list()) {
      EXPECT_TRUE(backend_->deactivate(id, at(mounts_, id)));
      auto removed = backend_->remove(id);
      EXPECT_TRUE(removed) << removed.error().message();
    }
  }

  static std::string above(const std::string& path) { return path.substr(0, path.rfind('/')); }
  static std::string at(const std::string& directory, const std::string& name) {
    return directory + "/" + name;
  }
  void make_directory(const std::string& path) {
    auto made = disk_->mkdir(Disk::kNoDir, path, 0700);
    if (!made && !made.failed_with(EEXIST)) throw std::runtime_error("mkdir " + path);
  }
  void check(Result<void> result) { ASSERT_TRUE(result) << result.error().message(); }

  std::string read(const std::string& directory) {
    auto file = disk_->open(Disk::kNoDir, at(directory, "file"), O_RDONLY);
    if (!file) return file.error().message();
    std::string text(100, '\0');
    text.resize(disk_->pread(file->fd(), std::as_writable_bytes(std::span(text)), 0).value());
    return text;
  }
  void write_at(const std::string& path, const std::string& text) {
    auto file = disk_->open(Disk::kNoDir, path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ASSERT_TRUE(file) << path;
    check(disk_->pwrite(file->fd(), as_bytes(text), 0));
  }
  void write(const std::string& name, const std::string& text) { write_at(at(brick_, name), text); }

  std::string brick_, mounts_;
  SimDisks disks_;
  std::unique_ptr<Disk> kernel_ = make_kernel_disk();
  Disk* disk_ = kernel_.get();
  std::unique_ptr<SnapshotBackends> backends_ = make_system_snapshot_backends("");  // never claimed
  std::unique_ptr<SnapshotBackend> backend_;
};

TEST_P(BackendTest, ASnapshotKeepsWhatWasThere) {
  auto space = backend_->check_space();
  ASSERT_TRUE(space) << space.error().message();
  check(backend_->create("one"));
  write("file", "second");
  check(backend_->create("one"));  // repeated: nothing new
  EXPECT_EQ(*backend_->list(), std::vector<std::string>{"one"});
  auto path = backend_->activate("one", at(mounts_, "one"));
  ASSERT_TRUE(path) << path.error().message();
  EXPECT_EQ(read(*path), "first");
  EXPECT_EQ(read(brick_), "second");
  EXPECT_TRUE(disk_->open(Disk::kNoDir, at(*path, "new"), O_WRONLY | O_CREAT, 0600).failed_with(EROFS));
  EXPECT_EQ(*backend_->activate("one", at(mounts_, "one")), *path);
  check(backend_->deactivate("one", at(mounts_, "one")));
  check(backend_->deactivate("one", at(mounts_, "one")));
  check(backend_->remove("one"));
  check(backend_->remove("one"));
  EXPECT_TRUE(backend_->list()->empty());
}

TEST_P(BackendTest, RestoreBringsItBackAndKeepsTheOld) {
  check(backend_->create("good"));
  write("file", "bad");
  auto copy = backend_->prepare_restore("good", at(mounts_, "restore"));
  ASSERT_TRUE(copy) << copy.error().message();
  EXPECT_EQ(read(brick_), "bad") << "nothing is replaced before the commit";
  write_at(at(*copy, kRestoreMarker), "good");
  check(backend_->commit_restore("kept", at(mounts_, "restore")));
  EXPECT_EQ(read(brick_), "first");
  check(backend_->commit_restore("kept", at(mounts_, "restore")));  // repeated after a crash
  EXPECT_EQ(read(brick_), "first") << "still the restored content";
  auto kept = backend_->activate("kept", at(mounts_, "kept"));
  ASSERT_TRUE(kept) << kept.error().message();
  EXPECT_EQ(read(*kept), "bad");
  check(backend_->deactivate("kept", at(mounts_, "kept")));
  write("file", "writable");
  EXPECT_EQ(read(brick_), "writable");
}

TEST_P(BackendTest, AnAbandonedRestoreLeavesNothing) {
  check(backend_->create("good"));
  ASSERT_TRUE(backend_->prepare_restore("good", at(mounts_, "restore")));
  ASSERT_TRUE(backend_->prepare_restore("good", at(mounts_, "restore"))) << "made anew";
  check(backend_->abandon_restore(at(mounts_, "restore")));
  check(backend_->abandon_restore(at(mounts_, "restore")));
  EXPECT_EQ(*backend_->list(), std::vector<std::string>{"good"});
}

TEST_P(BackendTest, HostileIdsAreRefused) {
  for (const std::string& id :
       std::vector<std::string>{"", "../x", "a b", "-x", "x/y", "A", std::string(65, 'a')}) {
    EXPECT_TRUE(backend_->create(id).failed_with(EINVAL)) << id;
    EXPECT_TRUE(backend_->remove(id).failed_with(EINVAL)) << id;
  }
  EXPECT_FALSE(backend_->activate("absent", at(mounts_, "absent")));
  EXPECT_FALSE(backend_->prepare_restore("absent", at(mounts_, "restore")));
}

INSTANTIATE_TEST_SUITE_P(, BackendTest, testing::Values(Storage::kReal, Storage::kSimulated),
                         [](const auto& of) { return of.param == Storage::kReal ? "Real" : "Simulated"; });

TEST(MountsTest, ParsesEscapesAndOptionalFields) {
  auto mounts = parse_mountinfo(
      "25 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
      "30 25 7:0 / /a\\040b rw,nosuid shared:2 master:1 - xfs /dev/mapper/vg-lv rw,attr2\nrubbish\n");
  ASSERT_EQ(mounts.size(), 2u);
  EXPECT_EQ(mounts[1].target, "/a b");
  EXPECT_EQ(mounts[1].type, "xfs");
  EXPECT_EQ(mounts[1].source, "/dev/mapper/vg-lv");
}

TEST(LvmTest, ReadsAReport) {
  auto rows = parse_lvm_report(
      R"({"report": [{"lv": [{"lv_name":"a", "pool_lv":""}, {"lv_name":"b", "pool_lv":"p"}]}]})",
      "lv_name,pool_lv");
  ASSERT_TRUE(rows) << rows.error().message();
  ASSERT_EQ(rows->size(), 2U);
  EXPECT_EQ(rows->at(1).at("pool_lv"), "p");
  EXPECT_TRUE(parse_lvm_report(R"({"report": [{"lv": []}]})", "lv_name")->empty());
}

TEST(LvmTest, WhatIsNoReportIsAnError) {
  for (const char* text :
       {"", "rubbish", "[]", "{}", R"({"report": 1})", R"({"report": []})", R"({"report": [1]})",
        R"({"report": [{"lv": {}}]})", R"({"report": [{"lv": [1]}]})", R"({"report": [{"lv": [{}]}]})",
        R"({"report": [{"lv": [{"lv_name": 1}]}]})",
        R"({"report": [{"lv": [{"lv_name": "a", "more": "b"}]}]})"})
    EXPECT_TRUE(parse_lvm_report(text, "lv_name").failed_with(EIO)) << text;
}

TEST(LvmTest, APlaceThatIsNoneIsAnError) {
  for (const char* text : {"rubbish", "[]", "{}", R"({"group": 1})"})
    EXPECT_TRUE(make_lvm_backend_at(text).failed_with(EUCLEAN)) << text;
}

TEST(BackendChoiceTest, OtherFileSystemsAreRefusedWithAReason) {
  auto made = make_system_snapshot_backends("")->make("/proc");
  ASSERT_FALSE(made);
  EXPECT_NE(made.error().message().find("neither btrfs nor"), std::string::npos) << made.error().message();
}

}  // namespace
}  // namespace polder
