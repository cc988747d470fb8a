// SPDX-License-Identifier: GPL-3.0-or-later
// The btrfs backend: the brick is a subvolume; snapshots are read-only subvolumes beside it, in
// `<parent of the brick>/.polder-snapshots/<name of the brick>/<id>`.
#pragma once
#include "snapshot/backend/backend.h"

namespace polder {

/// nullptr when `brick_path` is not on btrfs; EOPNOTSUPP when it is and cannot be snapshot.
Result<std::unique_ptr<SnapshotBackend>> make_btrfs_backend(const std::string& brick_path);

}  // namespace polder
