// SPDX-License-Identifier: GPL-3.0-or-later
// polder_sim: runs of scenarios for tools/dev/sim. Each line of standard input asks for one,
//   {"scenario": "cluster", "seed": 7, "kinds": ["kill"], "only": [3, 5]}
// ("kinds" and "only" may be missing: all), and each line of standard output answers one, in order.
#include <boost/json.hpp>
#include <iostream>
#include <stdexcept>

#include "tests/sim/scenario.h"
#include "tests/sim/sim_world.h"

namespace polder {
namespace {

namespace json = boost::json;

const Scenario& scenario_named(std::string_view name) {
  for (const auto& scenario : scenarios())
    if (scenario.name == name) return scenario;
  throw std::runtime_error(fmt::format("no scenario \"{}\"", name));
}

RunOptions options_of(const json::object& request) {
  RunOptions options{.seed = request.at("seed").to_number<std::uint64_t>(), .faults = {}};
  if (const auto* kinds = request.if_contains("kinds"))
    for (const auto& kind : kinds->as_array()) options.faults.kinds.emplace(kind.as_string());
  if (const auto* only = request.if_contains("only")) {
    options.faults.only.emplace();
    for (const auto& number : only->as_array()) options.faults.only->insert(number.to_number<std::size_t>());
  }
  return options;
}

json::object text_of(const RunReport& report) {
  json::array faults;
  for (const auto& fault : report.faults) {
    const auto seconds = std::chrono::duration<double>(fault.when).count();
    faults.push_back({{"number", fault.number}, {"kind", fault.kind}, {"at_s", seconds}});
  }
  return {{"acknowledged", report.acknowledged},         {"faults", std::move(faults)},
          {"kinds", json::value_from(report.kinds)},     {"problems", json::value_from(report.problems)},
          {"hash", fmt::format("{:016x}", report.hash)}, {"events", report.events},
          {"last", json::value_from(report.last)}};
}

}  // namespace
}  // namespace polder

int main() {
  polder::log_only_what_was_asked_for();
  for (std::string line; std::getline(std::cin, line);) {
    const auto request = boost::json::parse(line).as_object();
    const auto& scenario = polder::scenario_named(request.at("scenario").as_string());
    std::cout << polder::text_of(polder::run(scenario, polder::options_of(request))) << std::endl;
  }
}
