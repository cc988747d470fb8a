// SPDX-License-Identifier: GPL-3.0-or-later
// For tests: orders in which a log's records may be applied, as far as their keys say.
#pragma once
#include <map>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "base/random.h"
#include "core-volume/layers/ordering/keys.h"

namespace polder {

/// By number in `records`: those that must be applied before.
inline std::vector<std::set<std::size_t>> predecessors_of(std::span<const Record> records) {
  struct Holders {
    std::optional<std::size_t> alone;
    std::vector<std::size_t> together;  // since
  };
  std::map<std::string, Holders> last;
  std::vector<std::set<std::size_t>> before(records.size());
  for (std::size_t i = 0; i < records.size(); ++i) {
    for (const auto& [key, mode] : keys_of(records[i])) {
      if (key == tree_key().key) continue;  // for validation: nothing else depends on it
      auto& holders = last[key];
      if (holders.alone) before[i].insert(*holders.alone);
      if (mode == KeyLocks::Mode::kShared) {
        holders.together.push_back(i);
        continue;
      }
      before[i].insert(holders.together.begin(), holders.together.end());
      holders = {i, {}};
    }
    before[i].erase(i);
  }
  return before;
}

/// By chance; `most`: what comes last in the log comes as early as it can.
inline std::vector<std::size_t> any_order(std::span<const Record> records, Random& random, bool most) {
  const auto before = predecessors_of(records);
  std::vector<std::set<std::size_t>> after(records.size());
  std::vector<std::size_t> waits_for(records.size()), order;
  std::set<std::size_t> ready;
  for (std::size_t i = 0; i < records.size(); ++i) {
    for (const auto one : before[i]) after[one].insert(i);
    waits_for[i] = before[i].size();
    if (waits_for[i] == 0) ready.insert(i);
  }
  while (!ready.empty()) {
    const auto at = most ? std::prev(ready.end())
                         : std::next(ready.begin(), static_cast<std::ptrdiff_t>(random.below(ready.size())));
    order.push_back(*at);
    ready.erase(at);
    for (const auto next : after[order.back()])
      if (--waits_for[next] == 0) ready.insert(next);
  }
  return order;
}

}  // namespace polder
