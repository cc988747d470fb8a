// SPDX-License-Identifier: GPL-3.0-or-later
// FaultPlan: the faults of one run, in their order. Each has a number, and chance of its own: a run that
// leaves some of them out does the others as before, as far as the world lets it. So a schedule that finds
// something can be made smaller.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/random.h"
#include "tests/support/trace.h"

namespace polder {

/// Up to `most`.
inline nanoseconds some(Random& random, nanoseconds most) {
  return nanoseconds(random.below(static_cast<std::uint64_t>(most.count()) + 1));
}

struct FaultOptions {
  std::set<std::string, std::less<>> kinds;   // by name; empty: all
  std::optional<std::set<std::size_t>> only;  // by number
};

class FaultPlan {
 public:
  struct Kind {
    std::string_view name;  // lives for ever
    std::uint64_t weight;   // how often, compared with the others
    std::function<void(Random&)> happen;
  };
  struct Happened {
    std::size_t number = 0;
    std::string_view kind;
    nanoseconds when{};
  };

  /// `trace` and `clock` outlive it.
  FaultPlan(std::uint64_t seed, FaultOptions options, const SimClock& clock, Trace& trace);

  /// One of these happens, or would have.
  void next(std::span<const Kind> kinds);

  const std::vector<Happened>& happened() const { return happened_; }
  /// The names of all that could have happened so far.
  const std::set<std::string_view>& known() const { return known_; }

 private:
  bool is_wanted(std::string_view kind) const;

  const std::uint64_t seed_;
  const FaultOptions options_;
  const SimClock& clock_;
  Trace& trace_;
  const std::size_t actor_;
  std::size_t next_ = 0;
  std::vector<Happened> happened_;
  std::set<std::string_view> known_;
};

}  // namespace polder
