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
// The file system may also be ahead of the log: what that means for names says mend_names.cc, and for who
// follows the log found.h. And of some bytes nobody knows: doubtful.cc.
//
// Then the retry table is made from the log's tail.
#include <algorithm>
#include <map>
#include <utility>

#include "base/hlc.h"
#include "base/log.h"
#include "core-volume/layers/ordering/found.h"
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
  auto of_object = opaque_writes_.find(record.gfid);
  if (of_object == opaque_writes_.end()) return parts;
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
  return Recovery(*this).run();
}

Result<void> OrderingLayer::Recovery::run() {
  Found found(layer_);
  // What a restored brick has its log does not say anyhow: a record that follows tells so.
  TRY(const bool restored, store_.is_restored());
  if (!restored) {
    TRY(found.look());
  }
  TRY(auto records, journal_.unapplied());
  for (const auto& record : records) {
    unapplied_.insert(record.index);
    note_bytes(record);
    if (!lost_bytes(record)) continue;
    bytes_lost_.insert(record.index);
    opaque_writes_[record.gfid].push_back(record);
  }
  if (!records.empty()) {
    if (!same_boot_) store_.note_lost_names(&lost_);
    auto redone = redo_from(records.front().index);
    store_.note_lost_names(nullptr);
    TRY(std::move(redone));
    if (!layer_.options_.is_secondary) {
      TRY(mend_names());
    }
    if (!found.looked() && !restored) {
      TRY(log_doubtful());
    }
    log::info("brick {}: redid {} records, {} to {}{}", store_.path(), records.size(), records.front().index,
              records.back().index, same_boot_ ? "" : ", after another boot");
  }
  // Bytes may be those of a later write whose record is lost: the file system writes pages when it likes, and
  // what the inode says later.
  for (const auto& [gfid, bytes] : bytes_) found.add_file(gfid);
  TRY(found.log());
  if (store_.cache_may_lie()) {
    TRY(write_again());
  }
  // Nothing tells what of this and of earlier starts is on disk, see data_sync.h; unless all of it was synced
  // in order at the end.
  if (!store_.was_clean() || !records.empty()) {
    TRY(store_.syncfs());
  }
  const auto last = journal_.appended_index();
  if (last > journal_.checkpoint_index()) layer_.data_sync_.began_at(last);
  TRY(store_.remember_boot(last));
  TRY(layer_.load_transactions());
  return load_retries();
}

/// Of all records, applied or not: the start before this one may have been killed on its way.
Result<void> OrderingLayer::Recovery::write_again() {
  const auto first = journal_.checkpoint_index() + 1;
  if (first > journal_.appended_index()) return {};
  TRY(auto reader, journal_.read_from(first, true));
  while (true) {
    TRY(auto record, reader->next());
    if (!record) return {};
    TRY(store_.write_again(*record).with("write the bytes of record {} again", record->index));
  }
}

Result<void> OrderingLayer::Recovery::redo_from(std::uint64_t index) {
  TRY(auto reader, journal_.read_from(index, true));
  while (true) {
    TRY(auto record, reader->next());
    if (!record) return {};
    if (!same_boot_) {
      TRY(note_names(*record));
    }
    auto redone = redo(*record);
    if (!redone && may_refuse(*record, redone.error())) {
      bytes_lost_.insert(record->index);
      redone = journal_.applied(record->index);
    }
    TRY(std::move(redone).with("redo record {} ({})", record->index, to_string(record->kind)));
  }
}

Result<void> OrderingLayer::Recovery::redo(Record& record) {
  const bool unapplied = unapplied_.contains(record.index);
  // A large append that was killed on its way may have left some of its bytes. The client will send it again,
  // and it will be placed again: at the end that there was before it. After a power loss it may have ended
  // long ago.
  if (same_boot_ && unapplied && lost_bytes(record) && record.keep_size) {
    TRY(store_.cut_back(record.gfid, record.offset));
  }
  // Bytes that are there already may be newer than these.
  const bool whole = unapplied && same_boot_;
  if (record.kind == RecordKind::kWrite && !record.data.empty() && !whole) {
    const Buffer data = std::exchange(record.data, {});
    if (unapplied) {
      TRY(redo_parts(record, data));
    }
  }
  // Whatever was open may be opened again by its client.
  TRY(store_.apply(record, {.keep_object = true, .note_replaced = !same_boot_}));
  if (!unapplied) return {};
  return journal_.applied(record.index);
}

Result<void> OrderingLayer::Recovery::redo_parts(const Record& write, const Buffer& data) {
  for (const auto& part : uncovered(write)) {
    Record one = write;
    one.offset = part.begin;
    one.length = part.end - part.begin;
    one.data = data.slice(part.begin - write.offset, one.length);
    TRY(store_.apply(one, {}));
  }
  return {};
}

Result<void> OrderingLayer::Recovery::load_retries() {
  const auto last = journal_.appended_index();
  const auto wanted = layer_.options_.retry_tail_records;
  const auto tail = last > wanted ? last - wanted : 0;
  const auto first = std::max(journal_.first_index(), tail + 1);
  if (last == 0 || first > last) return {};
  TRY(auto reader, journal_.read_from(first, true));
  while (true) {
    TRY(auto record, reader->next());
    if (!record) return {};
    layer_.seams_.hlc.observe_own(record->hlc);
    // Perhaps of another clock, or a time that somebody has chosen (start_log.h): not if it is far ahead.
    (void)layer_.seams_.hlc.observe({record->time_ns});
    if (!bytes_lost_.contains(record->index) && record->is_history()) layer_.retries_.note(*record);
  }
}

}  // namespace polder
