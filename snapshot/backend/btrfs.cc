// SPDX-License-Identifier: GPL-3.0-or-later
#include "snapshot/backend/btrfs.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <cstdio>

#include "base/command.h"
#include "base/crash_point.h"

namespace polder {

namespace {

constexpr std::uint64_t kSubvolumeInode = 256;  // BTRFS_FIRST_FREE_OBJECTID: the root of every subvolume
constexpr double kMaxUsed_percent = 95;
constexpr const char* kRestoreCopy = "restore-copy";

Result<struct stat> stat_path(const std::string& path) {
  struct stat status{};
  if (::lstat(path.c_str(), &status) != 0) return Error(errno).with("stat {}", path);
  return status;
}
bool exists(const std::string& path) {
  return stat_path(path).has_value();
}
bool is_subvolume(const struct stat& status) {
  return S_ISDIR(status.st_mode) && status.st_ino == kSubvolumeInode;
}

class BtrfsBackend final : public SnapshotBackend {
 public:
  BtrfsBackend(std::string brick, std::string directory)
      : brick_(std::move(brick)), directory_(std::move(directory)) {}

  std::string name() const override { return "btrfs"; }
  std::string place() const override { return {}; }  // the brick's path always leads to it

  Result<SnapshotSpace> check_space() override {
    struct statfs space{};
    if (::statfs(brick_.c_str(), &space) != 0) return Error(errno).with("statfs {}", brick_);
    const double used =
        100.0 * (1.0 - static_cast<double>(space.f_bavail) / static_cast<double>(space.f_blocks));
    if (used > kMaxUsed_percent) {
      return Error(ENOSPC).with(
          "the file system of brick {} is {:.0f} % full (limit {:.0f} %): delete snapshots or enlarge it",
          brick_, used, kMaxUsed_percent);
    }
    return SnapshotSpace{used, 0};
  }

  Result<void> create(const std::string& id) override {
    TRY(check_snapshot_id(id));
    if (exists(path_of(id))) return {};
    TRY(make_directory());
    return snapshot(brick_, path_of(id), true);
  }

  Result<void> remove(const std::string& id) override {
    TRY(check_snapshot_id(id));
    return remove_subvolume(path_of(id));
  }

  Result<std::vector<std::string>> list() override {
    std::vector<std::string> ids;
    DIR* directory = ::opendir(directory_.c_str());
    if (!directory) {
      if (errno == ENOENT) return ids;
      return Error(errno).with("list {}", directory_);
    }
    while (const auto* entry = ::readdir(directory)) {
      if (check_snapshot_id(entry->d_name) && std::string(entry->d_name) != kRestoreCopy)
        ids.emplace_back(entry->d_name);
    }
    ::closedir(directory);
    return ids;
  }

  /// A read-only subvolume is readable where it is.
  Result<std::string> activate(const std::string& id, const std::string&) override {
    TRY(check_snapshot_id(id));
    TRY(auto status, stat_path(path_of(id)));
    if (!is_subvolume(status)) return Error(EUCLEAN).with("{} is not a btrfs subvolume", path_of(id));
    return path_of(id);
  }
  Result<void> deactivate(const std::string&, const std::string&) override { return {}; }

  Result<std::string> prepare_restore(const std::string& id, const std::string&) override {
    TRY(check_snapshot_id(id));
    TRY(stat_path(path_of(id)));
    TRY(remove_subvolume(path_of(kRestoreCopy)));
    TRY(snapshot(path_of(id), path_of(kRestoreCopy), false));
    return path_of(kRestoreCopy);
  }

  Result<void> commit_restore(const std::string& keep_id, const std::string&) override {
    TRY(check_snapshot_id(keep_id));
    // One atomic exchange, then the old content gets its name. The marker tells on which side of the exchange
    // we are.
    if (!exists(brick_ + "/" + kRestoreMarker)) {
      crash_point("snapshot/before-exchange");
      if (::renameat2(AT_FDCWD, path_of(kRestoreCopy).c_str(), AT_FDCWD, brick_.c_str(), RENAME_EXCHANGE) !=
          0) {
        return Error(errno).with("exchange brick {} and its restored copy", brick_);
      }
    }
    crash_point("snapshot/after-exchange");
    if (!exists(path_of(keep_id)) && ::rename(path_of(kRestoreCopy).c_str(), path_of(keep_id).c_str()) != 0) {
      return Error(errno).with("keep the old content of brick {} as {}", brick_, path_of(keep_id));
    }
    // Not to be changed from now on, as other snapshots.
    TRY(run_command_checked({"btrfs", "property", "set", "-ts", path_of(keep_id), "ro", "true"}));
    TRY(run_command_checked({"btrfs", "filesystem", "sync", brick_}));
    return {};
  }

  Result<void> abandon_restore(const std::string&) override {
    return remove_subvolume(path_of(kRestoreCopy));
  }

 private:
  std::string path_of(const std::string& id) const { return directory_ + "/" + id; }

  Result<void> make_directory() {
    const auto above = directory_.substr(0, directory_.rfind('/'));
    for (const auto& path : {above, directory_}) {
      if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return Error(errno).with("make {}", path);
    }
    return {};
  }

  Result<void> snapshot(const std::string& from, const std::string& to, bool read_only) {
    std::vector<std::string> argv{"btrfs", "subvolume", "snapshot"};
    if (read_only) argv.emplace_back("-r");
    argv.insert(argv.end(), {"--", from, to});
    TRY(run_command_checked(argv));
    return {};
  }

  Result<void> remove_subvolume(const std::string& path) {
    auto found = stat_path(path);
    if (found.failed_with(ENOENT)) return {};
    TRY(const auto status, std::move(found));
    if (!is_subvolume(status))
      return Error(EUCLEAN).with("{} is not a btrfs subvolume; it is left alone", path);
    TRY(run_command_checked({"btrfs", "subvolume", "delete", "--commit-after", "--", path}));
    return {};
  }

  const std::string brick_;
  const std::string directory_;
};

}  // namespace

Result<std::unique_ptr<SnapshotBackend>> make_btrfs_backend(const std::string& brick_path) {
  struct statfs file_system{};
  if (::statfs(brick_path.c_str(), &file_system) != 0) return Error(errno).with("statfs {}", brick_path);
  if (file_system.f_type != BTRFS_SUPER_MAGIC) return std::unique_ptr<SnapshotBackend>();
  TRY(auto brick, stat_path(brick_path));
  const auto slash = brick_path.rfind('/');
  const std::string parent = slash == 0 ? "/" : brick_path.substr(0, slash);
  struct statfs above_system{};
  if (::statfs(parent.c_str(), &above_system) != 0) return Error(errno).with("statfs {}", parent);
  const bool same = std::memcmp(&above_system.f_fsid, &file_system.f_fsid, sizeof file_system.f_fsid) == 0 ||
                    above_system.f_type == BTRFS_SUPER_MAGIC;
  if (!is_subvolume(brick) || !same) {
    return Error(EOPNOTSUPP)
        .with(
            "brick {} is on btrfs but is not a subvolume below the mount point: create the volume with a "
            "brick path that does "
            "not exist yet below it, so that Polder makes one",
            brick_path);
  }
  return std::unique_ptr<SnapshotBackend>(std::make_unique<BtrfsBackend>(
      brick_path, parent + "/.polder-snapshots/" + brick_path.substr(slash + 1)));
}

}  // namespace polder
