// SPDX-License-Identifier: GPL-3.0-or-later
// look: a whole volume, as its users see it.
#pragma once
#include "core-volume/layer/file_ops.h"
#include "tests/workload/history.h"

namespace polder {

/// One file that is open by `handle`; 0: within a brick.
Task<Result<FileState>> look_at_file(FileOps& top, FileAttr attr, HandleId handle);
/// With every name, byte and attribute that a History knows of.
Task<Result<FoundVolume>> look(FileOps& top);

}  // namespace polder
