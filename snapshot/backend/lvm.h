// SPDX-License-Identifier: GPL-3.0-or-later
// The LVM backend: the brick's file system is on a thin volume of its own; snapshots are thin snapshots in
// the same pool, named `polder-<volume>-<id>`. LVM2's tools are run with argument vectors and read by their
// JSON reports.
#pragma once
#include <map>
#include <string_view>

#include "snapshot/backend/backend.h"

namespace polder {

using LvmRow = std::map<std::string, std::string>;  // column → value

/// What `lvs --reportformat json -o COLUMNS` printed: each row has every column. EIO when it is anything
/// else.
Result<std::vector<LvmRow>> parse_lvm_report(std::string_view text, std::string_view columns);

/// nullptr when the brick's file system is not on an LVM volume; EOPNOTSUPP when it is and the volume is not
/// thin.
Result<std::unique_ptr<SnapshotBackend>> make_lvm_backend(const std::string& brick_path);

/// The backend whose place() was `place`, wherever its file system is mounted now. EUCLEAN.
Result<std::unique_ptr<SnapshotBackend>> make_lvm_backend_at(const std::string& place);

}  // namespace polder
