// SPDX-License-Identifier: GPL-3.0-or-later
// After a power loss a brick's file system may have kept steps of a change that no log explains, or lost some
// of one whose record is gone as well: an object without a name, a name on one set of an object on another
// that does not know of it. Nobody was told that such a change is safe; what is left of it is finished or
// taken away, so that the volume is whole again. What was synced is in the logs, and has been done again
// before.
//
// The rules, from what is certain (objects) to what follows (names):
// - an entry that shows nothing goes;
// - an entry and the object's own note of that name (.polder/away; a directory's parent) bring each other
//   back; where the name is taken or its directory gone or removed (it may still be open), the object's note
//   goes; if that was all it had, it gets a name in the root, "lost+found-GFID";
// - a name that shows nothing goes back to whom a rename took it from (.polder/replaced), where the new
//   object's set has lost that object and its part of the rename;
// - a file that nothing notes a name of goes, as does an empty directory whose parent is gone;
// - a directory that has an entry was not removed;
// - a directory has the one entry that it notes itself, or another one that it has if that is the place of
//   something that has no entry there; a file that has other names gives way to a directory that has none;
// - of directories that are in one another one gets a name in the root.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "core-volume/layers/store/store.h"

namespace polder {

struct Repair {
  std::uint32_t set = 0;  // whose log takes the record
  Record record;
  std::string why;
};

/// The stores of the sets that run; nothing else uses them. What a set that is away could know differently
/// stays as it is. Blocks: it lists every directory (survey.h), and looks at files only where something is
/// wrong. What one round of repairs has brought back may need another one: call it until there is nothing
/// left.
Result<std::vector<Repair>> find_repairs(const std::map<std::uint32_t, Store*>& sets,
                                         const Placement& placement);

}  // namespace polder
