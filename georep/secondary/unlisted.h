// SPDX-License-Identifier: GPL-3.0-or-later
// What this volume has too many: names that a kListed record of the primary has not, and, at the end of a
// rescan, objects without a name.
#pragma once
#include <vector>

#include "changelog/record/record.h"
#include "core-volume/layers/store/store.h"

namespace polder::georep {

enum class Objects {
  kGo,   // every one that lives on the primary has a name here that it has there: one without any is gone
  kStay  // not yet: without a name, if need be
};

/// kUnlink records for each name of the directory that `listed` covers and does not have; before that of a
/// directory, if objects go, those of all that is below it. None when the directory is not here. Applied
/// again after a part of them: the rest. Blocks.
Result<std::vector<Record>> unlisted(Store& store, const Record& listed, Objects objects = Objects::kGo);

/// Records that remove every object without a name, but for those that somebody has open, and all that is
/// below such directories. Blocks.
Result<std::vector<Record>> nameless(Store& store);

}  // namespace polder::georep
