// SPDX-License-Identifier: GPL-3.0-or-later
// What a kListed record of the primary means here: which names this volume has too many. By then every object
// that lives on the primary has a name that it has there, so an object that loses its last one is gone there.
#pragma once
#include <vector>

#include "changelog/record/record.h"
#include "core-volume/layers/store/store.h"

namespace polder::georep {

/// kUnlink records for each name of the directory that `listed` covers and does not have; before that of a
/// directory those of all that is below it. None when the directory is not here. Applied again after a part
/// of them: the rest. Blocks.
Result<std::vector<Record>> unlisted(Store& store, const Record& listed);

}  // namespace polder::georep
