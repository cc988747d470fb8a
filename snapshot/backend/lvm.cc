// SPDX-License-Identifier: GPL-3.0-or-later
#include "snapshot/backend/lvm.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cstdlib>
#include <map>

#include "base/command.h"
#include "base/crash_point.h"
#include "snapshot/backend/mounts.h"

namespace polder {

namespace {

namespace json = boost::json;

// A thin pool that runs full damages every file system on it, so snapshots stop well before.
constexpr double kMaxData_percent = 80;
constexpr double kMaxMetadata_percent = 70;

using Row = LvmRow;

/// Rows of `lvs`. EIO when LVM2 says something else.
Result<std::vector<Row>> lvs(const std::string& columns, const std::vector<std::string>& what) {
  std::vector<std::string> argv{"lvs", "--reportformat", "json", "--units", "b", "--nosuffix", "-o", columns};
  argv.insert(argv.end(), what.begin(), what.end());
  TRY(auto text, run_command_checked(argv));
  return parse_lvm_report(text, columns);
}

double percent(const std::string& text) {
  return std::strtod(text.c_str(), nullptr);
}

struct ThinVolume {
  std::string group, name, pool;
  Mount mount;         // of the brick's file system
  std::string inside;  // the brick directory, relative to the mount
  std::string full() const { return group + "/" + name; }
};

class LvmBackend final : public SnapshotBackend {
 public:
  explicit LvmBackend(ThinVolume volume)
      : volume_(std::move(volume)), prefix_("polder-" + volume_.name + "-") {}

  std::string name() const override { return "lvm-thin"; }
  std::string place() const override {
    return json::serialize(json::object{{"group", volume_.group},
                                        {"name", volume_.name},
                                        {"pool", volume_.pool},
                                        {"source", volume_.mount.source},
                                        {"target", volume_.mount.target},
                                        {"type", volume_.mount.type},
                                        {"options", volume_.mount.options},
                                        {"inside", volume_.inside}});
  }

  Result<SnapshotSpace> check_space() override {
    TRY(auto rows, lvs("data_percent,metadata_percent,lv_when_full", {volume_.group + "/" + volume_.pool}));
    if (rows.size() != 1) return Error(EIO).with("lvs knows no thin pool {}/{}", volume_.group, volume_.pool);
    const SnapshotSpace space{percent(rows[0]["data_percent"]), percent(rows[0]["metadata_percent"])};
    const std::string pool = volume_.group + "/" + volume_.pool;
    if (space.data_percent > kMaxData_percent) {
      return Error(ENOSPC).with(
          "thin pool {} is {:.0f} % full (limit {:.0f} %): delete snapshots or lvextend it", pool,
          space.data_percent, kMaxData_percent);
    }
    if (space.metadata_percent > kMaxMetadata_percent) {
      return Error(ENOSPC).with(
          "metadata of thin pool {} is {:.0f} % full (limit {:.0f} %): lvextend --poolmetadatasize", pool,
          space.metadata_percent, kMaxMetadata_percent);
    }
    if (rows[0]["lv_when_full"] != "error") {
      return Error(EINVAL).with("thin pool {} would hang when full: lvchange --errorwhenfull y {}", pool,
                                pool);
    }
    return space;
  }

  Result<void> create(const std::string& id) override {
    TRY(check_snapshot_id(id));
    TRY(const bool there, exists(prefix_ + id));
    if (there) return {};
    TRY(run_command_checked(
        {"lvcreate", "--yes", "--quiet", "--snapshot", "--name", prefix_ + id, volume_.full()}));
    return {};
  }

  Result<void> remove(const std::string& id) override {
    TRY(check_snapshot_id(id));
    return remove_volume(prefix_ + id);
  }

  Result<std::vector<std::string>> list() override {
    TRY(auto rows, lvs("lv_name", {volume_.group}));
    std::vector<std::string> ids;
    for (const auto& row : rows) {
      const auto& name = row.at("lv_name");
      if (name.starts_with(prefix_)) ids.push_back(name.substr(prefix_.size()));
    }
    return ids;
  }

  Result<std::string> activate(const std::string& id, const std::string& mount_directory) override {
    TRY(check_snapshot_id(id));
    return mount_volume(prefix_ + id, mount_directory, true);
  }
  Result<void> deactivate(const std::string& id, const std::string& mount_directory) override {
    TRY(check_snapshot_id(id));
    TRY(unmount(mount_directory));
    return deactivate_volume(prefix_ + id);
  }

  Result<std::string> prepare_restore(const std::string& id, const std::string& mount_directory) override {
    TRY(check_snapshot_id(id));
    TRY(abandon_restore(mount_directory));
    TRY(run_command_checked({"lvcreate", "--yes", "--quiet", "--snapshot", "--setactivationskip", "n",
                             "--name", copy_name(), volume_.group + "/" + prefix_ + id}));
    return mount_volume(copy_name(), mount_directory, false);
  }

  /// Three names decide how far a former call came: VOLUME, VOLUME-restore, keep.
  Result<void> commit_restore(const std::string& keep_id, const std::string& mount_directory) override {
    TRY(check_snapshot_id(keep_id));
    TRY(unmount(mount_directory));
    TRY(const bool copy_there, exists(copy_name()));
    TRY(bool kept, exists(prefix_ + keep_id));
    if (copy_there && !kept) {
      crash_point("snapshot/before-exchange");
      TRY(unmount(volume_.mount.target));
      TRY(rename_volume(volume_.name, prefix_ + keep_id));
    }
    if (copy_there) {
      TRY(unmount(volume_.mount.target));
      crash_point("snapshot/after-exchange");
      TRY(rename_volume(copy_name(), volume_.name));
      // Two active volumes would carry the same file system UUID.
      TRY(deactivate_volume(prefix_ + keep_id));
      TRY(run_command_checked(
          {"lvchange", "--setactivationskip", "y", volume_.group + "/" + prefix_ + keep_id}));
    }
    TRY(auto mounted, find_mounted_at(volume_.mount.target));
    if (mounted) return {};
    TRY(run_command_checked({"lvchange", "--activate", "y", "--ignoreactivationskip", volume_.full()}));
    TRY(run_command_checked({"mount", "-t", volume_.mount.type, "-o", volume_.mount.options,
                             device(volume_.name), volume_.mount.target}));
    return {};
  }

  Result<void> abandon_restore(const std::string& mount_directory) override {
    TRY(unmount(mount_directory));
    return remove_volume(copy_name());
  }

 private:
  std::string copy_name() const { return volume_.name + "-restore"; }
  std::string device(const std::string& name) const { return "/dev/" + volume_.group + "/" + name; }

  Result<bool> exists(const std::string& name) {
    TRY(auto rows, lvs("lv_name", {volume_.group}));
    return std::any_of(rows.begin(), rows.end(), [&](const Row& row) { return row.at("lv_name") == name; });
  }

  Result<void> remove_volume(const std::string& name) {
    TRY(const bool there, exists(name));
    if (!there) return {};
    TRY(run_command_checked({"lvremove", "--yes", "--quiet", volume_.group + "/" + name}));
    return {};
  }
  Result<void> rename_volume(const std::string& from, const std::string& to) {
    TRY(run_command_checked({"lvrename", "--quiet", volume_.group, from, to}));
    return {};
  }
  Result<void> deactivate_volume(const std::string& name) {
    TRY(run_command_checked({"lvchange", "--activate", "n", volume_.group + "/" + name}));
    return {};
  }

  /// A snapshot has the UUID of its origin, which XFS refuses to mount twice: nouuid.
  Result<std::string> mount_volume(const std::string& name, const std::string& directory, bool read_only) {
    TRY(auto mounted, find_mounted_at(directory));
    if (!mounted) {
      if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST)
        return Error(errno).with("make {}", directory);
      TRY(run_command_checked(
          {"lvchange", "--activate", "y", "--ignoreactivationskip", volume_.group + "/" + name}));
      std::string options = read_only ? "ro" : "rw";
      if (volume_.mount.type == "xfs") options += ",nouuid";
      TRY(run_command_checked({"mount", "-t", volume_.mount.type, "-o", options, device(name), directory}));
    }
    return directory + volume_.inside;
  }
  Result<void> unmount(const std::string& directory) {
    TRY(auto mounted, find_mounted_at(directory));
    if (!mounted) return {};
    TRY(run_command_checked({"umount", directory}));
    return {};
  }

  const ThinVolume volume_;
  const std::string prefix_;
};

}  // namespace

Result<std::vector<LvmRow>> parse_lvm_report(std::string_view text, std::string_view columns) {
  boost::system::error_code error;
  const auto parsed = json::parse(text, error);
  const auto* volumes = error ? nullptr : parsed.find_pointer("/report/0/lv", error);
  if (!volumes || !volumes->is_array()) return Error(EIO).with("lvs printed no report");
  const auto wanted = static_cast<std::size_t>(1 + std::ranges::count(columns, ','));
  std::vector<LvmRow> rows;
  for (const auto& volume : volumes->get_array()) {
    LvmRow row;
    if (const auto* fields = volume.if_object()) {
      for (const auto& [key, value] : *fields)
        if (value.is_string()) row[key] = std::string(value.get_string());
    }
    if (row.size() != wanted) return Error(EIO).with("lvs printed a report without {}", columns);
    rows.push_back(std::move(row));
  }
  return rows;
}

Result<std::unique_ptr<SnapshotBackend>> make_lvm_backend(const std::string& brick_path) {
  TRY(auto mount, find_mount_of(brick_path));
  const bool mapped = mount.source.starts_with("/dev/mapper/") || mount.source.starts_with("/dev/dm-");
  if (!mapped) return std::unique_ptr<SnapshotBackend>();
  TRY(auto rows, lvs("vg_name,lv_name,segtype,pool_lv", {mount.source}));
  if (rows.size() != 1) return std::unique_ptr<SnapshotBackend>();
  if (rows[0]["segtype"] != "thin" || rows[0]["pool_lv"].empty()) {
    return Error(EOPNOTSUPP)
        .with("brick {} is on {}/{}, which is not a thin volume: only thin volumes and btrfs have snapshots",
              brick_path, rows[0]["vg_name"], rows[0]["lv_name"]);
  }
  ThinVolume volume{rows[0]["vg_name"], rows[0]["lv_name"], rows[0]["pool_lv"], mount, {}};
  volume.inside = mount.target == "/" ? brick_path : brick_path.substr(mount.target.size());
  return std::unique_ptr<SnapshotBackend>(std::make_unique<LvmBackend>(std::move(volume)));
}

Result<std::unique_ptr<SnapshotBackend>> make_lvm_backend_at(const std::string& place) {
  boost::system::error_code error;
  const auto parsed = json::parse(place, error);
  const auto* fields = error ? nullptr : parsed.if_object();
  ThinVolume volume;
  for (auto [key, to] : {std::pair("group", &volume.group), std::pair("name", &volume.name),
                         std::pair("pool", &volume.pool), std::pair("source", &volume.mount.source),
                         std::pair("target", &volume.mount.target), std::pair("type", &volume.mount.type),
                         std::pair("options", &volume.mount.options), std::pair("inside", &volume.inside)}) {
    const auto* text = fields ? fields->if_contains(key) : nullptr;
    if (!text || !text->is_string()) return Error(EUCLEAN).with("the place of a brick has no '{}'", key);
    *to = std::string(text->get_string());
  }
  return std::unique_ptr<SnapshotBackend>(std::make_unique<LvmBackend>(std::move(volume)));
}

}  // namespace polder
