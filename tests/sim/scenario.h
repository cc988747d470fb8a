// SPDX-License-Identifier: GPL-3.0-or-later
// Scenario: a world, who works in it, the faults that meet them, and what must then be so. A run is a
// function of its options. tools/dev/sim runs many; scenario_test.cc a few.
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tests/sim/fault_plan.h"

namespace polder {

struct RunOptions {
  std::uint64_t seed = 1;
  FaultOptions faults;
};

struct RunReport {
  std::uint64_t acknowledged = 0;  // operations
  std::vector<FaultPlan::Happened> faults;
  std::set<std::string_view> kinds;   // of faults that could have happened
  std::vector<std::string> problems;  // sentences; none: all is as it must be
  std::uint64_t hash = 0;             // of the trace
  std::uint64_t events = 0;
  std::vector<std::string> last;  // events before the problem, if there is one

  /// Adds them, unless there are some already: the first ones say what was wrong.
  void found(std::vector<std::string> more) {
    if (problems.empty()) problems = std::move(more);
  }
  /// At the end of the run: what has happened in it.
  void finish(const FaultPlan& plan, const Trace& trace);
};

struct Scenario {
  std::string_view name;
  RunReport (*run)(const RunOptions& options);
};

RunReport run_cluster(const RunOptions& options);
RunReport run_georep(const RunOptions& options);

std::span<const Scenario> scenarios();
/// What `scenario` throws is a problem, too.
RunReport run(const Scenario& scenario, const RunOptions& options);

}  // namespace polder
