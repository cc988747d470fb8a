// SPDX-License-Identifier: GPL-3.0-or-later
// SimDisks: several SimDisks as one machine has them: `/NAME/...` is on the disk that was added as NAME, all
// else on root(). Each fails, fills up and loses power for itself, or at a call of any of them (fault()).
// Others can be mounted and unmounted meanwhile. What is open tells its disk; two disks in one call: EXDEV.
#pragma once
#include <map>
#include <memory>
#include <set>
#include <string>

#include "tests/support/sim_disk.h"

namespace polder {

class SimDisks final : public Disk {
 public:
  /// Without a clock, as SimDisk.
  explicit SimDisks(const Clock* clock = nullptr);
  SimDisk& root() { return at(""); }
  /// With its directory `/name`.
  SimDisk& add(const std::string& name);
  SimDisk& at(const std::string& name) { return *disks_.at(name); }
  /// Counts the calls of all disks together. kill() and crash() heal it.
  SimFault& fault() { return fault_; }
  const SimFault& fault() const { return fault_; }
  /// All at once.
  void heal();
  void freeze();
  void kill();
  /// Each disk loses what it likes; what mount() brought is no longer mounted.
  void crash(std::uint64_t seed);

  /// The disk's root is at `directory`, whatever is there on the disk below.
  void mount(const std::string& directory, std::shared_ptr<SimDisk> disk);
  /// EBUSY while something is open there; success when nothing is mounted.
  Result<void> unmount(const std::string& directory);
  bool is_mounted(const std::string& directory) const { return mounts_.contains(directory); }
  bool is_mounted(const std::shared_ptr<SimDisk>& disk) const;
  /// Takes the disk that was added as `name` away from its place, and puts it there again. EBUSY.
  Result<void> detach(const std::string& name);
  void attach(const std::string& name) { detached_.erase(name); }
  bool exists(const std::string& name) const { return !name.empty() && disks_.contains(name); }
  /// And is in its place.
  bool has(const std::string& name) const { return exists(name) && !detached_.contains(name); }

  Result<DiskFile> open(int dir, const std::string& path, int flags, mode_t mode) override;
  Result<std::size_t> pread(int fd, Bytes out, std::uint64_t offset) override;
  Result<void> pwrite(int fd, ConstBytes data, std::uint64_t offset) override;
  Result<void> pwritev(int fd, std::span<const ConstBytes> data, std::uint64_t offset) override;
  Result<void> truncate(int fd, std::uint64_t size_bytes) override;
  Result<void> fallocate(int fd, int mode, std::uint64_t offset, std::uint64_t length) override;
  Result<std::uint64_t> seek(int fd, std::uint64_t offset, int whence) override;
  Result<void> clone_range(int from, std::uint64_t from_offset, int to, std::uint64_t to_offset,
                           std::uint64_t length) override;
  Result<void> fsync(int fd) override;
  Result<void> fdatasync(int fd) override;
  Result<void> syncfs(int fd) override;
  Result<struct stat> stat(int dir, const std::string& name) override;
  Result<struct stat> fstat(int fd) override;
  Result<struct statfs> statfs(int fd) override;
  Result<void> chmod(int fd, mode_t mode) override;
  Result<void> chmod_at(int dir, const std::string& name, mode_t mode) override;
  Result<void> chown_at(int dir, const std::string& name, uid_t uid, gid_t gid) override;
  Result<void> set_times_at(int dir, const std::string& name, const timespec times[2]) override;
  Result<void> set_times(int fd, const timespec times[2]) override;
  Result<std::string> get_xattr(int fd, const std::string& key) override;
  Result<void> set_xattr(int fd, const std::string& key, std::string_view value, int flags) override;
  Result<void> remove_xattr(int fd, const std::string& key) override;
  Result<std::vector<std::string>> list_xattr(int fd) override;
  Result<std::string> get_xattr_at(int dir, const std::string& name, const std::string& key) override;
  Result<void> set_xattr_at(int dir, const std::string& name, const std::string& key, std::string_view value,
                            int flags) override;
  Result<void> remove_xattr_at(int dir, const std::string& name, const std::string& key) override;
  Result<std::vector<std::string>> list_xattr_at(int dir, const std::string& name) override;
  Result<void> mkdir(int dir, const std::string& name, mode_t mode) override;
  Result<void> mknod(int dir, const std::string& name, mode_t mode, dev_t device) override;
  Result<void> symlink(const std::string& target, int dir, const std::string& name) override;
  Result<std::string> readlink(int dir, const std::string& name) override;
  Result<void> link(int from_dir, const std::string& from, int to_dir, const std::string& to) override;
  Result<void> link_file(int fd, int to_dir, const std::string& to) override;
  Result<void> unlink(int dir, const std::string& name, int flags) override;
  Result<void> rename(int from_dir, const std::string& from, int to_dir, const std::string& to,
                      unsigned flags) override;
  Result<std::vector<DirEntry>> list(int fd) override;
  Result<void> lock_exclusive(int fd) override;
  Result<std::string> boot_id() override;

 private:
  /// Never called: a DiskFile closes itself where it is open.
  void close(int) override {}
  Result<SimDisk*> disk_of(int dir, const std::string& path = {});

  template <typename Visit>
  void for_all(Visit visit);
  SimDisk* mounted_over(const std::string& path) const;

  const Clock* const clock_;
  SimFault fault_;
  std::map<std::string, std::unique_ptr<SimDisk>> disks_;   // the root's is ""
  std::map<std::string, std::shared_ptr<SimDisk>> mounts_;  // by directory
  std::set<std::string> detached_;                          // names in disks_
};

}  // namespace polder
