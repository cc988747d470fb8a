// SPDX-License-Identifier: GPL-3.0-or-later
// The JournalReader over a catalogue of segments. Stays valid while segments are sealed, compressed or
// dropped.
#pragma once
#include <memory>

#include "changelog/journal/catalogue.h"

namespace polder {

/// A directory that closes when the last reader of it is gone.
using SharedDir = std::shared_ptr<DiskFile>;

/// ENODATA when `index` is below the first segment. Index 0 is taken for 1.
Result<std::unique_ptr<JournalReader>> make_journal_reader(SharedDir dir,
                                                           std::shared_ptr<const Catalogue> catalogue,
                                                           std::uint64_t index, bool upto_appended);

}  // namespace polder
