// SPDX-License-Identifier: GPL-3.0-or-later
// The keys that changes hold: what meets waits. Pure. Changes whose keys do not meet are applied in any order
// and lead to the same tree (parallel_apply_test.cc).
#pragma once
#include <string_view>
#include <vector>

#include "base/concurrency.h"
#include "changelog/record/record.h"

namespace polder {

KeyLocks::Key name_key(const Gfid& parent, std::string_view name);
KeyLocks::Key object_key(const Gfid& gfid, KeyLocks::Mode mode);
KeyLocks::Key tree_key();  // directories that move to another parent

/// Of a record that is decided: its names and objects alone, the directories of its names with others. The
/// tree key only for a rename that may be one of a directory: two moves must be validated one after the
/// other.
std::vector<KeyLocks::Key> keys_of(const Record& record);

}  // namespace polder
