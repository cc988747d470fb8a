// SPDX-License-Identifier: GPL-3.0-or-later
// State as records: what an object or a name is now, said so that a secondary becomes the same, whatever it
// had. Used by the first sync (every object, every name) and after a restore (those that the records since
// the mark name). An object that is removed and still open is gone.
#pragma once
#include <map>
#include <set>
#include <span>
#include <vector>

#include "changelog/record/record.h"
#include "core-volume/layers/store/store.h"

namespace polder::georep {

/// Records that make the object exist with its attributes and size: kCreate without a name, kTruncate for
/// files. Its data come after them, then finish_object(). Empty when the object is gone. Blocks.
Result<std::vector<Record>> begin_object(Store& store, const Gfid& gfid);
/// kSetattr with the final times. Empty when the object is gone. Blocks.
Result<std::vector<Record>> finish_object(Store& store, const Gfid& gfid);

/// What a range of records may have changed.
struct Touched {
  std::set<Gfid> objects;
  std::map<EntryName, std::set<Gfid>> names;  // with every object that the records saw there
  void add(const Record& record);
};

/// kUnlink for each of `seen` that the name does not show now, kLink for what it does. Blocks.
Result<std::vector<Record>> state_of_name(Store& store, const EntryName& name, const std::set<Gfid>& seen);
/// A directory entry as a record without a time (an object that has newer times keeps them): the parent needs
/// finish_object() afterwards.
Record link_record(const EntryName& name, const Gfid& gfid);
/// kRemoved when the object is gone. Blocks.
Result<std::vector<Record>> removed_if_gone(Store& store, const Gfid& gfid);

}  // namespace polder::georep
