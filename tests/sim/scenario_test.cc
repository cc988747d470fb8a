// SPDX-License-Identifier: GPL-3.0-or-later
// A few seeds of each scenario, and of single kinds of faults. Many: tools/dev/sim.
#include <gmock/gmock.h>

#include "tests/sim/scenario.h"
#include "tests/sim/sim_world.h"
#include "tests/support/seeds.h"

namespace polder {
namespace {

using testing::ElementsAreArray;
using testing::IsEmpty;

std::string print(const testing::TestParamInfo<std::string>& name) {
  auto text = name.param;
  std::erase(text, '-');
  return text;
}

/// Whether it went well; how many faults happened.
std::size_t expect_well(RunReport (*run)(const RunOptions&), const RunOptions& options) {
  SCOPED_TRACE(fmt::format("seed {}", options.seed));
  log_only_what_was_asked_for();
  const auto report = run(options);
  EXPECT_THAT(report.problems, IsEmpty()) << testing::PrintToString(report.last);
  EXPECT_GE(report.acknowledged, 500u);
  return report.faults.size();
}

class ClusterScenario : public testing::TestWithParam<std::string> {};
class GeorepScenario : public testing::TestWithParam<std::string> {};

TEST(ClusterScenario, AllKindsOfFaults) {
  for (auto seed : seeds(3, 200)) EXPECT_GT(expect_well(run_cluster, {.seed = seed, .faults = {}}), 0U);
}

TEST(GeorepScenario, AllKindsOfFaults) {
  for (auto seed : seeds(3, 200)) EXPECT_GT(expect_well(run_georep, {.seed = seed, .faults = {}}), 0U);
}

TEST_P(GeorepScenario, OneKindOfFaults) {
  const auto happened_in = [](std::uint64_t seed) {
    return expect_well(run_georep, {.seed = seed, .faults = {.kinds = {GetParam()}, .only = {}}});
  };
  std::size_t happened = 0;
  for (auto seed : seeds(1, 20)) happened += happened_in(seed);
  // Not every run has one of each kind.
  for (std::uint64_t seed = 2; happened == 0 && seed < 10; ++seed) happened += happened_in(seed);
  EXPECT_GT(happened, 0U);
}
INSTANTIATE_TEST_SUITE_P(Of, GeorepScenario,
                         testing::Values("look", "reset", "die", "fail-call", "power", "full", "trim-log",
                                         "restore-secondary", "wipe"),
                         print);

std::vector<std::size_t> numbers(const RunReport& report) {
  std::vector<std::size_t> list;
  for (const auto& fault : report.faults) list.push_back(fault.number);
  return list;
}

TEST(ScenarioRun, IsAFunctionOfItsSeed) {
  for (const auto& scenario : scenarios()) {
    const auto one = run(scenario, {}), again = run(scenario, {});
    EXPECT_EQ(one.hash, again.hash) << scenario.name;
    EXPECT_EQ(one.events, again.events) << scenario.name;
  }
}

TEST(ScenarioRun, IsAnotherOneWithAnotherSeed) {
  EXPECT_NE(run_cluster({}).hash, run_cluster({.seed = 2, .faults = {}}).hash);
}

TEST(ScenarioRun, FaultsCanBeLeftOut) {
  const auto all = run_cluster({});
  ASSERT_GT(all.faults.size(), 4u);
  const std::set<std::size_t> kept{all.faults[0].number, all.faults[2].number};
  const auto some = run_cluster({.seed = 1, .faults = {.kinds = {}, .only = kept}});
  EXPECT_THAT(numbers(some), ElementsAreArray(kept));
  EXPECT_EQ(some.faults[0].when, all.faults[0].when);
  EXPECT_EQ(some.faults[0].kind, all.faults[0].kind);
}

}  // namespace
}  // namespace polder
