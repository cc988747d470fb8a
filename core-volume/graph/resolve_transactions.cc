// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/graph/resolve_transactions.h"

#include <algorithm>

#include "base/coro.h"
#include "base/log.h"

namespace polder {
namespace {

SetPeer* find(const std::map<std::uint32_t, SetPeer*>& sets, std::uint32_t set) {
  auto at = sets.find(set);
  return at == sets.end() ? nullptr : at->second;
}

/// All that some set still knows of, once each, as they were decided. The time is the decision's in every
/// set's record, and unlike a record's HLC it stays what it was when a decision is adopted.
std::vector<Record> open_transactions(const std::map<std::uint32_t, SetPeer*>& sets) {
  std::map<TxId, Record> by_id;
  for (const auto& [set, peer] : sets)
    for (auto& record : peer->open_decisions()) by_id.emplace(record.tx.id, std::move(record));
  for (const auto& [set, peer] : sets)
    for (auto& record : peer->open_echoes()) by_id.emplace(record.tx.id, std::move(record));
  std::vector<Record> records;
  for (auto& [id, record] : by_id) records.push_back(std::move(record));
  std::ranges::sort(records, {}, &Record::time_ns);
  return records;
}

/// The leader learns of it what its log has lost. False: it is closed, or its turn has not come.
Task<Result<bool>> is_open_at(SetPeer& leader, const Record& record) {
  CO_TRY(auto outcome, co_await leader.outcome(record.tx.id));
  if (outcome == TxOutcome::kDecided) co_return true;
  if (leader.is_blocked(record)) co_return false;
  CO_TRY(co_await leader.adopt(record));
  CO_TRY(outcome, co_await leader.outcome(record.tx.id));
  co_return outcome == TxOutcome::kDecided;
}

/// By any set.
Task<Result<std::set<TxId>>> overtaken(const std::map<std::uint32_t, SetPeer*>& sets,
                                       const std::vector<Record>& records) {
  std::set<TxId> all;
  for (const auto& [set, peer] : sets) {
    CO_TRY(auto some, co_await peer->overtaken(records));
    all.merge(some);
  }
  co_return all;
}

/// It does not happen where it has not yet. If its leader has kept it, the others say that they have done
/// their part, so that it can be closed; else it is forgotten.
Task<Result<void>> refuse(const std::map<std::uint32_t, SetPeer*>& sets, SetPeer& leader,
                          const Record& record, std::string_view why) {
  log::warning("{} of {}: {}", to_string(record.kind), record.gfid.hex(), why);
  CO_TRY(auto outcome, co_await leader.outcome(record.tx.id));
  Record nothing;
  nothing.kind = RecordKind::kTxAborted;
  nothing.tx = record.tx;
  nothing.time_ns = record.time_ns;
  for (auto set : record.tx.sets) {
    auto* peer = set == record.tx.id.set ? nullptr : find(sets, set);
    if (!peer) continue;
    if (outcome != TxOutcome::kDecided) {
      co_await peer->abort(record.tx.id);
      continue;
    }
    CO_TRY(co_await peer->commit(nothing, 0));
    leader.delivered(record.tx.id, set);
  }
  co_return Result<void>();
}

/// With what it is about.
Task<Result<bool>> is_lost(const std::map<std::uint32_t, SetPeer*>& sets, const Record& record) {
  for (auto set : record.tx.sets) {
    auto* peer = find(sets, set);
    if (!peer) continue;
    CO_TRY(bool lost, co_await peer->has_lost(record));
    if (lost) co_return true;
  }
  co_return false;
}

/// In the order of the decisions: what an older one holds as prepared a younger one would wait for. Where
/// that is held for a set that is away, they are left until it is back: nobody else can have it meanwhile.
Task<Result<void>> finish_decided(const std::map<std::uint32_t, SetPeer*>& sets) {
  const auto records = open_transactions(sets);
  CO_TRY(const auto too_late, co_await overtaken(sets, records));
  for (const auto& record : records) {
    auto* leader = find(sets, record.tx.id.set);
    if (!leader) continue;
    if (too_late.contains(record.tx.id)) {
      CO_TRY(
          co_await refuse(sets, *leader, record,
                          "only a set that was away knew of it, and what was changed since contradicts it"));
      continue;
    }
    CO_TRY(bool lost, co_await is_lost(sets, record));
    if (lost) {
      CO_TRY(co_await refuse(sets, *leader, record, "a set has lost what it stands on"));
      continue;
    }
    CO_TRY(bool open, co_await is_open_at(*leader, record));
    if (!open) continue;
    for (auto set : record.tx.sets) {
      auto* peer = set == record.tx.id.set ? nullptr : find(sets, set);
      if (!peer || peer->is_blocked(record)) continue;
      CO_TRY(co_await peer->commit(record, 0));
      leader->delivered(record.tx.id, set);
    }
  }
  co_return Result<void>();
}

}  // namespace

Task<Result<void>> resolve_transactions(const std::map<std::uint32_t, SetPeer*>& sets) {
  // First and last: what nobody has decided would hold its names against older decisions for ever. What is
  // taken back too early, as its leader has yet to adopt it, needs no preparation to be done.
  for (const auto& [set, peer] : sets) co_await peer->settle_prepared();
  CO_TRY(co_await finish_decided(sets));
  for (const auto& [set, peer] : sets) co_await peer->settle_prepared();
  co_return Result<void>();
}

}  // namespace polder
