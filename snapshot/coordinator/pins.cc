// SPDX-License-Identifier: GPL-3.0-or-later
#include "snapshot/coordinator/pins.h"

#include <map>

namespace polder {
namespace {

std::string cursor_of(const SnapshotRecord& snapshot) {
  return std::string(kPinPrefix) + snapshot.id;
}

}  // namespace

Result<void> pin_log(Journal& journal, const SnapshotRecord& snapshot) {
  return journal.set_cursor(cursor_of(snapshot), snapshot.log_from)
      .with("keep the log from snapshot {} on", snapshot.name);
}

Result<void> match_pins(Journal& journal, const std::vector<SnapshotRecord>& snapshots) {
  std::map<std::string, const SnapshotRecord*> missing;
  for (const auto& snapshot : snapshots) missing[cursor_of(snapshot)] = &snapshot;
  TRY(auto cursors, journal.cursors());
  for (const auto& cursor : cursors) {
    if (!cursor.name.starts_with(kPinPrefix)) continue;
    auto found = missing.find(cursor.name);
    if (found == missing.end()) {
      TRY(journal.drop_cursor(cursor.name));
    } else if (cursor.index == found->second->log_from) {
      missing.erase(found);
    }
  }
  for (const auto& [name, snapshot] : missing) {
    TRY(pin_log(journal, *snapshot));
  }
  return {};
}

}  // namespace polder
