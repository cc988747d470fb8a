// SPDX-License-Identifier: GPL-3.0-or-later
// May this directory become a brick, and making it: a btrfs subvolume where the file system is btrfs, so that
// snapshots are possible. Blocks: call on a worker.
#pragma once
#include <string>
#include <vector>

#include "base/disk.h"
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
/// Checks and makes. Refuses the root file system unless `force`; a directory with something in it always.
Result<BrickPlace> prepare_brick_place(Disk& disk, const std::string& path, bool force);
/// Takes back what prepare_brick_place made; for a creation that failed after it.
void remove_brick_place(Disk& disk, const std::string& path, const BrickPlace& place);

}  // namespace polder
