// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/node/brick_place.h"

#include <linux/magic.h>

#include "base/command.h"
#include "base/log.h"

namespace polder {

namespace {

constexpr mode_t kBrickMode = 0755;

std::string parent_of(const std::string& path) {
  auto slash = path.rfind('/');
  return slash == 0 ? "/" : path.substr(0, slash);
}

/// The directory itself or the nearest one above it that exists.
Result<std::string> nearest_existing(Disk& disk, std::string path) {
  for (;;) {
    auto found = disk.stat(Disk::kNoDir, path);
    if (found && !S_ISDIR(found->st_mode)) return Error(ENOTDIR).with("{} is not a directory", path);
    if (found) return path;
    if (!found.failed_with(ENOENT)) return std::move(found).error().with("look at {}", path);
    path = parent_of(path);
  }
}

Result<bool> is_btrfs(Disk& disk, const std::string& directory) {
  TRY(auto opened,
      disk.open(Disk::kNoDir, directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW).with("open {}", directory));
  TRY(auto facts, disk.statfs(opened.fd()).with("statfs {}", directory));
  return facts.f_type == BTRFS_SUPER_MAGIC;
}

Result<void> make_parents(Disk& disk, const std::string& path) {
  for (auto slash = path.find('/', 1); slash != std::string::npos; slash = path.find('/', slash + 1)) {
    auto part = path.substr(0, slash);
    auto made = disk.mkdir(Disk::kNoDir, part, kBrickMode);
    if (!made && !made.failed_with(EEXIST)) return std::move(made).with("make {}", part);
  }
  return {};
}

Result<void> refuse_root_file_system(Disk& disk, const std::string& existing, bool force) {
  TRY(auto root, disk.stat(Disk::kNoDir, "/"));
  TRY(auto here, disk.stat(Disk::kNoDir, existing));
  if (here.st_dev != root.st_dev || force) return {};
  return Error(EINVAL).with(
      "{} is on the root file system: a full brick would stop the whole machine. Use a file system of its "
      "own, "
      "or add 'force' at the end",
      existing);
}

Result<void> refuse_content(Disk& disk, const std::string& path) {
  TRY(auto opened, disk.open(Disk::kNoDir, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW).with("open {}", path));
  TRY(auto entries, disk.list(opened.fd()).with("list {}", path));
  for (const auto& entry : entries) {
    if (entry.name == ".polder") {
      return Error(EEXIST).with("{} is (or was) a brick already; a new volume needs an empty directory",
                                path);
    }
    if (entry.name != "lost+found") {
      return Error(ENOTEMPTY).with("{} has something in it ('{}'); a new brick needs an empty directory",
                                   path, entry.name);
    }
  }
  if (!entries.empty()) {
    return Error(ENOTEMPTY).with(
        "{} is the top of a file system (lost+found); use a directory in it, {}/brick", path, path);
  }
  return {};
}

Result<BrickPlace> make(Disk& disk, const std::string& path) {
  BrickPlace place;
  TRY(make_parents(disk, path));
  TRY(bool btrfs, is_btrfs(disk, parent_of(path)));
  if (btrfs) {
    auto made = run_command_checked({"btrfs", "subvolume", "create", "--", path});
    if (made) {
      place.made = place.subvolume = true;
      return place;
    }
    place.notes.push_back(fmt::format("{} is a plain directory, so snapshots will not be possible: {}", path,
                                      made.error().message()));
  }
  TRY(disk.mkdir(Disk::kNoDir, path, kBrickMode).with("make {}", path));
  place.made = true;
  return place;
}

/// The root of a btrfs subvolume has inode 256.
constexpr ino_t kSubvolumeInode = 256;

}  // namespace

Result<void> check_brick_path(const std::string& path) {
  constexpr std::size_t kMax = 1024;
  if (path.empty() || path[0] != '/')
    return Error(EINVAL).with("the brick's path '{}' is not absolute", path);
  if (path.size() > kMax)
    return Error(EINVAL).with("the brick's path has {} bytes; {} are allowed", path.size(), kMax);
  if (path == "/") return Error(EINVAL).with("a brick can't be the root directory");
  if (path.find('\0') != std::string::npos)
    return Error(EINVAL).with("the brick's path has a NUL byte in it");
  auto rest = std::string_view(path).substr(1);
  for (;;) {
    auto part = rest.substr(0, rest.find('/'));
    if (part.empty() || part == "." || part == "..") {
      return Error(EINVAL).with("write the brick's path '{}' without '.', '..', '//' and a '/' at its end",
                                path);
    }
    if (part.size() == rest.size()) return {};
    rest.remove_prefix(part.size() + 1);
  }
}

Result<void> refuse_overlap(const std::string& path, const std::vector<std::string>& used) {
  for (const auto& other : used) {
    if (path == other) return Error(EEXIST).with("{} is a brick of another volume", path);
    if (path.starts_with(other + "/")) return Error(EEXIST).with("{} is inside of the brick {}", path, other);
    if (other.starts_with(path + "/")) return Error(EEXIST).with("the brick {} is inside of {}", other, path);
  }
  return {};
}

Result<BrickPlace> prepare_brick_place(Disk& disk, const std::string& path, bool force) {
  TRY(check_brick_path(path));
  TRY(auto existing, nearest_existing(disk, path));
  TRY(refuse_root_file_system(disk, existing, force));
  if (existing != path) return make(disk, path);
  TRY(refuse_content(disk, path));
  BrickPlace place;
  TRY(bool btrfs, is_btrfs(disk, path));
  TRY(auto facts, disk.stat(Disk::kNoDir, path));
  if (btrfs && facts.st_ino != kSubvolumeInode) {
    place.notes.push_back(
        fmt::format("{} is a plain directory on btrfs, so snapshots will not be possible; leave it away and "
                    "it is made as a "
                    "subvolume",
                    path));
  }
  return place;
}

void remove_brick_place(Disk& disk, const std::string& path, const BrickPlace& place) {
  if (!place.made) return;
  Result<void> removed;
  if (place.subvolume) {
    auto output = run_command_checked({"btrfs", "subvolume", "delete", "--", path});
    if (!output) removed = output.error();
  } else {
    removed = disk.unlink(Disk::kNoDir, path, AT_REMOVEDIR);
  }
  if (!removed) log::warning("a failed volume create leaves {} behind: {}", path, removed.error().message());
}

}  // namespace polder
