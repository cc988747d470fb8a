// SPDX-License-Identifier: GPL-3.0-or-later
// OrderingLayer: how transactions are forgotten, and what a start does about those that were not.
//
// A decision is closed when every set's part is stable: then no start of any set needs it. kTxClosed says so
// of all below a number. The cursor "transactions" keeps the log readable from the oldest record that a start
// would need.
#include <algorithm>

#include "base/coro.h"
#include "base/log.h"
#include "base/on_worker.h"
#include "core-volume/layers/ordering/lead.h"
#include "core-volume/layers/ordering/ordering.h"

namespace polder {
namespace {

constexpr nanoseconds kCloseInterval = std::chrono::milliseconds(100);

}  // namespace

/// Of this set: all its decisions below are closed.
std::uint64_t OrderingLayer::closed_below() const {
  auto at = transactions_.closed_below.find(set());
  return at == transactions_.closed_below.end() ? 0 : at->second;
}

Task<void> OrderingLayer::close_loop() {
  bool waits = false;  // for its disk: said once when it begins, and once when it is over
  while (true) {
    while (transactions_.decisions.empty()) {
      if (!co_await decided_.wait()) co_return;
    }
    if (!co_await seams_.clock.sleep_for(kCloseInterval)) co_return;
    if (settled_) co_await redeliver();
    auto closed = co_await close_decisions();
    if (!closed && !waits && !abandoned_)
      log::warning("brick {}: {}; transactions stay open until it can", store_.path(),
                   closed.error().message());
    if (closed && waits) log::info("brick {}: transactions are closed again", store_.path());
    waits = !closed;
  }
}

/// To sets that could not take their part before.
Task<void> OrderingLayer::redeliver() {
  const auto now = seams_.hlc.next().ns;  // not the last one: nobody may do anything
  std::vector<std::pair<std::uint64_t, std::uint32_t>> missing;
  for (const auto& [number, decision] : transactions_.decisions) {
    // Those of the last moments are still being delivered by their operations.
    if (decision.record.hlc.ns + static_cast<std::uint64_t>(kCloseInterval.count()) > now) continue;
    for (auto set : decision.undelivered) missing.emplace_back(number, set);
  }
  for (auto [number, set] : missing) {
    auto decision = transactions_.decisions.find(number);
    if (decision == transactions_.decisions.end()) continue;
    const Record record = decision->second.record;
    std::optional<FileAttr> attr;
    co_await deliver(record, set, attr);
  }
}

bool OrderingLayer::can_close(const TxTable::Decision& decision) const {
  const auto& record = decision.record;
  if (!decision.undelivered.empty() || record.index > journal_.stable_index()) return false;
  return std::ranges::all_of(record.tx.sets, [&](std::uint32_t other) {
    if (other == set()) return true;
    auto* peer = peers_->peer(other);
    return peer && peer->is_stable(record.tx.id);
  });
}

Task<Result<void>> OrderingLayer::close_decisions() {
  if (closing_held_) co_return Result<void>();
  if (closing_.index != 0) {
    if (closing_.index > journal_.stable_index()) co_return Result<void>();
    forget_closed(std::exchange(closing_, {}));
  }
  auto& decisions = transactions_.decisions;
  auto below = transactions_.leading.empty() ? UINT64_MAX : *transactions_.leading.begin();
  auto last = decisions.begin();
  while (last != decisions.end() && last->first < below && can_close(last->second)) ++last;
  if (last == decisions.begin()) co_return Result<void>();
  Record record;
  record.kind = RecordKind::kTxClosed;
  record.tx.phase = TxPhase::kDecided;
  record.tx.id = {set(), std::prev(last)->first + 1};
  CO_TRY(co_await log_only(record));
  closing_ = {record.index, record.tx.id.number};
  co_return Result<void>();
}

/// The record is stable: before that a power loss would make the decisions open again, and a set that had
/// forgotten its part would do it once more, over what came later.
void OrderingLayer::forget_closed(const Closing& closing) {
  auto& decisions = transactions_.decisions;
  transactions_.closed_index = closing.index;
  decisions.erase(decisions.begin(), decisions.lower_bound(closing.below));
  transactions_.forget(set(), closing.below);
  for (auto other : placement_->sets()) {
    auto* peer = other == set() ? nullptr : peers_->peer(other);
    if (peer) peer->closed(set(), closing.below);
  }
}

/// Now and then: what a start would not need may be dropped from the log.
Task<Result<void>> OrderingLayer::move_transaction_cursor() {
  if (!placement_ || (placement_->is_single() && transaction_cursor_ == 0)) co_return Result<void>();
  auto position = std::min(transactions_.oldest_index() - 1, journal_.stable_index());
  if (position == transaction_cursor_) co_return Result<void>();
  CO_TRY(
      co_await on_worker(seams_.workers, [&] { return journal_.set_cursor(kTransactionsCursor, position); }));
  transaction_cursor_ = position;
  co_return Result<void>();
}

/// At a start, on a worker, before anything else runs.
Result<void> OrderingLayer::load_transactions() {
  if (!placement_) return {};
  TRY(auto cursors, journal_.cursors());
  auto cursor = std::ranges::find(cursors, kTransactionsCursor, &Cursor::name);
  if (cursor != cursors.end()) transaction_cursor_ = cursor->index;
  if (placement_->is_single() && cursor == cursors.end()) return {};
  const auto first = std::max(journal_.first_index(), transaction_cursor_ + 1);
  if (journal_.appended_index() == 0 || first > journal_.appended_index()) return {};
  TRY(auto reader, journal_.read_from(first, true));
  while (true) {
    TRY(auto record, reader->next());
    if (!record) return {};
    if (record->tx.phase != TxPhase::kNone) note_transaction(*record);
  }
}

void OrderingLayer::note_transaction(const Record& record) {
  const auto& id = record.tx.id;
  auto& table = transactions_;
  if (record.kind == RecordKind::kTxAborted) {
    table.prepared.erase(id);
    table.echoes.erase(id);
    if (record.tx.phase == TxPhase::kEcho) table.echoes[id] = record;
  } else if (record.kind == RecordKind::kTxClosed) {
    table.closed_index = record.index;
    table.decisions.erase(table.decisions.begin(), table.decisions.lower_bound(id.number));
    table.forget(id.set, id.number);
  } else if (record.tx.phase == TxPhase::kPrepared) {
    auto& tx = table.prepared[id];
    if (tx.first_index == 0) tx.first_index = record.index;
    if (tx.intended.index == 0 || !record.tx.locks_tree) tx.intended = record;
    restored_locks_.emplace_back(id, record.tx.locks_tree ? Keys{tree_key()} : keys_here(record));
  } else if (record.tx.phase == TxPhase::kEcho) {
    table.prepared.erase(id);
    table.echoes[id] = record;
  } else {
    table.prepared.erase(id);
    auto& decision = table.decisions[id.number];
    decision.record = record;
    decision.undelivered.insert(record.tx.sets.begin(), record.tx.sets.end());
    decision.undelivered.erase(set());
  }
}

/// Nobody else holds anything yet, so nothing waits.
Task<Result<void>> OrderingLayer::hold_prepared_again() {
  for (auto& [id, keys] : restored_locks_) {
    auto tx = transactions_.prepared.find(id);
    if (tx == transactions_.prepared.end()) continue;
    CO_TRY(auto held, co_await locks_.lock(std::move(keys)));
    tx->second.held.push_back(std::move(held));
  }
  restored_locks_.clear();
  for (auto& [id, tx] : transactions_.prepared) {
    if (tx.intended.tx.locks_tree) continue;
    tx.hidden = hidden_by(tx.intended);
    hidden_.hide(tx.hidden);
  }
  co_return Result<void>();
}

// --- what other sets ask at a start

/// Who asks has prepared it and has no echo. So it is not one of those that are closed: their parts are
/// stable wherever they had one, and a number below is one that was never decided.
Task<Result<TxOutcome>> OrderingLayer::outcome(TxId id) {
  if (transactions_.leading.contains(id.number)) co_return TxOutcome::kUndecided;
  const bool known = transactions_.decisions.contains(id.number);
  co_return known ? TxOutcome::kDecided : TxOutcome::kUnknown;
}

std::vector<Record> OrderingLayer::open_decisions() {
  std::vector<Record> records;
  for (const auto& [number, decision] : transactions_.decisions) records.push_back(decision.record);
  return records;
}

std::vector<Record> OrderingLayer::open_echoes() {
  std::vector<Record> records;
  for (const auto& [id, record] : transactions_.echoes)
    if (record.kind != RecordKind::kTxAborted) records.push_back(record);
  return records;
}

/// The log of this set has lost a decision that another one's has kept: a power loss. Whatever this brick
/// shows now is older than it.
Task<Result<void>> OrderingLayer::adopt(Record decided) {
  const auto number = decided.tx.id.number;
  if (number < closed_below() || transactions_.decisions.contains(number)) co_return Result<void>();
  CO_TRY(auto held, co_await locks_.lock(keys_here(decided)));
  decided.tx.phase = TxPhase::kDecided;
  decided.index = 0;
  decided.sequence = 0;
  CO_TRY(co_await on_worker(short_work_, [&]() -> Result<void> {
    decided.hlc = seams_.hlc.next();
    return commit(decided, {.apply = {}, .hints = {.keep_object = true, .note_replaced = true}, .undo = {}});
  }));
  log::warning("brick {}: {} of {} was in the log of another set only; done again", store_.path(),
               to_string(decided.kind), decided.gfid.hex());
  if (decided.last_link) {
    // Its client may come back for it, as for what start() has found.
    if (!awaits_clients()) await_clients();
    orphans_.insert(decided.victim());
  }
  auto& decision = transactions_.decisions[number];
  decision.undelivered.insert(decided.tx.sets.begin(), decided.tx.sets.end());
  decision.undelivered.erase(set());
  decision.record = std::move(decided);
  decided_.notify_all();
  appended_.notify_all();
  co_return Result<void>();
}

bool OrderingLayer::is_blocked(const Record& decided) {
  if (transactions_.is_done(decided.tx.id)) return false;
  const auto wanted = keys_here(decided);
  auto conflicts = [](const KeyLocks::Key& a, const KeyLocks::Key& b) {
    const bool shared = a.mode == KeyLocks::Mode::kShared && b.mode == KeyLocks::Mode::kShared;
    return a.key == b.key && !shared;
  };
  return std::ranges::any_of(transactions_.prepared, [&](const auto& prepared) {
    const auto& [id, tx] = prepared;
    if (id == decided.tx.id || tx.intended.tx.locks_tree) return false;
    const auto held = keys_here(tx.intended);
    return std::ranges::any_of(wanted, [&](const auto& key) {
      return std::ranges::any_of(held, [&](const auto& other) { return conflicts(key, other); });
    });
  });
}

/// What was prepared here and is decided nowhere does not happen.
Task<void> OrderingLayer::settle_prepared() {
  std::vector<TxId> open;
  for (const auto& [id, tx] : transactions_.prepared) open.push_back(id);
  for (const auto& id : open) {
    auto* leader = peers_->peer(id.set);
    if (!leader) continue;  // asked again when its brick runs
    auto outcome = co_await leader->outcome(id);
    if (outcome && *outcome == TxOutcome::kUnknown) co_await abort(id);
  }
}

}  // namespace polder
