// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/sim/fault_plan.h"

namespace polder {

FaultPlan::FaultPlan(std::uint64_t seed, FaultOptions options, const SimClock& clock, Trace& trace)
    : seed_(seed), options_(std::move(options)), clock_(clock), trace_(trace), actor_(trace.actor("fault")) {}

bool FaultPlan::is_wanted(std::string_view kind) const {
  return (options_.kinds.empty() || options_.kinds.contains(kind)) &&
         (!options_.only || options_.only->contains(next_));
}

void FaultPlan::next(std::span<const Kind> kinds) {
  ++next_;
  auto random = make_seeded_random(seed_ + next_ * 0x9e3779b97f4a7c15);
  std::uint64_t weights = 0;
  for (const auto& kind : kinds) {
    weights += kind.weight;
    known_.insert(kind.name);
  }
  auto dice = random->below(weights);
  const Kind* chosen = kinds.data();
  for (; dice >= chosen->weight; ++chosen) dice -= chosen->weight;
  if (!is_wanted(chosen->name)) return;
  trace_.add(actor_, chosen->name, next_);
  happened_.push_back({next_, chosen->name, clock_.boot_time()});
  chosen->happen(*random);
}

}  // namespace polder
