// SPDX-License-Identifier: GPL-3.0-or-later
// The note in a brick whose content was restored from a snapshot while its log was carried forward. The
// brick's next start appends the `restored` record that it describes, once, and removes it.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "base/seams.h"
#include "changelog/journal/journal.h"

namespace polder {

struct RestoreMarker {
  std::string mark;                // text of the mark that the content is of: a snapshot's id
  std::uint64_t mark_index = 0;    // the content is that of the log up to here
  std::uint64_t carried_upto = 0;  // last record of the log that was carried forward
};

/// Durable on return. Blocks, as all of these.
Result<void> write_restore_marker(Disk& disk, const std::string& brick_path, const RestoreMarker& marker);
/// nullopt when there is none. EUCLEAN when it cannot be read: the brick must not start then.
Result<std::optional<RestoreMarker>> read_restore_marker(Disk& disk, const std::string& brick_path);
/// After recovery, before anybody is served: appends kRestored unless an earlier, killed start did, and
/// removes the marker. Does nothing without a marker. EUCLEAN when the log is not the one that was carried.
Result<void> settle_restore(Disk& disk, const std::string& brick_path, Journal& journal);

}  // namespace polder
