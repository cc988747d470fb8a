// SPDX-License-Identifier: GPL-3.0-or-later
#include "base/disk_tree.h"

#include <unistd.h>

#include <algorithm>

namespace polder {

namespace {

constexpr int kDirectory = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
constexpr std::size_t kCopyBytes = 1 << 20;

/// From `at` up to `end`, all of which is data.
Result<void> copy_bytes(Disk& disk, int from, int to, std::uint64_t at, std::uint64_t end) {
  std::vector<std::byte> buffer(std::min<std::uint64_t>(kCopyBytes, end - at));
  while (at < end) {
    const auto wanted = std::min<std::uint64_t>(buffer.size(), end - at);
    TRY(auto size, disk.pread(from, Bytes(buffer).first(wanted), at));
    if (size == 0) return Error(EIO).with("it became shorter while it was copied");
    TRY(disk.pwrite(to, ConstBytes(buffer).first(size), at));
    at += size;
  }
  return {};
}

Result<void> copy_data(Disk& disk, int from, int to, std::uint64_t size) {
  if (size == 0) return {};
  if (disk.clone_range(from, 0, to, 0, size)) return {};
  TRY(disk.truncate(to, size));  // what the file system shared in part is written once more
  for (std::uint64_t at = 0; at < size;) {
    auto data = disk.seek(from, at, SEEK_DATA);
    if (data.failed_with(ENXIO)) return {};  // a hole to the end
    TRY(const auto begin, std::move(data));
    TRY(const auto end, disk.seek(from, begin, SEEK_HOLE));
    TRY(copy_bytes(disk, from, to, begin, std::min(end, size)));
    at = end;
  }
  return {};
}

Result<void> copy_file(Disk& disk, int from_dir, int to_dir, const std::string& name) {
  TRY(auto from, disk.open(from_dir, name, O_RDONLY | O_NOFOLLOW));
  TRY(const auto native, disk.fstat(from.fd()));
  if (!S_ISREG(native.st_mode)) return Error(EINVAL).with("it is not a plain file");
  const mode_t mode = native.st_mode & 07777;
  TRY(auto to, disk.open(to_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode));
  TRY(disk.chmod(to.fd(), mode));
  return copy_data(disk, from.fd(), to.fd(), static_cast<std::uint64_t>(native.st_size));
}

Result<void> copy_directory(Disk& disk, int from_dir, const std::string& from, int to_dir,
                            const std::string& to) {
  TRY(auto source, disk.open(from_dir, from, kDirectory).with("open {}", from));
  TRY(const auto native, disk.fstat(source.fd()));
  TRY(disk.mkdir(to_dir, to, 0700).with("make {}", to));
  TRY(auto target, disk.open(to_dir, to, kDirectory).with("open {}", to));
  TRY(disk.chmod(target.fd(), native.st_mode & 07777));
  TRY(auto entries, disk.list(source.fd()).with("list {}", from));
  for (const auto& entry : entries) {
    TRY(const auto what, disk.stat(source.fd(), entry.name));
    if (S_ISDIR(what.st_mode)) {
      TRY(copy_directory(disk, source.fd(), entry.name, target.fd(), entry.name));
    } else if (S_ISREG(what.st_mode)) {
      TRY(copy_file(disk, source.fd(), target.fd(), entry.name).with("copy {}", entry.name));
    } else {
      return Error(EINVAL).with("copy {}: it is neither file nor directory", entry.name);
    }
  }
  return {};
}

Result<void> remove_within(Disk& disk, int dir, const std::string& name, dev_t device) {
  auto found = disk.stat(dir, name);
  if (found.failed_with(ENOENT)) return {};
  TRY(const auto what, std::move(found).with("look at {}", name));
  if (!S_ISDIR(what.st_mode)) return disk.unlink(dir, name).with("remove {}", name);
  if (what.st_dev != device) return Error(EXDEV).with("{} is on another file system; it is left alone", name);
  {
    TRY(auto directory, disk.open(dir, name, kDirectory).with("open {}", name));
    TRY(auto entries, disk.list(directory.fd()).with("list {}", name));
    for (const auto& entry : entries) {
      TRY(remove_within(disk, directory.fd(), entry.name, device));
    }
  }
  return disk.unlink(dir, name, AT_REMOVEDIR).with("remove {}", name);
}

}  // namespace

Result<void> remove_tree(Disk& disk, int dir, const std::string& name) {
  TRY(const auto native, disk.fstat(dir));
  return remove_within(disk, dir, name, native.st_dev);
}

Result<void> copy_tree(Disk& disk, const std::string& from, const std::string& to) {
  return copy_directory(disk, Disk::kNoDir, from, Disk::kNoDir, to);
}

}  // namespace polder
