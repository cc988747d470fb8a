// SPDX-License-Identifier: GPL-3.0-or-later
// OrderingLayer::Recovery: bytes of which a start after a power loss does not know whether they are there. Of
// what was written since the checkpoint: writes that did not travel in the log, and those that did and over
// which something later may have survived that the log has no bytes of (data_sync.h). A follower of the log
// may have them, so what is there now is a change (invariant 6), as is the size: geo-replication ships it.
#include "core-volume/layers/ordering/recovery.h"
#include "core-volume/layers/ordering/start_log.h"

namespace polder {

void OrderingLayer::Recovery::note_bytes(const Record& record) {
  // A new file is written next, and that record may be lost.
  const bool is_new_file = record.kind == RecordKind::kCreate && S_ISREG(record.state.mode);
  if (is_new_file) bytes_.try_emplace(record.gfid);
  if (record.kind > RecordKind::kZero) return;
  auto& of_object = bytes_[record.gfid];
  of_object.unlogged |= is_unlogged(record);
  if (record.kind == RecordKind::kTruncate) return;
  of_object.changed.push_back({record.offset, record.offset + record.length});
}

Result<void> OrderingLayer::Recovery::log_doubtful() {
  if (same_boot_) return {};
  StartLog log(layer_);
  for (const auto& [gfid, bytes] : bytes_) {
    if (!bytes.unlogged) continue;
    TRY(log_doubtful_file(log, gfid, bytes.changed).with("note what may be lost of {}", gfid.hex()));
  }
  return {};
}

/// Its times stay: the last record says them again.
Result<void> OrderingLayer::Recovery::log_doubtful_file(StartLog& log, const Gfid& gfid,
                                                        const std::vector<Extent>& changed) {
  auto there = store_.attr(gfid);
  if (there.failed_with(ESTALE)) return {};
  TRY(const auto file, std::move(there));
  TRY(const auto state, store_.state(gfid));
  TRY(log.content(gfid, file.size, state.mtime, changed));
  return log.state(RecordKind::kSetattr, gfid, state, file.ctime);
}

}  // namespace polder
