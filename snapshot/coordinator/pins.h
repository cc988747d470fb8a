// SPDX-License-Identifier: GPL-3.0-or-later
// Pins: a volume's log stays from the mark of each of its snapshots on, because followers of a restore fetch
// what the records since the mark name. Cursors of the journal, so changelog.retention-size still caps it.
#pragma once
#include <vector>

#include "changelog/journal/journal.h"
#include "snapshot/coordinator/record.h"

namespace polder {

// All block.

/// The mark is stable.
Result<void> pin_log(Journal& journal, const SnapshotRecord& snapshot);
/// Makes the pins those of exactly `snapshots`, all that the volume has.
Result<void> match_pins(Journal& journal, const std::vector<SnapshotRecord>& snapshots);

}  // namespace polder
