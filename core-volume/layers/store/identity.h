// SPDX-License-Identifier: GPL-3.0-or-later
// Whose brick a directory is, written twice (a file and an attribute of the brick's root), so that neither a
// copy of one of them nor an unmounted file system's empty mount point is taken for the brick.
#pragma once
#include <optional>
#include <string>

#include "base/disk.h"
#include "base/gfid.h"

namespace polder {

struct BrickIdentity {
  Gfid volume;
  Gfid brick;
  std::uint32_t set = 0;
  Gfid lineage;  // of the changelog; JournalIdentity
};

std::string format_identity(const BrickIdentity& identity);
Result<BrickIdentity> parse_identity(const std::string& text);

/// EINVAL names both when a directory above `path` is the root of a brick.
Result<void> refuse_nested(Disk& disk, const std::string& path);

/// The identity of the brick in `path`, whose root is open as `root`. Errors say what the directory is
/// instead: not a brick, a copy of one, damaged.
Result<BrickIdentity> read_identity(Disk& disk, int root, const std::string& path);

/// EINVAL names both bricks unless `found` is the expected volume and brick (nil ones match everything).
Result<void> check_identity(const std::string& path, const BrickIdentity& found, const Gfid& volume,
                            const Gfid& brick);

/// Small text files of the brick. ENOENT, EFBIG past 64 KiB.
Result<std::string> read_text_file(Disk& disk, int dir, const std::string& path);

}  // namespace polder
