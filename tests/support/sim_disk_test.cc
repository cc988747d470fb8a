// SPDX-License-Identifier: GPL-3.0-or-later
// SimDisk's own promises: what is not Linux's behaviour (that is compared with the kernel elsewhere) and what
// is not about crashes.
#include "tests/support/sim_disk.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/falloc.h>
#include <unistd.h>

#include <bit>
#include <thread>

#include "tests/support/sim_disks.h"

namespace polder {
namespace {

class SimDiskTest : public testing::Test {
 protected:
  DiskFile open(const std::string& path, int flags = O_RDWR | O_CREAT) {
    return disk_.open(Disk::kNoDir, path, flags, 0600).value();
  }
  std::string content(const std::string& path) {
    auto file = open(path, O_RDONLY);
    std::string out(1 << 16, '\0');
    out.resize(disk_.pread(file.fd(), std::as_writable_bytes(std::span(out)), 0).value());
    return out;
  }

  SimDisk disk_;
};

TEST_F(SimDiskTest, AHoleOfATerabyteCostsNothing) {
  auto file = open("/f");
  ASSERT_TRUE(disk_.truncate(file.fd(), 1ULL << 40));
  ASSERT_TRUE(disk_.pwrite(file.fd(), as_bytes("end"), (1ULL << 40) - 3));
  EXPECT_EQ(disk_.fstat(file.fd())->st_blocks, 8);
  EXPECT_EQ(disk_.seek(file.fd(), 0, SEEK_DATA).value(), (1ULL << 40) - 4096);
  ASSERT_TRUE(disk_.fallocate(file.fd(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 1ULL << 40));
  EXPECT_TRUE(disk_.seek(file.fd(), 0, SEEK_DATA).failed_with(ENXIO));
}

TEST_F(SimDiskTest, KillLosesHandlesAndLocksOnly) {
  auto file = open("/f");
  auto unnamed = disk_.open(Disk::kNoDir, "/", O_TMPFILE | O_RDWR, 0600).value();
  ASSERT_TRUE(disk_.pwrite(file.fd(), as_bytes("text"), 0));
  ASSERT_TRUE(disk_.pwrite(unnamed.fd(), as_bytes("text"), 0));
  ASSERT_TRUE(disk_.lock_exclusive(file.fd()));
  auto boot = disk_.boot_id().value();
  disk_.set_capacity(2 * 4096);
  EXPECT_TRUE(disk_.open(Disk::kNoDir, "/g", O_WRONLY | O_CREAT, 0600).failed_with(ENOSPC));
  disk_.kill();
  EXPECT_TRUE(disk_.fstat(file.fd()).failed_with(EBADF));
  auto next = open("/f");
  EXPECT_TRUE(disk_.lock_exclusive(next.fd()));
  file.reset();  // a dead process's handle closes nothing of the living one
  EXPECT_TRUE(disk_.fstat(next.fd()));
  EXPECT_EQ(content("/f"), "text");
  EXPECT_EQ(disk_.boot_id().value(), boot);
  EXPECT_EQ(disk_.statfs(next.fd())->f_bfree, 1U) << "the unnamed file is gone with its handle";
}

TEST_F(SimDiskTest, TheNthCallFailsWithoutEffect) {
  auto file = open("/f");
  disk_.fail_nth(2, EIO);
  ASSERT_TRUE(disk_.pwrite(file.fd(), as_bytes("1"), 0));
  EXPECT_FALSE(disk_.fault_fired());
  EXPECT_TRUE(disk_.pwrite(file.fd(), as_bytes("2"), 0).failed_with(EIO));
  EXPECT_TRUE(disk_.fault_fired());
  EXPECT_EQ(content("/f"), "1");
  disk_.fail_nth(1, ENOSPC, true);
  EXPECT_TRUE(disk_.mkdir(Disk::kNoDir, "/d", 0700).failed_with(ENOSPC));
  EXPECT_TRUE(disk_.stat(Disk::kNoDir, "/f").failed_with(ENOSPC));
  disk_.heal();
  EXPECT_TRUE(disk_.stat(Disk::kNoDir, "/d").failed_with(ENOENT));
}

TEST_F(SimDiskTest, TheNthSyncFails) {
  auto file = open("/f");
  disk_.fail_nth_sync(2, EIO);
  ASSERT_TRUE(disk_.fdatasync(file.fd()));
  ASSERT_TRUE(disk_.pwrite(file.fd(), as_bytes("1"), 0));
  EXPECT_FALSE(disk_.fault_fired());
  EXPECT_TRUE(disk_.syncfs(file.fd()).failed_with(EIO));
  EXPECT_TRUE(disk_.fault_fired());
  EXPECT_TRUE(disk_.fsync(file.fd()));
  disk_.fail_nth_sync(1, EIO, true);
  ASSERT_TRUE(disk_.pwrite(file.fd(), as_bytes("2"), 0));
  EXPECT_TRUE(disk_.fsync(file.fd()).failed_with(EIO));
  EXPECT_TRUE(disk_.pwrite(file.fd(), as_bytes("3"), 0).failed_with(EIO)) << "whatever follows";
  disk_.heal();
  EXPECT_EQ(content("/f"), "2");
}

TEST_F(SimDiskTest, AFullDiskTakesWhatFits) {
  auto file = open("/f");
  disk_.set_capacity(3 * 4096);
  EXPECT_TRUE(disk_.pwrite(file.fd(), as_bytes(std::string(5 * 4096, 'x')), 0).failed_with(ENOSPC));
  EXPECT_EQ(disk_.fstat(file.fd())->st_size, 3 * 4096);
  EXPECT_TRUE(disk_.pwrite(file.fd(), as_bytes("y"), 0)) << "in place";
  ASSERT_TRUE(disk_.truncate(file.fd(), 4096));
  EXPECT_TRUE(disk_.pwrite(file.fd(), as_bytes(std::string(4096, 'x')), 8192));
}

TEST_F(SimDiskTest, ClonesShareUntilOneChanges) {
  auto from = open("/from"), to = open("/to");
  ASSERT_TRUE(disk_.pwrite(from.fd(), as_bytes(std::string(5000, 'x')), 0));
  ASSERT_TRUE(disk_.clone_range(from.fd(), 0, to.fd(), 0, 0));
  ASSERT_TRUE(disk_.pwrite(from.fd(), as_bytes("changed"), 0));
  EXPECT_EQ(content("/to"), std::string(5000, 'x'));
  EXPECT_TRUE(disk_.clone_range(from.fd(), 100, to.fd(), 0, 100).failed_with(EINVAL));
  disk_.set_reflink(false);
  EXPECT_TRUE(disk_.clone_range(from.fd(), 0, to.fd(), 0, 0).failed_with(EOPNOTSUPP));
}

TEST_F(SimDiskTest, ABitFlipsInWhatIsStored) {
  const std::string text(10'000, 'x');
  auto chosen = open("/log-1"), other = open("/data");
  for (const auto* file : {&chosen, &other}) ASSERT_TRUE(disk_.pwrite(file->fd(), as_bytes(text), 0));
  EXPECT_EQ(disk_.flip_bit(1, "/log"), "") << "nothing is stored yet";
  ASSERT_TRUE(disk_.syncfs(chosen.fd()));
  const auto where = disk_.flip_bit(1, "/log");
  EXPECT_TRUE(where.starts_with("/log-1 byte ")) << where;
  auto found = content("/log-1");
  ASSERT_EQ(found.size(), text.size());
  int flipped = 0;
  for (std::size_t i = 0; i < text.size(); ++i)
    flipped += std::popcount(static_cast<unsigned>(found[i] ^ text[i]));
  EXPECT_EQ(flipped, 1);
  EXPECT_EQ(content("/data"), text);
  disk_.crash(1);
  EXPECT_EQ(content("/log-1"), found) << "it stays";
  EXPECT_EQ(disk_.flip_bit(1, "/none"), "");
}

TEST_F(SimDiskTest, AVolumeManagerCopiesAndExchangesIt) {
  {
    auto file = open("/f");
    ASSERT_TRUE(disk_.pwrite(file.fd(), as_bytes("first"), 0));
    EXPECT_TRUE(disk_.unmount().failed_with(EBUSY));
  }
  auto copy = disk_.copy();  // not synced, and in it
  copy->crash(1);
  copy->set_mount_point("/snapshots/1");
  auto read = [&](const std::string& path) {
    auto file = copy->open(Disk::kNoDir, path, O_RDONLY);
    if (!file) return file.error().message();
    std::string out(100, '\0');
    out.resize(copy->pread(file->fd(), std::as_writable_bytes(std::span(out)), 0).value());
    return out;
  };
  EXPECT_EQ(read("/snapshots/1/f"), "first");
  copy->set_read_only(true);
  EXPECT_TRUE(copy->open(Disk::kNoDir, "/snapshots/1/f", O_RDWR).failed_with(EROFS));
  EXPECT_TRUE(copy->open(Disk::kNoDir, "/snapshots/1/g", O_RDONLY | O_CREAT, 0600).failed_with(EROFS));
  EXPECT_TRUE(copy->unlink(Disk::kNoDir, "/snapshots/1/f").failed_with(EROFS));
  EXPECT_TRUE(copy->set_xattr_at(Disk::kNoDir, "/snapshots/1/f", "user.x", "1").failed_with(EROFS));
  ASSERT_TRUE(disk_.pwrite(open("/f").fd(), as_bytes("again"), 0));
  EXPECT_EQ(read("/snapshots/1/f"), "first");
  disk_.exchange(*copy);
  EXPECT_EQ(content("/f"), "first");
  EXPECT_EQ(read("/snapshots/1/f"), "again");
}

TEST_F(SimDiskTest, DisksOfAMachineFailTogether) {
  SimDisks disks;
  auto& brick = disks.add("b");
  int deaths = 0;
  disks.fault().freeze_at(3, [&] { ++deaths; });
  EXPECT_TRUE(disks.mkdir(Disk::kNoDir, "/root", 0700));
  EXPECT_TRUE(disks.mkdir(Disk::kNoDir, "/b/1", 0700));
  EXPECT_FALSE(disks.fault().is_dead());
  EXPECT_TRUE(disks.mkdir(Disk::kNoDir, "/b/2", 0700).failed_with(EIO));
  EXPECT_TRUE(disks.mkdir(Disk::kNoDir, "/root2", 0700).failed_with(EIO));
  EXPECT_TRUE(brick.step("lvcreate").failed_with(EIO));
  EXPECT_TRUE(disks.fault().is_dead());
  EXPECT_EQ(deaths, 1);
  disks.kill();
  EXPECT_TRUE(disks.mkdir(Disk::kNoDir, "/b/2", 0700));
}

TEST_F(SimDiskTest, ThreadsShareIt) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([this, t] {
      for (int i = 0; i < 100; ++i) {
        auto file = open(fmt::format("/{}-{}", t, i));
        EXPECT_TRUE(disk_.pwrite(file.fd(), as_bytes("x"), 0));
        EXPECT_TRUE(disk_.fsync(file.fd()));
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(disk_.list(open("/", O_RDONLY | O_DIRECTORY).fd())->size(), 400U);
}

}  // namespace
}  // namespace polder
