// SPDX-License-Identifier: GPL-3.0-or-later
// OrderingLayer: recovery at start.
//
// After kill -9 the file system has everything that was applied. What was appended and not applied is applied
// now, and the tail after it is folded again, since an old record applied late would set times back that
// newer ones have set (two names made in one directory).
//
// After a power loss (another boot id) what was applied since the checkpoint may be gone in part: all of that
// is unapplied() and folded. Bytes in the log are written again, except those over which a later write whose
// bytes did not travel in the log may have survived.
//
// The file system may also be ahead of the log, as a change is applied before its record is stable: an old
// record then takes a name away from a file that got it by a change that no log knows. Such a file gets its
// name back, or one that says what it is. And a name does not get lost when what the log gives it is gone,
// because such a change has replaced it.
//
// Then the retry table is made from the log's tail.
#include <algorithm>
#include <map>
#include <utility>

#include "base/hlc.h"
#include "base/log.h"
#include "core-volume/layer/no_room.h"
#include "core-volume/layers/ordering/ordering.h"

namespace polder {
namespace {

/// A write whose bytes did not travel in the log.
bool lost_bytes(const Record& record) {
  return record.kind == RecordKind::kWrite && record.data.empty() && record.length != 0;
}

}  // namespace

struct OrderingLayer::Recovery {
  bool same_boot = true;
  std::set<std::uint64_t> unapplied;
  std::set<std::uint64_t> bytes_lost;                 // writes that did not happen, or not as a whole
  std::map<Gfid, std::vector<Record>> opaque_writes;  // those of bytes_lost, by object
  struct Shown {
    Gfid before, after;  // nil: nothing
  };
  std::map<EntryName, Shown> names;  // what the file system showed, and what the records say; another boot

  std::vector<Extent> uncovered(const Record& record) const;
  /// A write that a full disk or its owner's quota refuses, as it would have been when it was sent: nobody
  /// was told of it, and it says no more than that bytes may have changed. So no user's quota keeps a brick
  /// from starting.
  bool may_refuse(const Record& record, const Error& why) const {
    return is_no_room(why) && same_boot && unapplied.contains(record.index) &&
           record.kind == RecordKind::kWrite;
  }
};

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
    Store::LostNames lost;
    if (!recovery.same_boot) store_.note_lost_names(&lost);
    auto redone = redo_from(records.front().index, recovery);
    store_.note_lost_names(nullptr);
    TRY(std::move(redone));
    for (const auto& [name, shown] : recovery.names) {
      TRY(keep_replaced(name, shown.before, shown.after).with("keep name \"{}\"", name.name));
    }
    for (const auto& [gfid, name] : lost) {
      TRY(give_back(gfid, name).with("give {} its name back", gfid.hex()));
    }
    log::info("brick {}: redid {} records, {} to {}{}", store_.path(), records.size(), records.front().index,
              records.back().index, recovery.same_boot ? "" : ", after another boot");
  }
  // Nothing tells what of this and of earlier starts is on disk, see data_sync.h; unless all of it was synced
  // in order at the end.
  if (!store_.was_clean() || !records.empty()) {
    TRY(store_.syncfs());
  }
  if (journal_.appended_index() > journal_.checkpoint_index()) data_sync_.began_at(journal_.appended_index());
  TRY(store_.remember_boot());
  TRY(load_transactions());
  return load_retries(recovery);
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

/// What the record will say of its names.
Result<void> OrderingLayer::note_names(const Record& record, Recovery& recovery) {
  auto note = [&](const EntryName& name, const Gfid& gfid) -> Result<void> {
    if (name.parent.is_nil() || !store_.owns(name.parent)) return {};
    auto [at, is_new] = recovery.names.try_emplace(name);
    at->second.after = gfid;
    if (!is_new) return {};
    auto there = store_.lookup(name.parent, name.name);
    if (there) at->second.before = there->gfid;
    if (!there && !there.failed_with(ENOENT) && !there.failed_with(ESTALE)) return std::move(there).error();
    return {};
  };
  if (record.tx.phase == TxPhase::kPrepared) return {};
  const bool gives = record.kind == RecordKind::kCreate || record.kind == RecordKind::kLink;
  if (gives) return note(record.name, record.gfid);
  if (record.kind == RecordKind::kUnlink) return note(record.name, {});
  if (record.kind != RecordKind::kRename) return {};
  TRY(note(record.name, record.exchange ? record.displaced : Gfid()));
  return note(record.to, record.gfid);
}

/// `name` showed `before`, and is `after`'s in the log. If that is gone, it was replaced by the other one:
/// the record is not in the log, and an older one has taken the name away again. Only within one file system:
/// several are not of the same moment.
Result<void> OrderingLayer::keep_replaced(const EntryName& name, const Gfid& before, const Gfid& after) {
  if (before.is_nil() || after.is_nil() || before == after) return {};
  if (!store_.owns(before) || !store_.owns(after)) return {};
  auto there = store_.lookup(name.parent, name.name);
  if (!there.failed_with(ENOENT)) return {};
  if (!store_.attr(after).failed_with(ESTALE)) return {};
  auto attr = store_.attr(before);
  if (attr.failed_with(ESTALE)) return {};
  if (!attr) return std::move(attr).error();
  log::warning("brick {}: \"{}\" in {} is {}, which has replaced {}", store_.path(), name.name,
               name.parent.hex(), before.hex(), after.hex());
  auto record = begin({}, RecordKind::kLink, before);
  record.name = name;
  record.tx.mode = attr->mode & S_IFMT;
  if (attr->is_directory()) {
    record.kind = RecordKind::kRename;
    TRY(record.name, store_.parent_of(before));
    if (!store_.owns(record.name.parent)) return {};
    record.to = name;
  }
  return commit(record);
}

/// `name` was taken away from the file by a redo. Nothing to do if it has others.
Result<void> OrderingLayer::give_back(const Gfid& gfid, EntryName name) {
  TRY(bool nameless, store_.is_nameless(gfid));
  if (!nameless) return {};
  if (store_.owns(name.parent)) {
    auto there = store_.lookup(name.parent, name.name);
    if (there) name.name = "lost+found-" + gfid.hex();
    if (there.failed_with(ESTALE)) name = {Gfid::root(), "lost+found-" + gfid.hex()};
  }
  log::warning("brick {}: {} had a name that no record tells of; it is \"{}\" in {} now", store_.path(),
               gfid.hex(), name.name, name.parent.hex());
  TRY(auto attr, store_.attr(gfid));
  auto record = begin({}, RecordKind::kLink, gfid);
  record.name = std::move(name);
  record.tx.mode = attr.mode & S_IFMT;
  return commit(record);
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
  TRY(store_.apply(record, {.keep_object = true}));
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
