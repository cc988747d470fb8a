// SPDX-License-Identifier: GPL-3.0-or-later
// Placement: which set of bricks has a gfid, and where new objects go. The table (slot → set) is the
// volume's, from the ClusterStore; one Placement per running volume, shared by its sets.
//
// set_of() may be called from any thread; everything else on the loop thread.
#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string_view>
#include <vector>

#include "base/gfid.h"
#include "base/result.h"

namespace polder {

class Random;

inline constexpr std::size_t kSlots = 65536;

/// The table in the form in which it is stored: runs of slots, without gaps or overlaps, from 0 to 65,535.
struct SlotRun {
  std::uint16_t first = 0;
  std::uint16_t last = 0;
  std::uint32_t set = 0;
  auto operator<=>(const SlotRun&) const = default;
};
using SlotRuns = std::vector<SlotRun>;

/// Equal shares for sets 0..sets-1, in runs; slot 0 (the root's) goes to set 0.
SlotRuns even_slots(std::uint32_t sets);
/// EINVAL says what is wrong: a gap, an overlap, a run that ends before it begins.
Result<void> check_slots(const SlotRuns& runs);

/// distribute.spread: which new files leave the set of their directory.
enum class Spread : std::uint8_t {
  kAuto,   // those of a directory that has become large
  kDirs,   // none: directories alone are spread
  kFiles,  // all
};
Result<Spread> parse_spread(std::string_view text);
std::string_view to_string(Spread spread);

class Placement {
 public:
  /// Everything on set 0, until set_table().
  Placement();

  std::uint32_t set_of(const Gfid& gfid) const { return table_[gfid.slot()].load(std::memory_order_relaxed); }
  bool is_single() const { return sets_.size() == 1; }
  /// Sets that own a slot, ascending.
  const std::vector<std::uint32_t>& sets() const { return sets_; }

  /// `runs` as check_slots() likes them.
  void set_table(const SlotRuns& runs);
  /// Shares of new objects by set; sets that are not named get none (full, or their brick does not run). Any
  /// unit; all equal until the first call.
  void set_weights(const std::map<std::uint32_t, double>& weights);
  void set_spread(Spread spread) { spread_ = spread; }
  Spread spread() const { return spread_.load(std::memory_order_relaxed); }

  /// The slot of a new object that may be anywhere: a set by weight, then one of the few slots that it uses
  /// for new objects (few, so that index directories stay warm, and most slots stay empty, to be handed to
  /// new sets at once). Any thread that owns `random`.
  std::uint16_t choose_slot(Random& random) const;

 private:
  struct Share {
    std::uint32_t set = 0;
    double below = 0;                  // cumulative weight, the last one's is the sum
    std::vector<std::uint16_t> slots;  // for new objects
  };
  void rebuild();

  std::array<std::atomic<std::uint16_t>, kSlots> table_{};
  std::vector<std::uint32_t> sets_{0};
  std::map<std::uint32_t, double> weights_;
  std::atomic<std::shared_ptr<const std::vector<Share>>> shares_;
  std::atomic<Spread> spread_{Spread::kAuto};
};

}  // namespace polder
