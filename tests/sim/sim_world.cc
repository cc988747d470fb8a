// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/sim/sim_world.h"

#include <cstdlib>

#include "base/log.h"
#include "core-volume/layers/memory/memory_layer.h"
#include "georep/protocol/stream.h"
#include "proto/georep.pb.h"

namespace polder {

namespace {

using namespace std::chrono_literals;

/// About the log, or about the site: no part of the content.
bool is_content(const Record& record) {
  return record.kind < RecordKind::kMark || record.kind == RecordKind::kRemoved;
}

/// The object and its attributes, and where the line begins to differ from `others`.
std::string excerpt(const std::string& line, const std::vector<std::string>& others) {
  std::size_t same = 0;
  for (const auto& other : others) {
    const auto [mine, its] = std::ranges::mismatch(line, other);
    same = std::max(same, static_cast<std::size_t>(mine - line.begin()));
  }
  auto text = line.substr(0, 180);
  if (same > 140) text += fmt::format(" … from {}: {}", same, line.substr(same - 20, 100));
  return text;
}

/// One sentence with the first lines that differ, or none.
std::vector<std::string> differing_lines(const std::vector<std::string>& expected,
                                         const std::vector<std::string>& actual, std::string_view what) {
  if (expected == actual) return {};
  auto text = fmt::format("{}: {} and {} lines", what, expected.size(), actual.size());
  const auto add = [&](std::string_view title, const auto& lines, const auto& others) {
    int shown = 0;
    for (const auto& line : lines)
      if (std::ranges::count(others, line) == 0 && ++shown <= 5)
        text += fmt::format("\n  {} {}", title, excerpt(line, others));
  };
  add("expected", expected, actual);
  add("found   ", actual, expected);
  return {text};
}

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
  if (state.scan_done() && state.positions(0).index() >= state.exact_from_index()) {
    const auto index = state.positions(0).index();
    found = differing_lines(fold_east(index), west.dump(),
                            fmt::format("west, compared with east as of record {}", index));
  }
  network.heal("east", "west");
  return found;
}

std::vector<std::string> SimWorld::differences_from_the_log() {
  return differing_lines(fold_east(UINT64_MAX), east.dump(), "east, compared with its log");
}

std::vector<std::string> SimWorld::fold_east(std::uint64_t index) {
  HlcClock hlc(east.clock());
  auto gfids = make_seeded_random(1);
  MemoryLayer model(hlc, *gfids);
  BorrowedStack stack(loop, model);
  Client client(stack, 0);
  auto reader = must(east.brick().journal().read_from(1));
  std::vector<Record> records;
  while (auto record = must(reader->next())) {
    if (record->index > index) break;
    if (is_content(*record)) records.push_back(std::move(*record));
  }
  must(client.replay(records));
  return client.dump();
}

}  // namespace polder
