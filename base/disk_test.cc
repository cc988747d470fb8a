// SPDX-License-Identifier: GPL-3.0-or-later
// KernelDisk against the real kernel, in a directory of its own under /var/tmp. What a file system may refuse
// (extended attributes, holes) is skipped only after it said so.
#include "base/disk.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/xattr.h>

#include <filesystem>

namespace polder {
namespace {

std::string content(Disk& disk, int fd, std::uint64_t offset = 0, std::size_t size = 1 << 20) {
  std::string out(size, '\0');
  auto count = disk.pread(fd, std::as_writable_bytes(std::span(out)), offset);
  if (!count) return "error: " + count.error().message();
  out.resize(*count);
  return out;
}

class KernelDiskTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = "/var/tmp/polder-disk-test.XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    path_ = pattern;
    dir_ = disk_->open(Disk::kNoDir, path_, O_RDONLY | O_DIRECTORY).value();
  }
  void TearDown() override { std::filesystem::remove_all(path_); }

  DiskFile create(const std::string& name) {
    return disk_->open(dir_.fd(), name, O_RDWR | O_CREAT | O_EXCL, 0640).value();
  }
  bool xattrs_supported() {
    return !disk_->set_xattr_at(dir_.fd(), "", "user.probe", "1").failed_with(EOPNOTSUPP);
  }

  std::unique_ptr<Disk> disk_ = make_kernel_disk();
  std::string path_;
  DiskFile dir_;
};

TEST_F(KernelDiskTest, OpensCloseOnExecAndClosesItself) {
  auto file = create("a");
  int number = file.fd();
  EXPECT_EQ(::fcntl(number, F_GETFD), FD_CLOEXEC);
  DiskFile moved = std::move(file);
  EXPECT_FALSE(file);  // NOLINT(bugprone-use-after-move): what is left behind is the point
  EXPECT_EQ(moved.fd(), number);
  moved.reset();
  EXPECT_EQ(::fcntl(number, F_GETFD), -1);
}

TEST_F(KernelDiskTest, ErrnoIsTheKernels) {
  create("a");
  ASSERT_TRUE(disk_->symlink("a", dir_.fd(), "l"));
  EXPECT_TRUE(disk_->open(dir_.fd(), "absent", O_RDONLY).failed_with(ENOENT));
  EXPECT_TRUE(disk_->open(dir_.fd(), "a", O_WRONLY | O_CREAT | O_EXCL, 0600).failed_with(EEXIST));
  EXPECT_TRUE(disk_->open(dir_.fd(), "l", O_RDONLY | O_NOFOLLOW).failed_with(ELOOP));
  EXPECT_TRUE(disk_->open(dir_.fd(), std::string(256, 'x'), O_RDONLY).failed_with(ENAMETOOLONG));
  EXPECT_TRUE(disk_->list(9999).failed_with(EBADF));
  EXPECT_TRUE(disk_->unlink(dir_.fd(), std::string("a\0b", 3)).failed_with(EINVAL));
  EXPECT_TRUE(disk_->stat(dir_.fd(), "a"));
}

TEST_F(KernelDiskTest, GatheredWriteLongerThanOneCallTakes) {
  auto file = create("a");
  std::string expected;
  std::vector<std::string> texts;
  for (int i = 0; i < 3000; ++i) texts.push_back(i % 7 ? fmt::format("{},", i) : "");
  std::vector<ConstBytes> parts;
  for (const auto& text : texts) {
    parts.push_back(as_bytes(text));
    expected += text;
  }
  ASSERT_TRUE(disk_->pwritev(file.fd(), parts, 5));
  EXPECT_EQ(content(*disk_, file.fd(), 5), expected);
  EXPECT_EQ(content(*disk_, file.fd(), 0, 5), std::string(5, '\0'));
  EXPECT_EQ(content(*disk_, file.fd(), 1 << 20), "");
  EXPECT_TRUE(disk_->pwritev(file.fd(), {}, 0));
}

TEST_F(KernelDiskTest, ReadOfTheCacheOnlyIsWholeOrRefused) {
  auto file = create("a");
  const std::string text(3 << 12, 'x');
  ASSERT_TRUE(disk_->pwrite(file.fd(), as_bytes(text), 0));
  std::vector<std::byte> buffer(text.size() + 100);
  auto cached = disk_->pread_cached(file.fd(), buffer, 0);
  if (cached.failed_with(EAGAIN)) GTEST_SKIP() << "the file system of " << path_ << " does not offer it";
  EXPECT_EQ(cached.value(), text.size()) << "up to the end of the file";
  EXPECT_EQ(disk_->pread_cached(file.fd(), buffer, text.size()).value(), 0U);

  // The last page leaves the cache: the bytes before it are not given alone.
  ASSERT_TRUE(disk_->fsync(file.fd()));
  ASSERT_EQ(::posix_fadvise(file.fd(), 2 << 12, 1 << 12, POSIX_FADV_DONTNEED), 0);
  cached = disk_->pread_cached(file.fd(), buffer, 0);
  if (cached) GTEST_SKIP() << "the kernel kept the page";
  EXPECT_EQ(cached.error().code(), EAGAIN);
  EXPECT_EQ(disk_->pread(file.fd(), buffer, 0).value(), text.size());
}

TEST_F(KernelDiskTest, HolesAreFoundAndPunched) {
  auto file = create("a");
  ASSERT_TRUE(disk_->truncate(file.fd(), 1ULL << 30));
  ASSERT_TRUE(disk_->pwrite(file.fd(), as_bytes("data"), 1 << 20));
  EXPECT_EQ(disk_->fstat(file.fd())->st_size, 1 << 30);
  EXPECT_TRUE(disk_->seek(file.fd(), 2ULL << 30, SEEK_DATA).failed_with(ENXIO));
  EXPECT_LE(disk_->seek(file.fd(), 0, SEEK_DATA).value(), 1U << 20);
  auto punched = disk_->fallocate(file.fd(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 1 << 20, 2);
  if (punched.failed_with(EOPNOTSUPP)) GTEST_SKIP() << "no punch hole on the file system of " << path_;
  ASSERT_TRUE(punched);
  EXPECT_EQ(content(*disk_, file.fd(), 1 << 20, 4), std::string("\0\0ta", 4));
}

TEST_F(KernelDiskTest, EmptyNameActsOnTheHandle) {
  create("a");
  auto handle = disk_->open(dir_.fd(), "a", O_PATH | O_NOFOLLOW).value();
  EXPECT_EQ(disk_->stat(dir_.fd(), "")->st_ino, disk_->fstat(dir_.fd())->st_ino);
  ASSERT_TRUE(disk_->chmod_at(handle.fd(), "", 0604));
  ASSERT_TRUE(disk_->chown_at(handle.fd(), "", static_cast<uid_t>(-1), static_cast<gid_t>(-1)));
  timespec times[2] = {{0, UTIME_OMIT}, {12345, 678}};
  ASSERT_TRUE(disk_->set_times_at(handle.fd(), "", times));
  auto attributes = disk_->stat(dir_.fd(), "a").value();
  EXPECT_EQ(attributes.st_mode & 07777, 0604U);
  EXPECT_EQ(attributes.st_mtim.tv_sec, 12345);
  EXPECT_EQ(attributes.st_mtim.tv_nsec, 678);
}

TEST_F(KernelDiskTest, ChmodNeverFollowsALink) {
  create("a");
  ASSERT_TRUE(disk_->symlink("a", dir_.fd(), "l"));
  EXPECT_TRUE(disk_->chmod_at(dir_.fd(), "l", 0777).failed_with(EOPNOTSUPP));
  auto link = disk_->open(dir_.fd(), "l", O_PATH | O_NOFOLLOW).value();
  EXPECT_TRUE(disk_->chmod_at(link.fd(), "", 0777).failed_with(EOPNOTSUPP));
  ASSERT_TRUE(disk_->chmod_at(dir_.fd(), "a", 0600));
  EXPECT_EQ(disk_->stat(dir_.fd(), "a")->st_mode & 07777, 0600U);
}

TEST_F(KernelDiskTest, ExtendedAttributesByHandleAndByName) {
  if (!xattrs_supported()) GTEST_SKIP() << "no user xattrs on the file system of " << path_;
  auto file = create("a");
  std::string value("with\0nul", 8);
  std::string large(2000, 'v');
  ASSERT_TRUE(disk_->set_xattr(file.fd(), "user.one", value));
  ASSERT_TRUE(disk_->set_xattr_at(dir_.fd(), "a", "user.two", large));
  EXPECT_EQ(disk_->get_xattr_at(dir_.fd(), "a", "user.one").value(), value);
  EXPECT_EQ(disk_->get_xattr(file.fd(), "user.two").value(), large);
  EXPECT_THAT(disk_->list_xattr(file.fd()).value(), testing::IsSupersetOf({"user.one", "user.two"}));
  EXPECT_TRUE(disk_->set_xattr(file.fd(), "user.one", "", XATTR_CREATE).failed_with(EEXIST));
  ASSERT_TRUE(disk_->remove_xattr_at(dir_.fd(), "a", "user.one"));
  EXPECT_TRUE(disk_->remove_xattr(file.fd(), "user.one").failed_with(ENODATA));
  EXPECT_TRUE(disk_->get_xattr(file.fd(), "user.one").failed_with(ENODATA));
  EXPECT_EQ(disk_->get_xattr_at(dir_.fd(), "", "user.probe").value(), "1");
}

TEST_F(KernelDiskTest, ExtendedAttributesOfALinkAreItsOwn) {
  if (!xattrs_supported()) GTEST_SKIP() << "no user xattrs on the file system of " << path_;
  auto file = create("a");
  ASSERT_TRUE(disk_->set_xattr(file.fd(), "user.one", "1"));
  ASSERT_TRUE(disk_->symlink("a", dir_.fd(), "l"));
  EXPECT_FALSE(disk_->get_xattr_at(dir_.fd(), "l", "user.one"));
  EXPECT_FALSE(disk_->set_xattr_at(dir_.fd(), "l", "user.two", "2"));
  EXPECT_TRUE(disk_->get_xattr(file.fd(), "user.two").failed_with(ENODATA));
}

TEST_F(KernelDiskTest, NamesLinksAndRenames) {
  ASSERT_TRUE(disk_->mkdir(dir_.fd(), "d", 0700));
  ASSERT_TRUE(disk_->mknod(dir_.fd(), "fifo", S_IFIFO | 0600, 0));
  ASSERT_TRUE(disk_->symlink("nowhere", dir_.fd(), "l"));
  ASSERT_TRUE(disk_->link(dir_.fd(), "l", dir_.fd(), "l2"));
  EXPECT_EQ(disk_->readlink(dir_.fd(), "l2").value(), "nowhere");
  create("a");
  EXPECT_TRUE(disk_->rename(dir_.fd(), "a", dir_.fd(), "l", RENAME_NOREPLACE).failed_with(EEXIST));
  ASSERT_TRUE(disk_->rename(dir_.fd(), "a", dir_.fd(), "l", RENAME_EXCHANGE));
  EXPECT_TRUE(S_ISREG(disk_->stat(dir_.fd(), "l")->st_mode));
  ASSERT_TRUE(disk_->unlink(dir_.fd(), "a"));
  std::vector<std::string> seen;
  auto entries = disk_->list(dir_.fd()).value();
  for (const auto& entry : entries) {
    seen.push_back(fmt::format("{}:{}", entry.name, static_cast<int>(entry.type)));
    EXPECT_EQ(entry.inode, disk_->stat(dir_.fd(), entry.name)->st_ino);
  }
  EXPECT_THAT(seen, testing::UnorderedElementsAre("d:4", "fifo:1", "l:8", "l2:10"));
  ASSERT_TRUE(disk_->unlink(dir_.fd(), "d", AT_REMOVEDIR));
}

TEST_F(KernelDiskTest, AnUnnamedFileGetsItsNameLater) {
  auto file = disk_->open(dir_.fd(), ".", O_TMPFILE | O_RDWR, 0600);
  if (file.failed_with(EOPNOTSUPP)) GTEST_SKIP() << "no O_TMPFILE on the file system of " << path_;
  ASSERT_TRUE(file);
  ASSERT_TRUE(disk_->pwrite(file->fd(), as_bytes("x"), 0));
  ASSERT_TRUE(disk_->link_file(file->fd(), dir_.fd(), "named"));
  EXPECT_TRUE(disk_->link_file(file->fd(), dir_.fd(), "named").failed_with(EEXIST));
  EXPECT_EQ(disk_->stat(dir_.fd(), "named")->st_nlink, 1U);
}

TEST_F(KernelDiskTest, ListsTheWholeOfALargeDirectoryEveryTime) {
  for (int i = 0; i < 3000; ++i) ASSERT_TRUE(disk_->symlink("t", dir_.fd(), fmt::format("{:060}", i)));
  EXPECT_EQ(disk_->list(dir_.fd())->size(), 3000U);
  EXPECT_EQ(disk_->list(dir_.fd())->size(), 3000U);
}

TEST_F(KernelDiskTest, OneOwnerAtATime) {
  auto first = create("lock");
  auto second = disk_->open(dir_.fd(), "lock", O_RDWR).value();
  ASSERT_TRUE(disk_->lock_exclusive(first.fd()));
  EXPECT_TRUE(disk_->lock_exclusive(second.fd()).failed_with(EWOULDBLOCK));
  first.reset();
  EXPECT_TRUE(disk_->lock_exclusive(second.fd()));
}

TEST_F(KernelDiskTest, SyncsAndBootId) {
  auto file = create("a");
  EXPECT_TRUE(disk_->fsync(file.fd()));
  EXPECT_TRUE(disk_->fdatasync(file.fd()));
  EXPECT_TRUE(disk_->fsync(dir_.fd()));
  EXPECT_EQ(disk_->boot_id()->size(), 36U);
  EXPECT_EQ(disk_->boot_id().value(), disk_->boot_id().value());
}

}  // namespace
}  // namespace polder
