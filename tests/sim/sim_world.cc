// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/sim/sim_world.h"

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

SimWorld::SimWorld(std::uint64_t seed, bool small_segments)
    : openssl(seed),
      trace(loop.clock()),
      network(loop.clock(), seed, &trace),
      random(make_seeded_random(seed)),
      east(loop, network, "east", random->next(),
           {.skew = some(1s), .small_segments = small_segments, .trace = &trace}),
      west(loop, network, "west", random->next(),
           {.skew = some(1s), .small_segments = small_segments, .trace = &trace}),
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

void SimWorld::trim_log() {
  auto& journal = east.brick().journal();
  BorrowedStack stack(loop, mount);
  Client client(stack);
  // One sealed segment stays.
  for (int sealed = 0; sealed < 3; ++sealed) {
    client.chmod(Gfid::root(), 0755);
    must(journal.sync());
    for (const auto& cursor : must(journal.cursors()))
      must(journal.set_cursor(cursor.name, journal.stable_index()));
    must(journal.maintain(true));
  }
}

std::vector<std::string> SimWorld::differences() {
  return differing_lines(east.dump(), west.dump(), "west, compared with east");
}

std::optional<std::vector<std::string>> SimWorld::differences_from_a_moment() {
  network.partition("east", "west");
  loop.run_for(5s);
  const auto session = std::string(status(west).at("session").as_string());
  auto bytes = must(west.brick().store().applied(session));
  georep::AppliedState state;
  if (bytes && !state.ParseFromString(*bytes)) throw std::runtime_error("unreadable applied state");
  std::optional<std::vector<std::string>> found;
  if (state.scan_done() && state.rescan().empty() && state.positions(0).index() >= state.exact_from_index()) {
    const auto index = state.positions(0).index();
    found = differing_lines(fold_logs(loop, east.clock(), {&east.brick().journal()}, index), west.dump(),
                            fmt::format("west, compared with east as of record {}", index));
  }
  network.heal("east", "west");
  return found;
}

std::vector<std::string> SimWorld::differences_from_the_log() {
  return differing_lines(fold_logs(loop, east.clock(), {&east.brick().journal()}), east.dump(),
                         "east, compared with its log");
}

}  // namespace polder
