// SPDX-License-Identifier: GPL-3.0-or-later
// KernelDisk: the Disk seam by Linux system calls. Needs /proc: extended attributes of a name, and the first
// name of an O_TMPFILE file without CAP_DAC_READ_SEARCH, go through /proc/self/fd.
#include <dirent.h>
#include <linux/fs.h>
#include <linux/limits.h>
#include <linux/xattr.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>

#include "base/disk.h"

namespace polder {
namespace {

constexpr std::size_t kListBufferBytes = 64 * 1024;

template <typename Call>
auto retried(Call call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

/// Runs a call that returns 0 or -1.
template <typename Call>
Result<void> done(Call call) {
  if (retried(call) < 0) return Error(errno);
  return {};
}

/// A name with a NUL inside would silently act on another file: names come from the network.
Result<const char*> c_path(const std::string& name) {
  if (name.find('\0') != std::string::npos) return Error(EINVAL);
  return name.c_str();
}

int empty_path_flag(const std::string& name) {
  return name.empty() ? AT_EMPTY_PATH : 0;
}

std::string proc_path(int fd) {
  return fmt::format("/proc/self/fd/{}", fd);
}

/// Where the l*xattr calls find a name of a directory. An empty name must be used with the calls that
/// follow, because /proc/self/fd/N is itself a link (to the object, wherever that is).
Result<std::string> xattr_path(int dir, const std::string& name) {
  TRY(c_path(name));
  if (name.starts_with('/')) return name;
  if (dir == Disk::kNoDir) return name.empty() ? std::string(".") : name;
  return name.empty() ? proc_path(dir) : proc_path(dir) + "/" + name;
}

/// Calls `read(buffer, size)` of the getxattr and listxattr families: small values in one call, and what
/// does not fit in a second one with the most that the kernel ever returns.
template <typename Read>
Result<std::string> read_xattr(Read read) {
  std::string value(256, '\0');
  auto size = retried([&] { return read(value.data(), value.size()); });
  if (size < 0 && errno == ERANGE) {
    value.resize(std::max(XATTR_SIZE_MAX, XATTR_LIST_MAX));
    size = retried([&] { return read(value.data(), value.size()); });
  }
  if (size < 0) return Error(errno);
  value.resize(static_cast<std::size_t>(size));
  return value;
}

std::vector<std::string> split_names(std::string_view names) {
  std::vector<std::string> list;
  while (!names.empty()) {
    auto end = std::min(names.find('\0'), names.size());
    list.emplace_back(names.substr(0, end));
    names.remove_prefix(std::min(end + 1, names.size()));
  }
  return list;
}

/// The kernel's struct linux_dirent64, without its name.
struct DirentHead {
  std::uint64_t inode;
  std::int64_t next_offset;
  std::uint16_t size_bytes;
  std::uint8_t type;
};
constexpr std::size_t kDirentNameOffset = 19;

void append_entries(std::vector<DirEntry>& list, ConstBytes dirents) {
  while (dirents.size() > kDirentNameOffset) {
    DirentHead head;
    std::memcpy(&head, dirents.data(), kDirentNameOffset);
    std::string_view name = as_text(dirents.subspan(kDirentNameOffset, head.size_bytes - kDirentNameOffset));
    name = name.substr(0, name.find('\0'));
    if (name != "." && name != "..") list.push_back({std::string(name), head.inode, head.type});
    dirents = dirents.subspan(head.size_bytes);
  }
}

class KernelDisk final : public Disk {
 public:
  Result<DiskFile> open(int dir, const std::string& path, int flags, mode_t mode) override {
    TRY(const char* c_name, c_path(path));
    int fd = retried([&] { return ::openat(dir, c_name, flags | O_CLOEXEC, mode); });
    if (fd < 0) return Error(errno);
    return DiskFile(*this, fd);
  }

  Result<std::size_t> pread(int fd, Bytes out, std::uint64_t offset) override {
    std::size_t total = 0;
    do {
      auto rest = out.subspan(total);
      auto count =
          retried([&] { return ::pread(fd, rest.data(), rest.size(), static_cast<off_t>(offset + total)); });
      if (count < 0) return Error(errno);
      if (count == 0) break;
      total += static_cast<std::size_t>(count);
    } while (total < out.size());
    return total;
  }

  Result<std::size_t> pread_cached(int fd, Bytes out, std::uint64_t offset) override {
    std::size_t total = 0;
    while (total < out.size()) {
      iovec rest{out.data() + total, out.size() - total};
      auto count =
          retried([&] { return ::preadv2(fd, &rest, 1, static_cast<off_t>(offset + total), RWF_NOWAIT); });
      if (count < 0) return Error(errno == EOPNOTSUPP ? EAGAIN : errno);
      if (count == 0) break;  // the end; what is not cached is EAGAIN, even after a part of the bytes
      total += static_cast<std::size_t>(count);
    }
    return total;
  }

  Result<void> pwrite(int fd, ConstBytes data, std::uint64_t offset) override {
    do {
      auto count =
          retried([&] { return ::pwrite(fd, data.data(), data.size(), static_cast<off_t>(offset)); });
      if (count < 0) return Error(errno);
      if (count == 0 && !data.empty()) return Error(EIO);
      data = data.subspan(static_cast<std::size_t>(count));
      offset += static_cast<std::uint64_t>(count);
    } while (!data.empty());
    return {};
  }

  Result<void> pwritev(int fd, std::span<const ConstBytes> data, std::uint64_t offset) override {
    std::vector<iovec> parts;
    parts.reserve(data.size());
    for (ConstBytes part : data)
      if (!part.empty()) parts.push_back({const_cast<std::byte*>(part.data()), part.size()});
    std::size_t first = 0;
    do {
      auto count = static_cast<int>(std::min<std::size_t>(parts.size() - first, IOV_MAX));
      auto written =
          retried([&] { return ::pwritev(fd, parts.data() + first, count, static_cast<off_t>(offset)); });
      if (written < 0) return Error(errno);
      if (written == 0 && count > 0) return Error(EIO);
      offset += static_cast<std::uint64_t>(written);
      first = skip_written(parts, first, static_cast<std::size_t>(written));
    } while (first < parts.size());
    return {};
  }

  Result<void> truncate(int fd, std::uint64_t size_bytes) override {
    return done([&] { return ::ftruncate(fd, static_cast<off_t>(size_bytes)); });
  }
  Result<void> fallocate(int fd, int mode, std::uint64_t offset, std::uint64_t length) override {
    return done(
        [&] { return ::fallocate(fd, mode, static_cast<off_t>(offset), static_cast<off_t>(length)); });
  }
  Result<std::uint64_t> seek(int fd, std::uint64_t offset, int whence) override {
    if (whence != SEEK_DATA && whence != SEEK_HOLE) return Error(EINVAL);
    auto position = retried([&] { return ::lseek(fd, static_cast<off_t>(offset), whence); });
    if (position < 0) return Error(errno);
    return static_cast<std::uint64_t>(position);
  }
  Result<void> clone_range(int from, std::uint64_t from_offset, int to, std::uint64_t to_offset,
                           std::uint64_t length) override {
    file_clone_range range{from, from_offset, length, to_offset};
    return done([&] { return ::ioctl(to, FICLONERANGE, &range); });
  }

  Result<void> fsync(int fd) override {
    return done([&] { return ::fsync(fd); });
  }
  Result<void> fdatasync(int fd) override {
    return done([&] { return ::fdatasync(fd); });
  }
  Result<void> syncfs(int fd) override {
    return done([&] { return ::syncfs(fd); });
  }

  Result<struct stat> stat(int dir, const std::string& name) override {
    TRY(const char* c_name, c_path(name));
    struct stat out{};
    TRY(done([&] { return ::fstatat(dir, c_name, &out, AT_SYMLINK_NOFOLLOW | empty_path_flag(name)); }));
    return out;
  }
  Result<struct stat> fstat(int fd) override {
    struct stat out{};
    TRY(done([&] { return ::fstat(fd, &out); }));
    return out;
  }
  Result<struct statfs> statfs(int fd) override {
    struct statfs out{};
    TRY(done([&] { return ::fstatfs(fd, &out); }));
    return out;
  }

  Result<void> chmod(int fd, mode_t mode) override {
    return done([&] { return ::fchmod(fd, mode); });
  }
  Result<void> chmod_at(int dir, const std::string& name, mode_t mode) override {
    TRY(const char* c_name, c_path(name));
    if (name.empty() && dir == kNoDir) return done([&] { return ::chmod(".", mode); });
    if (name.empty()) return chmod_object(dir, mode);
    // glibc uses fchmodat2, or O_PATH and /proc/self/fd on a kernel before 6.6; EOPNOTSUPP for a symlink.
    return done([&] { return ::fchmodat(dir, c_name, mode, AT_SYMLINK_NOFOLLOW); });
  }
  Result<void> chown_at(int dir, const std::string& name, uid_t uid, gid_t gid) override {
    TRY(const char* c_name, c_path(name));
    return done(
        [&] { return ::fchownat(dir, c_name, uid, gid, AT_SYMLINK_NOFOLLOW | empty_path_flag(name)); });
  }
  Result<void> set_times_at(int dir, const std::string& name, const timespec times[2]) override {
    TRY(const char* c_name, c_path(name));
    return done([&] { return ::utimensat(dir, c_name, times, AT_SYMLINK_NOFOLLOW | empty_path_flag(name)); });
  }
  Result<void> set_times(int fd, const timespec times[2]) override {
    return done([&] { return ::futimens(fd, times); });
  }

  Result<std::string> get_xattr(int fd, const std::string& key) override {
    TRY(const char* c_key, c_path(key));
    return read_xattr([&](char* out, std::size_t size) { return ::fgetxattr(fd, c_key, out, size); });
  }
  Result<void> set_xattr(int fd, const std::string& key, std::string_view value, int flags) override {
    TRY(const char* c_key, c_path(key));
    return done([&] { return ::fsetxattr(fd, c_key, value.data(), value.size(), flags); });
  }
  Result<void> remove_xattr(int fd, const std::string& key) override {
    TRY(const char* c_key, c_path(key));
    return done([&] { return ::fremovexattr(fd, c_key); });
  }
  Result<std::vector<std::string>> list_xattr(int fd) override {
    TRY(auto names, read_xattr([&](char* out, std::size_t size) { return ::flistxattr(fd, out, size); }));
    return split_names(names);
  }

  Result<std::string> get_xattr_at(int dir, const std::string& name, const std::string& key) override {
    TRY(const char* c_key, c_path(key));
    TRY(auto path, xattr_path(dir, name));
    auto call = name.empty() ? ::getxattr : ::lgetxattr;
    return read_xattr([&](char* out, std::size_t size) { return call(path.c_str(), c_key, out, size); });
  }
  Result<void> set_xattr_at(int dir, const std::string& name, const std::string& key, std::string_view value,
                            int flags) override {
    TRY(const char* c_key, c_path(key));
    TRY(auto path, xattr_path(dir, name));
    auto call = name.empty() ? ::setxattr : ::lsetxattr;
    return done([&] { return call(path.c_str(), c_key, value.data(), value.size(), flags); });
  }
  Result<void> remove_xattr_at(int dir, const std::string& name, const std::string& key) override {
    TRY(const char* c_key, c_path(key));
    TRY(auto path, xattr_path(dir, name));
    auto call = name.empty() ? ::removexattr : ::lremovexattr;
    return done([&] { return call(path.c_str(), c_key); });
  }
  Result<std::vector<std::string>> list_xattr_at(int dir, const std::string& name) override {
    TRY(auto path, xattr_path(dir, name));
    auto call = name.empty() ? ::listxattr : ::llistxattr;
    TRY(auto names, read_xattr([&](char* out, std::size_t size) { return call(path.c_str(), out, size); }));
    return split_names(names);
  }

  Result<void> mkdir(int dir, const std::string& name, mode_t mode) override {
    TRY(const char* c_name, c_path(name));
    return done([&] { return ::mkdirat(dir, c_name, mode); });
  }
  Result<void> mknod(int dir, const std::string& name, mode_t mode, dev_t device) override {
    TRY(const char* c_name, c_path(name));
    return done([&] { return ::mknodat(dir, c_name, mode, device); });
  }
  Result<void> symlink(const std::string& target, int dir, const std::string& name) override {
    TRY(const char* c_target, c_path(target));
    TRY(const char* c_name, c_path(name));
    return done([&] { return ::symlinkat(c_target, dir, c_name); });
  }
  Result<std::string> readlink(int dir, const std::string& name) override {
    TRY(const char* c_name, c_path(name));
    std::array<char, PATH_MAX> target;  // the kernel's limit of a target, its NUL included
    auto size = retried([&] { return ::readlinkat(dir, c_name, target.data(), target.size()); });
    if (size < 0) return Error(errno);
    return std::string(target.data(), static_cast<std::size_t>(size));
  }
  Result<void> link(int from_dir, const std::string& from, int to_dir, const std::string& to) override {
    TRY(const char* c_from, c_path(from));
    TRY(const char* c_to, c_path(to));
    return done([&] { return ::linkat(from_dir, c_from, to_dir, c_to, 0); });
  }
  Result<void> link_file(int fd, int to_dir, const std::string& to) override {
    TRY(const char* c_to, c_path(to));
    auto linked = done([&] { return ::linkat(fd, "", to_dir, c_to, AT_EMPTY_PATH); });
    if (!linked.failed_with(ENOENT)) return linked;
    // ENOENT is also what a process without CAP_DAC_READ_SEARCH gets; this way is open to everybody.
    auto source = proc_path(fd);
    return done([&] { return ::linkat(kNoDir, source.c_str(), to_dir, c_to, AT_SYMLINK_FOLLOW); });
  }
  Result<void> unlink(int dir, const std::string& name, int flags) override {
    TRY(const char* c_name, c_path(name));
    return done([&] { return ::unlinkat(dir, c_name, flags); });
  }
  Result<void> rename(int from_dir, const std::string& from, int to_dir, const std::string& to,
                      unsigned flags) override {
    TRY(const char* c_from, c_path(from));
    TRY(const char* c_to, c_path(to));
    return done([&] { return ::renameat2(from_dir, c_from, to_dir, c_to, flags); });
  }
  Result<std::vector<DirEntry>> list(int fd) override {
    // A handle of its own: the position of `fd` belongs to all threads that share it.
    TRY(auto dir, open(fd, ".", O_RDONLY | O_DIRECTORY, 0));
    std::vector<DirEntry> entries;
    std::vector<std::byte> buffer(kListBufferBytes);
    while (true) {
      auto size = retried([&] { return ::getdents64(dir.fd(), buffer.data(), buffer.size()); });
      if (size < 0) return Error(errno);
      if (size == 0) return entries;
      append_entries(entries, ConstBytes(buffer).first(static_cast<std::size_t>(size)));
    }
  }

  Result<void> lock_exclusive(int fd) override {
    return done([&] { return ::flock(fd, LOCK_EX | LOCK_NB); });
  }

  Result<std::string> boot_id() override {
    TRY(auto file, open(kNoDir, "/proc/sys/kernel/random/boot_id", O_RDONLY, 0));
    std::array<std::byte, 64> buffer;
    TRY(auto size, pread(file.fd(), buffer, 0));
    std::string_view text = as_text(ConstBytes(buffer).first(size));
    return std::string(text.substr(0, text.find('\n')));
  }

 private:
  // Never retried: Linux has released the number even when close is interrupted.
  void close(int fd) override { ::close(fd); }

  static std::size_t skip_written(std::vector<iovec>& parts, std::size_t first, std::size_t written) {
    while (first < parts.size() && written >= parts[first].iov_len) written -= parts[first++].iov_len;
    if (written > 0) {
      parts[first].iov_base = static_cast<std::byte*>(parts[first].iov_base) + written;
      parts[first].iov_len -= written;
    }
    return first;
  }

  Result<void> chmod_object(int fd, mode_t mode) {
    TRY(auto attributes, fstat(fd));
    if (S_ISLNK(attributes.st_mode)) return Error(EOPNOTSUPP);
    auto path = proc_path(fd);
    return done([&] { return ::chmod(path.c_str(), mode); });
  }
};

}  // namespace

std::unique_ptr<Disk> make_kernel_disk() {
  return std::make_unique<KernelDisk>();
}

}  // namespace polder
