// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/support/sim_disks.h"

#include <algorithm>

namespace polder {

SimDisks::SimDisks(const Clock* clock) : clock_(clock) {
  disks_[""] = std::make_unique<SimDisk>(clock);
  root().share_fault(fault_);
}

SimDisk& SimDisks::add(const std::string& name) {
  auto& disk = disks_[name];
  disk = std::make_unique<SimDisk>(clock_);
  disk->share_fault(fault_);
  if (!disk->mkdir(kNoDir, "/" + name, 0700)) std::abort();
  return *disk;
}

template <typename Visit>
void SimDisks::for_all(Visit visit) {
  for (auto& [name, disk] : disks_) visit(*disk);
  for (auto& [directory, disk] : mounts_) visit(*disk);
}

void SimDisks::heal() {
  fault_.heal();
  for_all([](SimDisk& disk) { disk.heal(); });
}

void SimDisks::freeze() {
  for_all([](SimDisk& disk) { disk.freeze(); });
}

void SimDisks::kill() {
  fault_.heal();
  for_all([](SimDisk& disk) { disk.kill(); });
}

void SimDisks::crash(std::uint64_t seed) {
  fault_.heal();
  for_all([&](SimDisk& disk) { disk.crash(seed++); });
  mounts_.clear();
}

void SimDisks::mount(const std::string& directory, std::shared_ptr<SimDisk> disk) {
  disk->set_mount_point(directory);
  mounts_[directory] = std::move(disk);
}

Result<void> SimDisks::unmount(const std::string& directory) {
  auto mounted = mounts_.find(directory);
  if (mounted == mounts_.end()) return {};
  TRY(mounted->second->unmount().with("umount {}", directory));
  mounts_.erase(mounted);
  return {};
}

bool SimDisks::is_mounted(const std::shared_ptr<SimDisk>& disk) const {
  return std::ranges::any_of(mounts_, [&](const auto& mount) { return mount.second == disk; });
}

Result<void> SimDisks::detach(const std::string& name) {
  TRY(at(name).unmount().with("umount /{}", name));
  detached_.insert(name);
  return {};
}

SimDisk* SimDisks::mounted_over(const std::string& path) const {
  for (const auto& [directory, disk] : mounts_) {
    const bool below =
        path.starts_with(directory) && (path.size() == directory.size() || path[directory.size()] == '/');
    if (below) return disk.get();
  }
  return nullptr;
}

/// The disk of an absolute path, or that of an open file or directory.
Result<SimDisk*> SimDisks::disk_of(int dir, const std::string& path) {
  if (path.starts_with('/')) {
    if (auto* mounted = mounted_over(path)) return mounted;
    const auto name = path.substr(1, path.find('/', 1) - 1);
    return has(name) ? disks_.at(name).get() : &root();
  }
  SimDisk* found = nullptr;
  for_all([&](SimDisk& disk) {
    if (!found && disk.is_own(dir)) found = &disk;
  });
  if (!found) return Error(EBADF);
  return found;
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
