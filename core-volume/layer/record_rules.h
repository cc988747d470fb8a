// SPDX-License-Identifier: GPL-3.0-or-later
// What a record from elsewhere must look like before anybody applies it.
#pragma once
#include "base/result.h"
#include "changelog/record/record.h"

namespace polder {

/// Part of what the volume shows; the others are about the log, or about the site that it is of.
bool is_about_object(RecordKind kind);

/// For records out of a replay() call: they come from another site and are hostile until checked. Checks the
/// kind, gfids (not nil; the root is nobody's entry), names, types, extents, times, symlink targets, xattr
/// keys (private ones are EPERM), values and ACLs. EINVAL and its like name what is wrong. Says nothing about
/// the tree: a record that names something absent is ordinary (folding a tail again).
Result<void> check_record(const Record& record);

/// What FileOps::replay() takes: also part of the volume's history, and with its data.
Result<void> check_replayable(const Record& record);

}  // namespace polder
