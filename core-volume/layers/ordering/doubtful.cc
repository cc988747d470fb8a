// SPDX-License-Identifier: GPL-3.0-or-later
// OrderingLayer::Recovery: bytes of which a start after a power loss does not know whether they are there:
// those written since the checkpoint that did not travel in the log. A follower of the log may have read them
// before the power went, so what is there now is a change (invariant 6), as is the size: geo-replication
// ships it.
#include "core-volume/layer/posix_rules.h"
#include "core-volume/layers/ordering/recovery.h"

namespace polder {

Result<void> OrderingLayer::Recovery::log_doubtful() {
  if (same_boot_) return {};
  for (const auto& [gfid, writes] : opaque_writes_) {
    TRY(log_doubtful_file(gfid, writes).with("note what may be lost of {}", gfid.hex()));
  }
  return {};
}

/// Its times stay: the last record says them again.
Result<void> OrderingLayer::Recovery::log_doubtful_file(const Gfid& gfid, const std::vector<Record>& writes) {
  auto there = store_.attr(gfid);
  if (there.failed_with(ESTALE)) return {};
  TRY(const auto file, std::move(there));
  const auto begin_record = [&](RecordKind kind) {
    auto record = layer_.begin({}, kind, gfid);
    record.time_ns = time_to_ns(file.ctime);
    return record;
  };
  TRY(auto state, store_.state(gfid));
  auto size = begin_record(RecordKind::kTruncate);
  size.length = file.size;
  TRY(commit_of_start(size));
  std::map<std::uint64_t, std::uint64_t> extents;  // offset → end
  for (const auto& write : writes) {
    auto& end = extents[write.offset];
    end = std::max(end, write.offset + write.length);
  }
  for (auto at = extents.begin(); at != extents.end() && at->first < file.size;) {
    auto changed = begin_record(RecordKind::kWrite);
    changed.offset = at->first;
    auto end = at->second;
    for (++at; at != extents.end() && at->first <= end; ++at) end = std::max(end, at->second);
    changed.length = std::min(end, file.size) - changed.offset;
    TRY(commit_of_start(changed));
  }
  auto times = begin_record(RecordKind::kSetattr);
  times.state = std::move(state);
  return commit_of_start(times);
}

/// Where the disk is full the reserve is for this: a start must not fail for it.
Result<void> OrderingLayer::Recovery::commit_of_start(Record& record) {
  auto done = layer_.commit(record);
  if (done || !is_no_room(done.error()) || !layer_.reserve_.release()) return done;
  return layer_.commit(record);
}

}  // namespace polder
