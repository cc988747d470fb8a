// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/graph/resolve_transactions.h"

#include <algorithm>

#include "base/coro.h"

namespace polder {
namespace {

SetPeer* find(const std::map<std::uint32_t, SetPeer*>& sets, std::uint32_t set) {
  auto at = sets.find(set);
  return at == sets.end() ? nullptr : at->second;
}

/// As they were decided. The time is the decision's in every set's record, and unlike a record's HLC it stays
/// what it was when a decision is adopted.
void sort_by_time(std::vector<Record>& records) {
  std::ranges::sort(records, {}, &Record::time_ns);
}

Task<Result<void>> offer_echoes(const std::map<std::uint32_t, SetPeer*>& sets) {
  std::vector<Record> echoes;
  for (const auto& [set, peer] : sets) std::ranges::move(peer->open_echoes(), std::back_inserter(echoes));
  sort_by_time(echoes);
  for (auto& echo : echoes) {
    auto* leader = find(sets, echo.tx.id.set);
    if (!leader) continue;
    CO_TRY(co_await leader->adopt(std::move(echo)));
  }
  co_return Result<void>();
}

Task<Result<void>> deliver_decisions(const std::map<std::uint32_t, SetPeer*>& sets) {
  std::vector<Record> decisions;
  for (const auto& [set, peer] : sets)
    std::ranges::move(peer->open_decisions(), std::back_inserter(decisions));
  sort_by_time(decisions);
  for (const auto& decision : decisions) {
    for (auto set : decision.tx.sets) {
      auto* peer = set == decision.tx.id.set ? nullptr : find(sets, set);
      if (!peer) continue;
      CO_TRY(co_await peer->commit(decision, 0));
      find(sets, decision.tx.id.set)->delivered(decision.tx.id, set);
    }
  }
  co_return Result<void>();
}

}  // namespace

Task<Result<void>> resolve_transactions(const std::map<std::uint32_t, SetPeer*>& sets) {
  // First and last: what nobody has decided would hold its names against older decisions for ever. What is
  // taken back too early, as its leader has yet to adopt it, needs no preparation to be done.
  for (const auto& [set, peer] : sets) co_await peer->settle_prepared();
  CO_TRY(co_await offer_echoes(sets));
  CO_TRY(co_await deliver_decisions(sets));
  for (const auto& [set, peer] : sets) co_await peer->settle_prepared();
  co_return Result<void>();
}

}  // namespace polder
