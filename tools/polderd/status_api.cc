// SPDX-License-Identifier: GPL-3.0-or-later
// Routes of volumes that only look: status with all its details.
#include <unistd.h>

#include "base/clock.h"
#include "base/coro.h"
#include "base/on_worker.h"
#include "core-volume/cluster/units.h"
#include "tools/polderd/daemon.h"
#include "tools/polderd/state_dump.h"

namespace polder {

namespace {

/// Where clients of other machines connect: one port for all bricks of the node. 0: none is open.
std::uint16_t data_port(const Daemon& daemon) {
  auto endpoint = Endpoint::parse(daemon.identity().cluster.listen);
  return endpoint ? endpoint->port : 0;
}

std::size_t bricks_here(Daemon& daemon) {
  std::size_t count = 0;
  const auto& volumes = daemon.node().volumes;
  for (const auto& name : volumes.running_names()) {
    if (auto use = volumes.use(name)) count += bricks_of(*use).size();
  }
  return count;
}

/// "failure" is there when it should run and does not.
json::object offline(const BrickSpec& spec, const std::map<std::uint32_t, std::string>& failures) {
  json::object out{{"brick", spec.text()}, {"set", spec.set}, {"online", false}};
  auto failure = failures.find(spec.set);
  if (failure != failures.end()) out["failure"] = failure->second;
  return out;
}

Task<json::object> brick_status(Daemon& daemon, const VolumeUse& use, RunningBrick running) {
  auto& seams = daemon.node().seams;
  json::object out{{"brick", running.spec->text()},
                   {"set", running.spec->set},
                   {"online", true},
                   {"pid", ::getpid()},
                   {"port", data_port(daemon)},
                   {"multiplexed", true},
                   {"bricks_in_process", bricks_here(daemon)},
                   {"started", format_time(use->started_ns)}};
  const auto now = static_cast<std::uint64_t>(seams.clock.wall_time().count());
  out["uptime_s"] = (now - std::min(now, use->started_ns)) / 1'000'000'000;
  auto report = co_await report_brick(seams, *running.brick);
  if (report) {
    add_report(out, *report);
  } else {
    out["failure"] = report.error().message();
  }
  auto& brick = *running.brick;
  out["changes_held"] = brick.barrier().held();
  out["changes_in_flight"] = brick.barrier().in_flight();
  out["operations_in_flight"] = brick.stats().under_way_count();
  out["open_handles"] = brick.ordering().open_handles();
  out["locks_held"] = brick.locks().locks_held();
  out["locks_waiting"] = brick.locks().waiting();
  co_return out;
}

/// What `volume status VOL mem|fd|inode|callpool|…` asks for besides.
Task<Result<json::object>> section_of(Daemon& daemon, const VolumeUse& use, const std::string& section) {
  json::object out;
  auto& seams = daemon.node().seams;
  if (section == "mem") out["mem"] = to_json(co_await on_worker(seams.workers, process_facts));
  if (section == "mem" || section == "iobuf") {
    out["iobuf"] = dump_buffers(daemon.node().volumes.rpc().clients(use->info.name));
  }
  json::array bricks;
  for (const auto& running : bricks_of(use)) {
    CO_TRY(auto report, co_await report_brick(seams, *running.brick));
    auto content = dump_brick(section, running, report);
    if (content.empty()) continue;
    content["brick"] = running.spec->text();
    bricks.push_back(std::move(content));
  }
  if (!bricks.empty()) out["bricks"] = std::move(bricks);
  co_return out;
}

Task<Result<json::value>> status(Daemon& daemon, const AdminRequest& request) {
  const auto name = request.parameter("volume");
  CO_TRY(auto section, json::string_field_or(request.body, "section", ""));
  if (!section.empty() && !is_dump_section(section)) {
    co_return Error(EINVAL).with("there is no status of '{}'", section);
  }
  CO_TRY(auto volume, co_await get_volume(daemon.node().store, name));
  auto out = describe_volume(daemon, volume.value);
  json::array bricks;
  auto use = daemon.node().volumes.use(name);
  if (use) {
    const auto specs = (*use)->info.bricks;
    for (const auto& spec : specs) {
      auto brick = use->stack().brick(spec.set);
      auto shown = brick
                       ? co_await brick_status(daemon, *use, {std::make_shared<const BrickSpec>(spec), brick})
                       : offline(spec, use->stack().failures());
      bricks.push_back(std::move(shown));
    }
    if (!section.empty()) {
      CO_TRY(out["section"], co_await section_of(daemon, *use, section));
    }
  } else {
    for (const auto& spec : volume.value.bricks) bricks.push_back(offline(spec, {}));
  }
  out["brick_status"] = std::move(bricks);
  json::array clients;
  for (const auto& client : daemon.node().volumes.rpc().clients(name)) clients.push_back(to_json(client));
  out["clients"] = std::move(clients);
  co_return out;
}

}  // namespace

void add_status_routes(AdminApi& api, Daemon& daemon) {
  api.add("GET", "/v1/volumes/{volume}/status",
          [&daemon](const AdminRequest& request) { return status(daemon, request); });
}

}  // namespace polder
