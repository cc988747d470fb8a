// SPDX-License-Identifier: GPL-3.0-or-later
// OrderingLayer: recovery at start.
//
// After kill -9 the file system has everything that was applied. What was appended and not applied is applied
// now, and the tail after it is folded again, since an old record applied late would set times back that
// newer ones have set (two names made in one directory).
//
// After a power loss (another boot id) what was applied since the checkpoint may be gone in part: all of that
// is unapplied() and folded. Bytes in the log are written again, except those over which a later write whose
// bytes did not travel in the log may have survived. A failed sync counts as a power loss
// (base/page_cache.h), but the page cache may still have everything: what it shows is written once more.
//
// The file system may also be ahead of the log: see mend_names.cc. And of some bytes nobody knows:
// doubtful.cc.
//
// Then the retry table is made from the log's tail.
#include <algorithm>
#include <map>
#include <utility>

#include "base/hlc.h"
#include "base/log.h"
#include "core-volume/layers/ordering/recovery.h"

namespace polder {
namespace {

/// A write whose bytes did not travel in the log.
bool lost_bytes(const Record& record) {
  return record.kind == RecordKind::kWrite && record.data.empty() && record.length != 0;
}

}  // namespace

/// The parts of a write's extent over which no later opaque write can be, in order. Exactly these, to the
/// byte: of two logged writes that overlap, the older one must not be left standing where the newer one is
/// left out.
std::vector<OrderingLayer::Extent> OrderingLayer::Recovery::uncovered(const Record& record) const {
  std::vector<Extent> parts{{record.offset, record.offset + record.length}};
  auto of_object = opaque_writes.find(record.gfid);
  if (of_object == opaque_writes.end()) return parts;
  for (const auto& later : of_object->second) {
    if (later.index <= record.index) continue;
    std::vector<Extent> left;
    for (const auto& part : parts) {
      const auto later_end = later.offset + later.length;
      if (part.begin < std::min(part.end, later.offset))
        left.push_back({part.begin, std::min(part.end, later.offset)});
      if (std::max(part.begin, later_end) < part.end)
        left.push_back({std::max(part.begin, later_end), part.end});
    }
    parts = std::move(left);
  }
  return parts;
}

Result<void> OrderingLayer::recover() {
  Recovery recovery;
  recovery.same_boot = store_.same_boot();
  TRY(auto records, journal_.unapplied());
  for (const auto& record : records) {
    recovery.unapplied.insert(record.index);
    if (!lost_bytes(record)) continue;
    recovery.bytes_lost.insert(record.index);
    recovery.opaque_writes[record.gfid].push_back(record);
  }
  if (!records.empty()) {
    if (!recovery.same_boot) store_.note_lost_names(&recovery.lost);
    auto redone = redo_from(records.front().index, recovery);
    store_.note_lost_names(nullptr);
    TRY(std::move(redone));
    TRY(mend_names(recovery));
    TRY(log_doubtful(recovery));
    log::info("brick {}: redid {} records, {} to {}{}", store_.path(), records.size(), records.front().index,
              records.back().index, recovery.same_boot ? "" : ", after another boot");
  }
  if (store_.cache_may_lie()) {
    TRY(write_again());
  }
  // Nothing tells what of this and of earlier starts is on disk, see data_sync.h; unless all of it was synced
  // in order at the end.
  if (!store_.was_clean() || !records.empty()) {
    TRY(store_.syncfs());
  }
  if (journal_.appended_index() > journal_.checkpoint_index()) data_sync_.began_at(journal_.appended_index());
  TRY(store_.remember_boot(journal_.appended_index()));
  TRY(load_transactions());
  return load_retries(recovery);
}

/// Of all records, applied or not: the start before this one may have been killed on its way.
Result<void> OrderingLayer::write_again() {
  const auto first = journal_.checkpoint_index() + 1;
  if (first > journal_.appended_index()) return {};
  TRY(auto reader, journal_.read_from(first, true));
  while (true) {
    TRY(auto record, reader->next());
    if (!record) return {};
    TRY(store_.write_again(*record).with("write the bytes of record {} again", record->index));
  }
}

Result<void> OrderingLayer::redo_from(std::uint64_t index, Recovery& recovery) {
  TRY(auto reader, journal_.read_from(index, true));
  while (true) {
    TRY(auto record, reader->next());
    if (!record) return {};
    if (!recovery.same_boot) {
      TRY(note_names(*record, recovery));
    }
    auto redone = redo(*record, recovery);
    if (!redone && recovery.may_refuse(*record, redone.error())) {
      recovery.bytes_lost.insert(record->index);
      redone = journal_.applied(record->index);
    }
    TRY(std::move(redone).with("redo record {} ({})", record->index, to_string(record->kind)));
  }
}

Result<void> OrderingLayer::redo(Record& record, const Recovery& recovery) {
  const bool unapplied = recovery.unapplied.contains(record.index);
  // A large append that was killed on its way may have left some of its bytes. The client will send it again,
  // and it will be placed again: at the end that there was before it. After a power loss it may have ended
  // long ago.
  if (recovery.same_boot && unapplied && lost_bytes(record) && record.keep_size) {
    TRY(store_.cut_back(record.gfid, record.offset));
  }
  // Bytes that are there already may be newer than these.
  const bool whole = unapplied && recovery.same_boot;
  if (record.kind == RecordKind::kWrite && !record.data.empty() && !whole) {
    const Buffer data = std::exchange(record.data, {});
    if (unapplied) {
      TRY(redo_parts(record, data, recovery.uncovered(record)));
    }
  }
  // Whatever was open may be opened again by its client.
  TRY(store_.apply(record, {.keep_object = true, .note_replaced = !recovery.same_boot}));
  if (!unapplied) return {};
  return journal_.applied(record.index);
}

Result<void> OrderingLayer::redo_parts(const Record& write, const Buffer& data,
                                       const std::vector<Extent>& parts) {
  for (const auto& part : parts) {
    Record one = write;
    one.offset = part.begin;
    one.length = part.end - part.begin;
    one.data = data.slice(part.begin - write.offset, one.length);
    TRY(store_.apply(one, {}));
  }
  return {};
}

Result<void> OrderingLayer::load_retries(const Recovery& recovery) {
  const auto last = journal_.appended_index();
  const auto tail = last > options_.retry_tail_records ? last - options_.retry_tail_records : 0;
  const auto first = std::max(journal_.first_index(), tail + 1);
  if (last == 0 || first > last) return {};
  TRY(auto reader, journal_.read_from(first, true));
  while (true) {
    TRY(auto record, reader->next());
    if (!record) return {};
    seams_.hlc.observe_own(record->hlc);
    seams_.hlc.observe_own({record->time_ns});
    if (!recovery.bytes_lost.contains(record->index) && record->is_history()) retries_.note(*record);
  }
}

}  // namespace polder
