// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/support/sim_disks.h"

namespace polder {

SimDisk& SimDisks::add(const std::string& name) {
  auto& disk = disks_[name];
  disk = std::make_unique<SimDisk>(clock_);
  if (!disk->mkdir(kNoDir, "/" + name, 0700)) std::abort();
  return *disk;
}

void SimDisks::freeze(const SimDisk* but) {
  for (auto& [name, disk] : disks_)
    if (disk.get() != but) disk->freeze();
}

void SimDisks::kill() {
  for (auto& [name, disk] : disks_) disk->kill();
}

void SimDisks::crash(std::uint64_t seed) {
  for (auto& [name, disk] : disks_) disk->crash(seed++);
}

/// The disk of an absolute path's first component, or that of an open file or directory.
Result<SimDisk*> SimDisks::disk_of(int dir, const std::string& path) {
  if (path.starts_with('/')) {
    auto found = disks_.find(path.substr(1, path.find('/', 1) - 1));
    return found == disks_.end() ? &root() : found->second.get();
  }
  for (const auto& [name, disk] : disks_)
    if (disk->is_own(dir)) return disk.get();
  return Error(EBADF);
}

Result<DiskFile> SimDisks::open(int dir, const std::string& path, int flags, mode_t mode) {
  TRY(auto* disk, disk_of(dir, path));
  return disk->open(dir, path, flags, mode);
}

Result<std::size_t> SimDisks::pread(int fd, Bytes out, std::uint64_t offset) {
  TRY(auto* disk, disk_of(fd));
  return disk->pread(fd, out, offset);
}

Result<void> SimDisks::pwrite(int fd, ConstBytes data, std::uint64_t offset) {
  TRY(auto* disk, disk_of(fd));
  return disk->pwrite(fd, data, offset);
}

Result<void> SimDisks::pwritev(int fd, std::span<const ConstBytes> data, std::uint64_t offset) {
  TRY(auto* disk, disk_of(fd));
  return disk->pwritev(fd, data, offset);
}

Result<void> SimDisks::truncate(int fd, std::uint64_t size_bytes) {
  TRY(auto* disk, disk_of(fd));
  return disk->truncate(fd, size_bytes);
}

Result<void> SimDisks::fallocate(int fd, int mode, std::uint64_t offset, std::uint64_t length) {
  TRY(auto* disk, disk_of(fd));
  return disk->fallocate(fd, mode, offset, length);
}

Result<std::uint64_t> SimDisks::seek(int fd, std::uint64_t offset, int whence) {
  TRY(auto* disk, disk_of(fd));
  return disk->seek(fd, offset, whence);
}

Result<void> SimDisks::clone_range(int from, std::uint64_t from_offset, int to, std::uint64_t to_offset,
                                   std::uint64_t length) {
  TRY(auto* disk, disk_of(to));
  if (!disk->is_own(from)) return Error(EXDEV);
  return disk->clone_range(from, from_offset, to, to_offset, length);
}

Result<void> SimDisks::fsync(int fd) {
  TRY(auto* disk, disk_of(fd));
  return disk->fsync(fd);
}

Result<void> SimDisks::fdatasync(int fd) {
  TRY(auto* disk, disk_of(fd));
  return disk->fdatasync(fd);
}

Result<void> SimDisks::syncfs(int fd) {
  TRY(auto* disk, disk_of(fd));
  return disk->syncfs(fd);
}

Result<struct stat> SimDisks::stat(int dir, const std::string& name) {
  TRY(auto* disk, disk_of(dir, name));
  return disk->stat(dir, name);
}

Result<struct stat> SimDisks::fstat(int fd) {
  TRY(auto* disk, disk_of(fd));
  return disk->fstat(fd);
}

Result<struct statfs> SimDisks::statfs(int fd) {
  TRY(auto* disk, disk_of(fd));
  return disk->statfs(fd);
}

Result<void> SimDisks::chmod(int fd, mode_t mode) {
  TRY(auto* disk, disk_of(fd));
  return disk->chmod(fd, mode);
}

Result<void> SimDisks::chmod_at(int dir, const std::string& name, mode_t mode) {
  TRY(auto* disk, disk_of(dir, name));
  return disk->chmod_at(dir, name, mode);
}

Result<void> SimDisks::chown_at(int dir, const std::string& name, uid_t uid, gid_t gid) {
  TRY(auto* disk, disk_of(dir, name));
  return disk->chown_at(dir, name, uid, gid);
}

Result<void> SimDisks::set_times_at(int dir, const std::string& name, const timespec times[2]) {
  TRY(auto* disk, disk_of(dir, name));
  return disk->set_times_at(dir, name, times);
}

Result<void> SimDisks::set_times(int fd, const timespec times[2]) {
  TRY(auto* disk, disk_of(fd));
  return disk->set_times(fd, times);
}

Result<std::string> SimDisks::get_xattr(int fd, const std::string& key) {
  TRY(auto* disk, disk_of(fd));
  return disk->get_xattr(fd, key);
}

Result<void> SimDisks::set_xattr(int fd, const std::string& key, std::string_view value, int flags) {
  TRY(auto* disk, disk_of(fd));
  return disk->set_xattr(fd, key, value, flags);
}

Result<void> SimDisks::remove_xattr(int fd, const std::string& key) {
  TRY(auto* disk, disk_of(fd));
  return disk->remove_xattr(fd, key);
}

Result<std::vector<std::string>> SimDisks::list_xattr(int fd) {
  TRY(auto* disk, disk_of(fd));
  return disk->list_xattr(fd);
}

Result<std::string> SimDisks::get_xattr_at(int dir, const std::string& name, const std::string& key) {
  TRY(auto* disk, disk_of(dir, name));
  return disk->get_xattr_at(dir, name, key);
}

Result<void> SimDisks::set_xattr_at(int dir, const std::string& name, const std::string& key,
                                    std::string_view value, int flags) {
  TRY(auto* disk, disk_of(dir, name));
  return disk->set_xattr_at(dir, name, key, value, flags);
}

Result<void> SimDisks::remove_xattr_at(int dir, const std::string& name, const std::string& key) {
  TRY(auto* disk, disk_of(dir, name));
  return disk->remove_xattr_at(dir, name, key);
}

Result<std::vector<std::string>> SimDisks::list_xattr_at(int dir, const std::string& name) {
  TRY(auto* disk, disk_of(dir, name));
  return disk->list_xattr_at(dir, name);
}

Result<void> SimDisks::mkdir(int dir, const std::string& name, mode_t mode) {
  TRY(auto* disk, disk_of(dir, name));
  return disk->mkdir(dir, name, mode);
}

Result<void> SimDisks::mknod(int dir, const std::string& name, mode_t mode, dev_t device) {
  TRY(auto* disk, disk_of(dir, name));
  return disk->mknod(dir, name, mode, device);
}

Result<void> SimDisks::symlink(const std::string& target, int dir, const std::string& name) {
  TRY(auto* disk, disk_of(dir, name));
  return disk->symlink(target, dir, name);
}

Result<std::string> SimDisks::readlink(int dir, const std::string& name) {
  TRY(auto* disk, disk_of(dir, name));
  return disk->readlink(dir, name);
}

Result<void> SimDisks::link(int from_dir, const std::string& from, int to_dir, const std::string& to) {
  TRY(auto* disk, disk_of(to_dir, to));
  TRY(auto* source, disk_of(from_dir, from));
  if (source != disk) return Error(EXDEV);
  return disk->link(from_dir, from, to_dir, to);
}

Result<void> SimDisks::link_file(int fd, int to_dir, const std::string& to) {
  TRY(auto* disk, disk_of(to_dir, to));
  if (!disk->is_own(fd)) return Error(EXDEV);
  return disk->link_file(fd, to_dir, to);
}

Result<void> SimDisks::unlink(int dir, const std::string& name, int flags) {
  TRY(auto* disk, disk_of(dir, name));
  return disk->unlink(dir, name, flags);
}

Result<void> SimDisks::rename(int from_dir, const std::string& from, int to_dir, const std::string& to,
                              unsigned flags) {
  TRY(auto* disk, disk_of(to_dir, to));
  TRY(auto* source, disk_of(from_dir, from));
  if (source != disk) return Error(EXDEV);
  return disk->rename(from_dir, from, to_dir, to, flags);
}

Result<std::vector<DirEntry>> SimDisks::list(int fd) {
  TRY(auto* disk, disk_of(fd));
  return disk->list(fd);
}

Result<void> SimDisks::lock_exclusive(int fd) {
  TRY(auto* disk, disk_of(fd));
  return disk->lock_exclusive(fd);
}

/// Another one when any of the disks has lost power.
Result<std::string> SimDisks::boot_id() {
  std::string all = "boots";
  for (const auto& [name, disk] : disks_) all += " " + std::to_string(disk->boots());
  return all;
}

}  // namespace polder
