// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/support/sim_snapshots.h"

namespace polder {

namespace {

constexpr double kMaxUsed_percent = 80;
constexpr std::string_view kPlace = "sim-thin ";

}  // namespace

class SimSnapshots::Backend final : public SnapshotBackend {
 public:
  Backend(SimSnapshots& all, std::string disk, std::string brick_path)
      : disks_(all.disks_),
        volume_(all.volumes_[disk]),
        origin_(disks_.at(disk)),
        disk_(std::move(disk)),
        inside_(std::move(brick_path)) {}

  std::string name() const override { return "lvm-thin"; }
  std::string place() const override { return std::string(kPlace) + inside_; }

  Result<SnapshotSpace> check_space() override {
    TRY(origin_.step("lvs"));
    const double used = origin_.used_percent();
    if (used > kMaxUsed_percent) return Error(ENOSPC).with("the disk is {:.0f} % full", used);
    return SnapshotSpace{used, 0};
  }

  Result<void> create(const std::string& id) override {
    TRY(check_snapshot_id(id));
    if (volume_.snapshots.contains(id)) return {};
    if (!volume_.named) return Error(EIO).with("there is no volume {}", disk_);
    TRY(origin_.step("lvcreate"));
    volume_.snapshots[id] = origin_.copy();
    return {};
  }

  Result<void> remove(const std::string& id) override {
    TRY(check_snapshot_id(id));
    auto found = volume_.snapshots.find(id);
    if (found == volume_.snapshots.end()) return {};
    TRY(origin_.step("lvremove"));
    if (disks_.is_mounted(found->second)) return Error(EIO).with("snapshot {} is mounted", id);
    volume_.snapshots.erase(found);
    return {};
  }

  Result<std::vector<std::string>> list() override {
    TRY(origin_.step("lvs"));
    std::vector<std::string> ids;
    for (const auto& [id, disk] : volume_.snapshots) ids.push_back(id);
    return ids;
  }

  Result<std::string> activate(const std::string& id, const std::string& mount_directory) override {
    TRY(check_snapshot_id(id));
    TRY(auto snapshot, find(id));
    return mount(snapshot, mount_directory, true);
  }
  Result<void> deactivate(const std::string& id, const std::string& mount_directory) override {
    TRY(check_snapshot_id(id));
    return unmount(mount_directory);
  }

  Result<std::string> prepare_restore(const std::string& id, const std::string& mount_directory) override {
    TRY(check_snapshot_id(id));
    TRY(abandon_restore(mount_directory));
    TRY(auto snapshot, find(id));
    TRY(origin_.step("lvcreate"));
    volume_.copy = snapshot->copy();
    return mount(volume_.copy, mount_directory, false);
  }

  Result<void> commit_restore(const std::string& keep_id, const std::string& mount_directory) override {
    TRY(check_snapshot_id(keep_id));
    TRY(unmount(mount_directory));
    if (volume_.copy && !volume_.snapshots.contains(keep_id)) {
      TRY(origin_.step("umount"));
      TRY(disks_.detach(disk_));
      TRY(origin_.step("lvrename"));
      volume_.snapshots[keep_id] = origin_.copy();
      volume_.named = false;
    }
    if (volume_.copy) {
      TRY(origin_.step("lvrename"));
      origin_.exchange(*volume_.copy);
      volume_.copy.reset();
      volume_.named = true;
    }
    if (disks_.has(disk_)) return {};
    TRY(origin_.step("mount"));
    if (!volume_.named) return Error(EIO).with("there is no volume {}", disk_);
    disks_.attach(disk_);
    return {};
  }

  Result<void> abandon_restore(const std::string& mount_directory) override {
    TRY(unmount(mount_directory));
    if (!volume_.copy) return {};
    TRY(origin_.step("lvremove"));
    volume_.copy.reset();
    return {};
  }

 private:
  using Snapshot = std::shared_ptr<SimDisk>;

  Result<Snapshot> find(const std::string& id) {
    auto found = volume_.snapshots.find(id);
    if (found == volume_.snapshots.end()) return Error(EIO).with("there is no snapshot {}", id);
    return found->second;
  }

  Result<std::string> mount(const Snapshot& what, const std::string& directory, bool read_only) {
    if (!disks_.is_mounted(directory)) {
      TRY(origin_.step("mount"));
      what->set_read_only(read_only);
      disks_.mount(directory, what);
    }
    return directory + inside_;
  }
  Result<void> unmount(const std::string& directory) {
    if (!disks_.is_mounted(directory)) return {};
    TRY(origin_.step("umount"));
    return disks_.unmount(directory);
  }

  SimDisks& disks_;
  Volume& volume_;
  SimDisk& origin_;
  const std::string disk_;
  const std::string inside_;  // the brick's path: on the copies it is the same one
};

Result<std::unique_ptr<SnapshotBackend>> SimSnapshots::make(const std::string& brick_path,
                                                            const std::string& place) {
  const bool known =
      place.empty() || (place.starts_with(kPlace) && place.substr(kPlace.size()) == brick_path);
  if (!known) return Error(EUCLEAN).with("the place of a brick is '{}'", place);
  const auto disk = brick_path.substr(1, brick_path.find('/', 1) - 1);
  // A brick that is not mounted is not found by its path.
  const bool found = place.empty() ? disks_.has(disk) : disks_.exists(disk);
  if (!found) return Error(EOPNOTSUPP).with("brick {} is not on a disk of its own", brick_path);
  return std::make_unique<Backend>(*this, disk, brick_path);
}

void SimSnapshots::boot() {
  for (const auto& [disk, volume] : volumes_)
    if (volume.named) disks_.attach(disk);
}

std::vector<std::string> SimSnapshots::volumes_of(const std::string& disk) const {
  std::vector<std::string> names;
  auto found = volumes_.find(disk);
  if (found == volumes_.end()) return names;
  for (const auto& [id, snapshot] : found->second.snapshots) names.push_back(id);
  if (found->second.copy) names.emplace_back("restore");
  return names;
}

}  // namespace polder
