// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/sim/scenario.h"

#include <array>

namespace polder {

void RunReport::finish(const FaultPlan& plan, const Trace& trace) {
  faults = plan.happened();
  kinds = plan.known();
  hash = trace.hash();
  events = trace.events();
  if (!problems.empty()) last = trace.last();
}

std::span<const Scenario> scenarios() {
  static constexpr std::array kAll{Scenario{"cluster", run_cluster}, Scenario{"georep", run_georep}};
  return kAll;
}

RunReport run(const Scenario& scenario, const RunOptions& options) {
  try {
    return scenario.run(options);
  } catch (const std::exception& failure) {
    RunReport report;
    report.problems.emplace_back(failure.what());
    return report;
  }
}

}  // namespace polder
