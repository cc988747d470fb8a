// SPDX-License-Identifier: GPL-3.0-or-later
// look: a whole volume, as its users see it.
#pragma once
#include "core-volume/layer/file_ops.h"
#include "tests/workload/history.h"

namespace polder {

/// With every name, byte and attribute that a History knows of.
Task<Result<FoundVolume>> look(FileOps& top);

}  // namespace polder
