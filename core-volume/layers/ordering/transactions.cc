// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/layers/ordering/transactions.h"

#include <algorithm>

#include "base/coro.h"

namespace polder {

void HiddenNames::show(const std::vector<std::string>& keys) {
  for (const auto& key : keys) {
    auto at = keys_.find(key);
    if (at != keys_.end() && --at->second == 0) keys_.erase(at);
  }
  if (!keys.empty()) shown_.notify_all();
}

Task<Result<void>> HiddenNames::wait_for(const std::string& key) {
  while (keys_.contains(key)) {
    CO_TRY(co_await shown_.wait());
  }
  co_return Result<void>();
}

void TxTable::forget(std::uint32_t leader, std::uint64_t below) {
  auto& closed = closed_below[leader];
  closed = std::max(closed, below);
  echoes.erase(echoes.lower_bound({leader, 0}), echoes.lower_bound({leader, closed}));
}

std::uint64_t TxTable::oldest_index() const {
  auto oldest = closed_index == 0 ? UINT64_MAX : closed_index;
  for (const auto& [id, tx] : prepared) oldest = std::min(oldest, tx.first_index);
  for (const auto& [id, record] : echoes) oldest = std::min(oldest, record.index);
  for (const auto& [number, decision] : decisions) oldest = std::min(oldest, decision.record.index);
  return oldest;
}

}  // namespace polder
