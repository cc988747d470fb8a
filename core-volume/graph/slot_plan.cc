// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/graph/slot_plan.h"

#include <algorithm>

namespace polder {
namespace {

// A table of so many runs is still a small record.
constexpr std::size_t kRunsMax = 4096;

struct FreeRun {
  std::size_t first = 0, count = 0;
};

std::vector<std::uint32_t> spread_out(const SlotRuns& table) {
  std::vector<std::uint32_t> sets(kSlots);
  for (const auto& run : table) std::fill(sets.begin() + run.first, sets.begin() + run.last + 1, run.set);
  return sets;
}

SlotRuns gathered(const std::vector<std::uint32_t>& sets) {
  SlotRuns runs;
  for (std::size_t slot = 0; slot < kSlots; ++slot) {
    auto at = static_cast<std::uint16_t>(slot);
    if (runs.empty() || runs.back().set != sets[slot]) runs.push_back({at, at, sets[slot]});
    runs.back().last = at;
  }
  return runs;
}

/// The longest first; of equal ones, as they lie.
std::vector<FreeRun> free_runs(const std::vector<std::uint32_t>& sets, std::uint32_t owner,
                               const std::vector<bool>& taken) {
  std::vector<FreeRun> runs;
  for (std::size_t slot = 0; slot < kSlots; ++slot) {
    if (sets[slot] != owner || taken[slot]) continue;
    if (runs.empty() || runs.back().first + runs.back().count != slot) runs.push_back({slot, 0});
    ++runs.back().count;
  }
  std::ranges::sort(runs, [](const FreeRun& a, const FreeRun& b) {
    return a.count != b.count ? a.count > b.count : a.first < b.first;
  });
  return runs;
}

}  // namespace

Result<SlotRuns> give_slots(const SlotRuns& table, const std::map<std::uint32_t, std::vector<bool>>& taken,
                            std::uint32_t newcomer) {
  auto sets = spread_out(table);
  const auto owned = slots_by_set(table);
  std::size_t given = 0, pieces = table.size();
  for (const auto& [owner, of_owner] : taken) {
    auto has = owned.find(owner);
    if (has == owned.end()) continue;
    auto due = has->second / (owned.size() + 1);
    for (const auto& run : free_runs(sets, owner, of_owner)) {
      if (due == 0 || pieces + 2 > kRunsMax) break;
      // The end of a run, so that what a set keeps stays together.
      const auto count = std::min(due, run.count);
      const auto end = sets.begin() + static_cast<std::ptrdiff_t>(run.first + run.count);
      std::fill(end - static_cast<std::ptrdiff_t>(count), end, newcomer);
      due -= count;
      given += count;
      pieces += 2;
    }
  }
  if (given == 0)
    return Error(ENOSPC).with(
        "every slot of the other sets has files in it, so that none can be handed over");
  return gathered(sets);
}

std::map<std::uint32_t, std::size_t> slots_by_set(const SlotRuns& table) {
  std::map<std::uint32_t, std::size_t> counts;
  for (const auto& run : table) counts[run.set] += run.last - run.first + 1u;
  return counts;
}

}  // namespace polder
