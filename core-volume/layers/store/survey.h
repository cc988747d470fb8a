// SPDX-License-Identifier: GPL-3.0-or-later
// Survey: how the names and objects of a brick belong together, for the comparison after a power loss. Seen
// by listing directories alone: no file is looked at.
#pragma once
#include <vector>

#include "base/gfid.h"
#include "changelog/record/record.h"
#include "core-volume/layers/store/replaced.h"

namespace polder {

struct Survey {
  struct Directory {
    Gfid gfid;
    EntryName parent;  // as it says itself; nil: it does not
  };
  struct Named {
    EntryName name;
    Gfid gfid;
    std::uint32_t mode = 0;  // S_IFMT, where the entry tells
    auto operator<=>(const Named&) const = default;
  };
  std::vector<Directory> directories;
  std::vector<Named> subdirectories;  // entries of directories, here or elsewhere
  std::vector<Named> elsewhere;       // entries here of objects of other sets
  std::vector<Named> away;            // names of our objects in directories of other sets
  std::vector<Gfid> nameless;         // not directories; those that were open are not among them
  std::vector<ReplacedName> replaced;
  std::vector<Gfid> orphans;  // marked as removed and open (or not known not to be); sorted
};

}  // namespace polder
