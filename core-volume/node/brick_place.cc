// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/node/brick_place.h"

#include <linux/magic.h>

#include "base/command.h"
#include "base/disk_tree.h"
#include "core-volume/layers/store/identity.h"
#include "core-volume/layers/store/layout.h"

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

namespace {

/// What tells file systems apart. Subvolumes of one btrfs have device numbers of their own, but share the
/// first half of the id.
Result<std::string> file_system_of(Disk& disk, const std::string& path) {
  TRY(auto existing, nearest_existing(disk, path));
  TRY(auto opened,
      disk.open(Disk::kNoDir, existing, O_RDONLY | O_DIRECTORY | O_NOFOLLOW).with("open {}", existing));
  TRY(auto facts, disk.statfs(opened.fd()).with("statfs {}", existing));
  if (facts.f_type == BTRFS_SUPER_MAGIC) return fmt::format("btrfs {}", facts.f_fsid.__val[0]);
  TRY(auto native, disk.fstat(opened.fd()));
  return fmt::format("device {}", native.st_dev);
}

}  // namespace

Result<void> refuse_shared_file_system(Disk& disk, const std::string& path,
                                       const std::vector<std::string>& others) {
  TRY(auto mine, file_system_of(disk, path));
  for (const auto& other : others) {
    TRY(auto its, file_system_of(disk, other));
    if (mine != its) continue;
    return Error(EINVAL).with(
        "{} and {} are on one file system: a volume gains nothing by it, and its room would count twice. Use "
        "one of its own, or add 'force' at the end",
        other, path);
  }
  return {};
}

Result<bool> check_brick_place(Disk& disk, const std::string& path, bool force) {
  TRY(check_brick_path(path));
  TRY(auto existing, nearest_existing(disk, path));
  TRY(refuse_root_file_system(disk, existing, force));
  if (existing != path) return false;
  TRY(refuse_content(disk, path));
  return true;
}

Result<BrickPlace> prepare_brick_place(Disk& disk, const std::string& path, bool force) {
  TRY(bool there, check_brick_place(disk, path, force));
  if (!there) return make(disk, path);
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

namespace {

/// Whether it is `brick`, as far as it came. ENOTEMPTY when it was used.
Result<bool> is_unfinished(Disk& disk, int root, const std::string& path, const Gfid& brick) {
  auto text = disk.get_xattr(root, layout::kBrickKey);
  if (text) {
    auto identity = parse_identity(*text);
    if (!identity || identity->brick != brick) return false;
  } else if (!text.failed_with(ENODATA)) {
    return std::move(text).error().with("look at {}", path);
  }
  auto dirs = disk.open(root, layout::kDirs, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (dirs.failed_with(ENOENT)) return true;
  if (!dirs) return std::move(dirs).error().with("look at {}", path);
  TRY(auto entries, disk.list(dirs->fd()));
  for (const auto& entry : entries) {
    if (entry.name != Gfid::root().hex())
      return Error(ENOTEMPTY).with("{} was being made into a brick, but has directories in it", path);
  }
  return true;
}

}  // namespace

Result<void> remove_unfinished_brick(Disk& disk, const std::string& path, const Gfid& brick,
                                     bool had_directory) {
  auto root = disk.open(Disk::kNoDir, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (root.failed_with(ENOENT)) return {};
  if (!root) return std::move(root).error().with("open {}", path);
  TRY(bool ours, is_unfinished(disk, root->fd(), path, brick));
  if (!ours) return {};
  for (const auto* part : {layout::kRootLink, layout::kDirs, layout::kState}) {
    TRY(remove_tree(disk, root->fd(), part).with("in {}", path));
  }
  if (had_directory) {
    auto removed = disk.remove_xattr(root->fd(), layout::kBrickKey);
    if (removed.failed_with(ENODATA)) return {};
    return removed;
  }
  TRY(auto native, disk.fstat(root->fd()));
  TRY(bool btrfs, is_btrfs(disk, path));
  if (btrfs && native.st_ino == kSubvolumeInode) {
    TRY(run_command_checked({"btrfs", "subvolume", "delete", "--", path}));
    return {};
  }
  return disk.unlink(Disk::kNoDir, path, AT_REMOVEDIR).with("remove {}", path);
}

}  // namespace polder
