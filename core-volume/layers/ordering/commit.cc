// SPDX-License-Identifier: GPL-3.0-or-later
// OrderingLayer: what all changes share: keys, append and apply, and what follows on the loop.
#include "base/crash_point.h"
#include "base/hlc.h"
#include "base/log.h"
#include "base/on_worker.h"
#include "base/random.h"
#include "core-volume/layer/no_room.h"
#include "core-volume/layers/ordering/ordering.h"

namespace polder {

OrderingLayer::OrderingLayer(Seams& seams, Journal& journal, Store& store, const OrderingOptions& options,
                             const Placement* placement, SetPeers* peers)
    : seams_(seams),
      journal_(journal),
      store_(store),
      options_(options),
      placement_(placement),
      peers_(peers),
      short_work_(seams.workers, options.short_work_inline),
      // Handles of different sets differ, as those of different runs do.
      opens_(std::uint64_t{store.identity().set} << 48 | seams.random.next() >> 17),
      settled_(peers == nullptr),
      reserve_(seams.disk, store.path()),
      space_(seams.clock, store, reserve_),
      told_files_(journal) {}

OrderingLayer::~OrderingLayer() = default;

void OrderingLayer::on_invalidation(std::function<void(const Invalidation&)> listener) {
  listener_ = std::move(listener);
}

// --- keys

KeyLocks::Key OrderingLayer::reaping_key(KeyLocks::Mode mode) {
  return {"r", mode};
}

// --- on a worker

Record OrderingLayer::begin(const OpContext& ctx, RecordKind kind, const Gfid& gfid) {
  Record record;
  record.kind = kind;
  record.session = ctx.session;
  record.sequence = ctx.sequence;
  record.gfid = gfid;
  record.hlc = seams_.hlc.next();
  record.time_ns = record.hlc.ns;
  return record;
}

Result<void> OrderingLayer::append(Record& record) {
  if (abandoned_) return Error(EIO).with("brick {} is being taken down", store_.path());
  if (auto at = broken_at_.load())
    return Error(broken_why_).with("brick {} takes no changes until record {} is settled", store_.path(), at);
  // What a start would do again must not be done over what follows.
  TRY(note_again());
  const auto clock_ns = static_cast<std::uint64_t>(seams_.clock.wall_time().count());
  if (record.hlc.ns > clock_ns) {
    TRY(store_.note_clock_lead(record.hlc.ns - clock_ns));
  }
  TRY(record.index, append_record(record));
  dirty_ = true;
  crash_point("ordering/after-append");
  return {};
}

Result<void> OrderingLayer::apply_appended(const Record& record, const ApplyHints& hints) {
  auto applied = store_.apply(record, hints);
  if (!applied && made_room(record, applied.error())) applied = store_.apply(record, hints);
  if (!applied) {
    break_at({.record = record, .inverse = {}, .happened = false}, applied.error());
    return std::move(applied).with("record {} of brick {}", record.index, store_.path());
  }
  crash_point("ordering/after-apply");
  if (!journal_.applied(record.index)) note_later(record.index);
  return {};
}

Result<void> OrderingLayer::sync_before_unlogged(const Gfid& gfid) {
  const auto plan = data_sync_.begin_unlogged(gfid);
  if (!plan.file) return {};
  TRY(store_.fsync(gfid, true, journal_.checkpoint_index()));
  data_sync_.synced(gfid, plan);
  return {};
}

/// Afterwards the record has an index exactly if its change has happened, or a part of a write may have: then
/// without a sequence, since the operation has failed.
Result<void> OrderingLayer::commit(Record& record, const Applying& how) {
  const bool unlogged = is_unlogged(record);
  if (unlogged) {
    TRY(sync_before_unlogged(record.gfid));
  }
  TRY(append(record));
  auto apply = [&] { return how.apply ? how.apply(record) : store_.apply(record, how.hints); };
  auto applied = told_files_.before(record);
  if (applied) applied = apply();
  if (!applied && made_room(record, applied.error())) applied = apply();
  if (unlogged) data_sync_.end_unlogged(record.gfid, record.index);
  if (record.last_link || record.kind == RecordKind::kTruncate || record.kind == RecordKind::kPunch)
    space_.freed();
  if (!applied) return undo(record, how, std::move(applied).error());
  told_files_.after(record);
  crash_point("ordering/after-apply");
  auto noted = journal_.applied(record.index);
  if (!noted) {
    // A start would cut such an append off again: so it must not be acknowledged, nor built upon.
    bool undone_by_start = record.kind == RecordKind::kWrite && record.keep_size && record.data.empty();
    if (undone_by_start) {
      break_at({.record = record, .inverse = {}, .happened = true}, noted.error());
      record.sequence = 0;
      return std::move(noted).error().set_maybe_applied();
    }
    // The change has happened; without the mark a start would do it once more. That changes nothing as long
    // as nothing follows: see append().
    note_later(record.index);
  }
  return {};
}

void OrderingLayer::note_later(std::uint64_t index) {
  std::lock_guard lock(unnoted_mutex_);
  unnoted_.push_back(index);
}

Result<void> OrderingLayer::note_again() {
  std::vector<std::uint64_t> indexes;
  {
    std::lock_guard lock(unnoted_mutex_);
    indexes.swap(unnoted_);
  }
  Result<void> outcome;
  for (auto index : indexes) {
    auto noted = journal_.applied(index);
    if (noted) continue;
    outcome = std::move(noted).with("mark record {} as applied", index);
    std::lock_guard lock(unnoted_mutex_);
    unnoted_.push_back(index);
  }
  return outcome;
}

namespace {

/// Which its undoing does not bring back.
bool takes_bytes(const Record& record, const Record& undo) {
  switch (record.kind) {
    case RecordKind::kTruncate:
      return record.length < undo.length;
    case RecordKind::kPunch:
    case RecordKind::kZero:
      return true;
    default:
      return false;
  }
}

}  // namespace

/// The log says that something happened which did not. A write says no more than that bytes may have changed,
/// and what it has of them is taken back; any other record is followed by one that undoes it. If that fails
/// too, no more changes until heal() has settled it: nothing can be trusted to follow. Where the change may
/// have happened in part, or will, the error says so.
Result<void> OrderingLayer::undo(Record& failed, const Applying& how, Error why) {
  const auto index = failed.index;
  if (is_no_room(why)) space_.forget();
  if (failed.kind == RecordKind::kWrite) {
    auto corrected = take_back_bytes(failed);
    if (!corrected)
      log::error("brick {}: record {} has bytes that {} may not have: {}", store_.path(), index,
                 failed.gfid.hex(), corrected.error().message());
    if (!journal_.applied(index)) note_later(index);
    failed.sequence = 0;
    return std::move(why).set_maybe_applied();
  }
  Unsettled unsettled{.record = failed, .inverse = how.undo, .happened = false};
  // A full disk may refuse another record as well; a rename can wait for room. For a user's quota nobody
  // waits.
  if (failed.kind == RecordKind::kRename && !why.is(EDQUOT)) unsettled.inverse.reset();
  failed.index = 0;
  if (unsettled.inverse) {
    unsettled.inverse->session = failed.session;
    unsettled.inverse->sequence = failed.sequence;
    if (settle_record(unsettled))
      return takes_bytes(failed, *how.undo) ? std::move(why).set_maybe_applied() : why;
  }
  break_at(std::move(unsettled), why);
  return std::move(why).with("record {} of brick {}", index, store_.path()).set_maybe_applied();
}

/// For the reply, after a commit: the change has happened, whatever goes wrong with this look.
Result<FileAttr> OrderingLayer::attr_after(const Gfid& gfid) {
  auto attr = store_.attr(gfid);
  if (!attr) return std::move(attr).error().set_maybe_applied();
  return attr;
}

Result<void> OrderingLayer::check_space(std::uint64_t bytes) {
  if (space_.has_room(bytes)) return {};
  return space_.find_room(bytes);
}

Task<Result<void>> OrderingLayer::room_for(std::uint64_t bytes) {
  if (space_.has_room(bytes)) co_return Result<void>();
  auto look = [&] { return space_.find_room(bytes); };
  auto reaped = reaped_;
  auto found = co_await on_worker(seams_.workers, look);
  while (!found && is_no_room(found.error()) && co_await more_is_reaped(reaped)) {
    reaped = reaped_;
    found = co_await on_worker(seams_.workers, look);
  }
  co_return found;
}

// --- on the loop

void OrderingLayer::finish(const OpContext& ctx, const Record& record) {
  if (record.index == 0) return;
  retries_.note(record);
  noted(ctx.session, record.index);
  appended_.notify_all();
  tell(record, ctx.session);
  crash_point("ordering/before-reply");
}

void OrderingLayer::tell(const Record& record, std::uint32_t session) {
  if (!listener_) return;
  auto entry = [&](const EntryName& name) { listener_({name.parent, name, session}); };
  if (!record.name.parent.is_nil()) entry(record.name);
  if (!record.to.parent.is_nil()) entry(record.to);
  if (record.kind != RecordKind::kCreate && !record.gfid.is_nil())
    listener_({record.gfid, std::nullopt, session});
  if (!record.displaced.is_nil()) listener_({record.displaced, std::nullopt, session});
}

const RetryTable::Done* OrderingLayer::done_before(const OpContext& ctx) const {
  return ctx.retry && ctx.sequence != 0 ? retries_.find(ctx.session, ctx.sequence) : nullptr;
}

Task<Result<FileAttr>> OrderingLayer::attr_on_worker(Gfid gfid) {
  co_return co_await on_worker(short_work_, [&] { return store_.attr(gfid); });
}

/// Of a change that is sent again.
Task<Result<FileAttr>> OrderingLayer::attr_of_done(Gfid gfid) {
  co_return co_await on_worker(short_work_, [&] { return attr_after(gfid); });
}

}  // namespace polder
