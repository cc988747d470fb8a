// SPDX-License-Identifier: GPL-3.0-or-later
// Whole directories by the calls of Disk: what `rm -r` and `cp -r` are for people. Blocks: call it on a
// worker. Nothing is synced.
#pragma once
#include <string>

#include "base/disk.h"

namespace polder {

/// Removes `name` in the open directory `dir` with all that is below it; success when there is no such name.
/// Links are removed, never followed. EXDEV at a directory of another file system, which is left alone.
Result<void> remove_tree(Disk& disk, int dir, const std::string& name);

/// Makes directory `to` with copies of the files and directories in `from`: bytes, holes, modes. Extents are
/// shared where the file system can. EEXIST; EINVAL at anything that is neither file nor directory. After an
/// error `to` may be there in part.
Result<void> copy_tree(Disk& disk, const std::string& from, const std::string& to);

}  // namespace polder
