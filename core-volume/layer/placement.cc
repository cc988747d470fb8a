// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/layer/placement.h"

#include <algorithm>
#include <set>

#include "base/random.h"
#include "core-volume/layer/slots_for_new_objects.h"

namespace polder {
namespace {

/// Slots of one set that new objects go to.
constexpr std::size_t kActiveSlots = 256;

}  // namespace

std::vector<std::uint16_t> slots_for_new_objects(const Placement& placement, std::uint32_t set) {
  std::vector<std::uint16_t> slots;
  Gfid gfid;
  for (std::size_t slot = 0; slot < kSlots && slots.size() < kActiveSlots; ++slot) {
    gfid.bytes[0] = static_cast<std::uint8_t>(slot >> 8);
    gfid.bytes[1] = static_cast<std::uint8_t>(slot);
    if (placement.set_of(gfid) == set) slots.push_back(static_cast<std::uint16_t>(slot));
  }
  return slots;
}

SlotRuns even_slots(std::uint32_t sets) {
  SlotRuns runs;
  for (std::uint32_t set = 0; set < sets; ++set) {
    auto first = kSlots * set / sets;
    auto end = kSlots * (set + 1) / sets;
    runs.push_back({static_cast<std::uint16_t>(first), static_cast<std::uint16_t>(end - 1), set});
  }
  return runs;
}

Result<void> check_slots(const SlotRuns& runs) {
  std::size_t next = 0;
  for (const auto& run : runs) {
    if (run.first != next || run.last < run.first)
      return Error(EINVAL).with("slot table: slots {} to {} of set {} where slot {} is due", run.first,
                                run.last, run.set, next);
    next = run.last + 1u;
  }
  if (next != kSlots) return Error(EINVAL).with("slot table: it ends before slot {}", next);
  return {};
}

Result<Spread> parse_spread(std::string_view text) {
  for (auto spread : {Spread::kAuto, Spread::kDirs, Spread::kFiles})
    if (to_string(spread) == text) return spread;
  return Error(EINVAL).with("distribute.spread is auto, dirs or files, not '{}'", text);
}

std::string_view to_string(Spread spread) {
  switch (spread) {
    case Spread::kAuto:
      return "auto";
    case Spread::kDirs:
      return "dirs";
    case Spread::kFiles:
      return "files";
  }
  return "unknown";
}

Placement::Placement() {
  rebuild();
}

void Placement::set_table(const SlotRuns& runs) {
  std::set<std::uint32_t> sets;
  for (const auto& run : runs) {
    sets.insert(run.set);
    for (std::size_t slot = run.first; slot <= run.last; ++slot)
      table_[slot].store(static_cast<std::uint16_t>(run.set), std::memory_order_relaxed);
  }
  sets_.assign(sets.begin(), sets.end());
  rebuild();
}

void Placement::set_weights(const std::map<std::uint32_t, double>& weights) {
  weights_ = weights;
  rebuild();
}

void Placement::rebuild() {
  auto shares = std::make_shared<std::vector<Share>>();
  double sum = 0;
  for (auto set : sets_) {
    auto weight = weights_.find(set);
    if (!weights_.empty() && (weight == weights_.end() || weight->second <= 0)) continue;
    sum += weights_.empty() ? 1 : weight->second;
    shares->push_back({set, sum, {}});
  }
  for (auto& share : *shares) share.slots = slots_for_new_objects(*this, share.set);
  shares_.store(std::move(shares));
}

std::uint16_t Placement::choose_slot(Random& random) const {
  auto shares = shares_.load();
  if (shares->empty()) return 0;  // every set is full: its owner says so
  constexpr std::uint64_t kSteps = 1 << 30;
  auto at = static_cast<double>(random.below(kSteps)) / kSteps * shares->back().below;
  auto share = std::ranges::upper_bound(*shares, at, {}, &Share::below);
  if (share == shares->end()) --share;
  return share->slots[random.below(share->slots.size())];
}

}  // namespace polder
