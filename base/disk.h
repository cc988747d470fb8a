// SPDX-License-Identifier: GPL-3.0-or-later
// Disk: the seam for storage, at system-call level. One method is one system call; semantics and errno are
// Linux's. The production Disk calls the kernel; SimDisk (tests/support) keeps written and synced state
// apart and loses the rest at a crash.
//
// All methods block: call them on a worker. Thread-safe as the kernel is. Errors carry errno without context;
// the caller knows the names. O_CLOEXEC is always added.
#pragma once
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/buffer.h"
#include "base/result.h"

namespace polder {

class Disk;

/// An open file of a Disk; closes itself. Move-only. Not an int, so that a SimDisk handle cannot reach the
/// kernel.
class DiskFile {
 public:
  DiskFile() = default;
  DiskFile(Disk& disk, int fd) : disk_(&disk), fd_(fd) {}
  DiskFile(DiskFile&& other) noexcept : disk_(other.disk_), fd_(other.fd_) { other.fd_ = -1; }
  DiskFile& operator=(DiskFile&& other) noexcept;
  ~DiskFile() { reset(); }

  explicit operator bool() const { return fd_ >= 0; }
  int fd() const { return fd_; }
  Disk& disk() const { return *disk_; }
  void reset();

 private:
  Disk* disk_ = nullptr;
  int fd_ = -1;
};

struct DirEntry {
  std::string name;  // "." and ".." are left out
  std::uint64_t inode;
  unsigned char type;  // DT_*
};

class Disk {
 public:
  /// `dir` of a path that is absolute; paths are otherwise relative to an open directory.
  static constexpr int kNoDir = AT_FDCWD;

  virtual ~Disk() = default;

  // Opening. `flags` as open(2), O_TMPFILE and O_PATH included.
  virtual Result<DiskFile> open(int dir, const std::string& path, int flags, mode_t mode = 0) = 0;

  // Bytes. Short counts happen only at the end of the file (read) — write_all and read_some loop inside.
  virtual Result<std::size_t> pread(int fd, Bytes out, std::uint64_t offset) = 0;
  virtual Result<void> pwrite(int fd, ConstBytes data, std::uint64_t offset) = 0;
  /// Gathered write of the whole list at `offset`.
  virtual Result<void> pwritev(int fd, std::span<const ConstBytes> data, std::uint64_t offset) = 0;
  virtual Result<void> truncate(int fd, std::uint64_t size_bytes) = 0;
  virtual Result<void> fallocate(int fd, int mode, std::uint64_t offset, std::uint64_t length) = 0;
  /// SEEK_DATA or SEEK_HOLE; ENXIO past the end.
  virtual Result<std::uint64_t> seek(int fd, std::uint64_t offset, int whence) = 0;
  /// Shares extents (FICLONERANGE) where the file system can; EOPNOTSUPP or EXDEV elsewhere.
  virtual Result<void> clone_range(int from, std::uint64_t from_offset, int to, std::uint64_t to_offset,
                                   std::uint64_t length) = 0;

  // Durability. fsync of a directory makes its entries durable.
  virtual Result<void> fsync(int fd) = 0;
  virtual Result<void> fdatasync(int fd) = 0;
  virtual Result<void> syncfs(int fd) = 0;

  // Attributes. `name` empty with AT_EMPTY_PATH acts on `dir` itself. Links are never followed.
  virtual Result<struct stat> stat(int dir, const std::string& name) = 0;
  virtual Result<struct stat> fstat(int fd) = 0;
  virtual Result<struct statfs> statfs(int fd) = 0;
  virtual Result<void> chmod(int fd, mode_t mode) = 0;                               // not on O_PATH
  virtual Result<void> chmod_at(int dir, const std::string& name, mode_t mode) = 0;  // never on a symlink
  virtual Result<void> chown_at(int dir, const std::string& name, uid_t uid, gid_t gid) = 0;
  /// {atime, mtime}, UTIME_OMIT and UTIME_NOW allowed.
  virtual Result<void> set_times_at(int dir, const std::string& name, const timespec times[2]) = 0;
  virtual Result<void> set_times(int fd, const timespec times[2]) = 0;

  // Extended attributes of an open file, and of a name (the object itself, never a link's target).
  virtual Result<std::string> get_xattr(int fd, const std::string& key) = 0;
  virtual Result<void> set_xattr(int fd, const std::string& key, std::string_view value, int flags = 0) = 0;
  virtual Result<void> remove_xattr(int fd, const std::string& key) = 0;
  virtual Result<std::vector<std::string>> list_xattr(int fd) = 0;
  virtual Result<std::string> get_xattr_at(int dir, const std::string& name, const std::string& key) = 0;
  virtual Result<void> set_xattr_at(int dir, const std::string& name, const std::string& key,
                                    std::string_view value, int flags = 0) = 0;
  virtual Result<void> remove_xattr_at(int dir, const std::string& name, const std::string& key) = 0;
  virtual Result<std::vector<std::string>> list_xattr_at(int dir, const std::string& name) = 0;

  // Names.
  virtual Result<void> mkdir(int dir, const std::string& name, mode_t mode) = 0;
  virtual Result<void> mknod(int dir, const std::string& name, mode_t mode, dev_t device) = 0;
  virtual Result<void> symlink(const std::string& target, int dir, const std::string& name) = 0;
  virtual Result<std::string> readlink(int dir, const std::string& name) = 0;
  /// Hard link of a name (a symlink itself, not its target).
  virtual Result<void> link(int from_dir, const std::string& from, int to_dir, const std::string& to) = 0;
  /// First name of an O_TMPFILE file, or a further one of any open file (not O_PATH).
  virtual Result<void> link_file(int fd, int to_dir, const std::string& to) = 0;
  virtual Result<void> unlink(int dir, const std::string& name, int flags = 0) = 0;  // AT_REMOVEDIR
  virtual Result<void> rename(int from_dir, const std::string& from, int to_dir, const std::string& to,
                              unsigned flags = 0) = 0;  // RENAME_NOREPLACE, RENAME_EXCHANGE
  /// The whole directory in one call; our directories are read in slices by the store above.
  virtual Result<std::vector<DirEntry>> list(int fd) = 0;

  // Locks of a whole open file (flock), for "one process owns this directory". EWOULDBLOCK when taken.
  virtual Result<void> lock_exclusive(int fd) = 0;

  /// Identity of the running kernel: a new value means that un-synced data may be gone.
  virtual Result<std::string> boot_id() = 0;

 private:
  friend class DiskFile;
  virtual void close(int fd) = 0;

 public:
  /// pread that does not wait for the disk: EAGAIN when that would be needed for any of the bytes.
  virtual Result<std::size_t> pread_cached(int fd, Bytes out, std::uint64_t offset) {
    return pread(fd, out, offset);
  }
};

/// The kernel's file systems.
std::unique_ptr<Disk> make_kernel_disk();

}  // namespace polder
