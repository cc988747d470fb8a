// SPDX-License-Identifier: GPL-3.0-or-later
// May this directory become a brick, and making it: a btrfs subvolume where the file system is btrfs, so that
// snapshots are possible. Blocks: call on a worker.
#pragma once
#include <string>
#include <vector>

#include "base/disk.h"
#include "base/gfid.h"
#include "base/result.h"

namespace polder {

struct BrickPlace {
  bool made = false;               // by this call, so it may be removed again
  bool subvolume = false;          // made as one
  std::vector<std::string> notes;  // for the person who creates the volume
};

/// EINVAL unless `path` is absolute, without "." and ".." and double slashes, and not the root.
Result<void> check_brick_path(const std::string& path);
/// EEXIST when `path` is, is inside of, or holds one of `used`.
Result<void> refuse_overlap(const std::string& path, const std::vector<std::string>& used);
/// EINVAL when `path` would be on the file system of one of `others`: its room would count twice.
Result<void> refuse_shared_file_system(Disk& disk, const std::string& path,
                                       const std::vector<std::string>& others);
/// Makes nothing. Refuses the root file system unless `force`; a directory with something in it always.
/// Returns whether the directory exists.
Result<bool> check_brick_place(Disk& disk, const std::string& path, bool force);
/// Checks and makes.
Result<BrickPlace> prepare_brick_place(Disk& disk, const std::string& path, bool force);
/// Takes back a brick that nothing was ever in, however far its making came; the directory itself stays if it
/// was there before. Does nothing when another brick is there by now. ENOTEMPTY: there is something in it.
Result<void> remove_unfinished_brick(Disk& disk, const std::string& path, const Gfid& brick,
                                     bool had_directory);

}  // namespace polder
