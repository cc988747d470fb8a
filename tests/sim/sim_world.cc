// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/sim/sim_world.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "base/log.h"
#include "georep/protocol/stream.h"
#include "proto/georep.pb.h"
#include "tests/sim/fold.h"

namespace polder {

namespace {

using namespace std::chrono_literals;

RpcClientOptions mount_options() {
  RpcClientOptions options;
  options.endpoints = {Endpoint::unix_socket(kSimDataSocket)};
  options.volume = kSimVolume;
  options.client_name = "the simulated mount";
  return options;
}

}  // namespace

void log_only_what_was_asked_for() {
  const char* text = std::getenv("POLDER_SIM_LOG");
  log::Level level = log::Level::kError;
  if (text) log::parse_level(text, level);
  log::configure("sim", level, text ? "" : "/dev/null");
}

void for_each_seed(std::uint64_t first, int count, const std::function<void(std::uint64_t)>& body) {
  const char* text = std::getenv("POLDER_SIM_SEED");
  log_only_what_was_asked_for();
  if (text) {
    first = std::strtoull(text, nullptr, 10);
    count = 1;
  }
  for (std::uint64_t seed = first; seed < first + static_cast<std::uint64_t>(count); ++seed) {
    SCOPED_TRACE(fmt::format("to repeat: POLDER_SIM_SEED={} (and POLDER_SIM_LOG=info)", seed));
    try {
      body(seed);
    } catch (const std::exception& failure) {
      ADD_FAILURE() << failure.what();
    }
    if (testing::Test::HasFailure()) return;
  }
}

SimWorld::SimWorld(std::uint64_t seed)
    : openssl(seed),
      trace(loop.clock()),
      network(loop.clock(), seed, &trace),
      random(make_seeded_random(seed)),
      east(loop, network, "east", random->next(), {.skew = some(1s), .trace = &trace}),
      west(loop, network, "west", random->next(), {.skew = some(1s), .trace = &trace}),
      mount_process_(east.clock(), *random, east.disks(), east.transport()),
      mount(*mount_process_.seams, loop.executor(), mount_options()) {
  east.found_cluster();
  west.found_cluster();
  must(loop.run_until_done(mount.start()));
  // From here on the log says everything about the root, too.
  BorrowedStack stack(loop, mount);
  Client(stack).chmod(Gfid::root(), 0755);
}

SimWorld::~SimWorld() {
  loop.run_until_done(tasks.stop());
  loop.run_until_done(mount.stop());
}

void SimWorld::pair() {
  auto token = west.call("POST", "/v1/cluster/token", {{"role", "site"}, {"volume", kSimVolume}});
  east.call("POST", "/v1/volumes/data/georep/create",
            {{"secondary", "west:24117::data"}, {"token", token.at("token")}});
}

void SimWorld::start_session() {
  east.call("POST", "/v1/volumes/data/georep/start");
}

void SimWorld::checkpoint() {
  east.call("POST", "/v1/volumes/data/georep/checkpoint");
}

json::object SimWorld::status(SimSite& site) {
  return site.call("GET", "/v1/volumes/data/georep").at("sessions").as_array().at(0).as_object();
}

void SimWorld::expect_equal() {
  expect_same_volume(east.dump(), west.dump(), "west, compared with east");
}

bool SimWorld::expect_prefix() {
  network.partition("east", "west");
  loop.run_for(5s);
  const auto session = std::string(status(west).at("session").as_string());
  auto bytes = must(west.brick().store().applied(session));
  georep::AppliedState state;
  if (bytes && !state.ParseFromString(*bytes)) throw std::runtime_error("unreadable applied state");
  bool exact = state.scan_done() && state.positions(0).index() >= state.exact_from_index();
  if (exact) {
    const auto index = state.positions(0).index();
    expect_same_volume(fold_logs(loop, east.clock(), {&east.brick().journal()}, index), west.dump(),
                       fmt::format("west, compared with east as of record {}", index));
  }
  network.heal("east", "west");
  return exact;
}

void expect_same_volume(const std::vector<std::string>& expected, const std::vector<std::string>& actual,
                        std::string_view what) {
  if (expected == actual) return;
  std::string text = fmt::format("{}: {} and {} lines", what, expected.size(), actual.size());
  int shown = 0;
  for (const auto& line : expected) {
    if (std::ranges::count(actual, line) == 0 && ++shown <= 5) text += "\n  expected " + line.substr(0, 600);
  }
  for (const auto& line : actual) {
    if (std::ranges::count(expected, line) == 0 && ++shown <= 10)
      text += "\n  found    " + line.substr(0, 600);
  }
  ADD_FAILURE() << text;
}

}  // namespace polder
