// SPDX-License-Identifier: GPL-3.0-or-later
// From gfid back to path, for people. Nothing else in Polder needs paths, so nothing keeps them: a directory
// knows its parent; a file is looked for in the directories of its slot, which is where files are made.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "core-volume/layers/store/store.h"

namespace polder {

/// "/a/b" for each gfid that was found; the others are left out: moved to a directory of another slot, or
/// past `entries_max` names looked at. Blocks.
std::map<Gfid, std::string> find_paths(Store& store, std::vector<Gfid> gfids, std::size_t entries_max);

}  // namespace polder
