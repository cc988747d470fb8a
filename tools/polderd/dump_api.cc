// SPDX-License-Identifier: GPL-3.0-or-later
// Statedumps: what the daemon holds, into a file below the run directory, by command or by SIGUSR1.
#include <unistd.h>

#include "base/clock.h"
#include "base/coro.h"
#include "base/log.h"
#include "base/on_worker.h"
#include "core-volume/cluster/units.h"
#include "tools/polderd/daemon.h"
#include "tools/polderd/state_dump.h"

namespace polder {

namespace {

/// The sections asked for; all, when none were named.
struct Wanted {
  std::vector<std::string> sections;
  bool has(std::string_view section) const {
    return sections.empty() || std::ranges::find(sections, section) != sections.end();
  }
};

json::object dump_global(const Daemon& daemon, nanoseconds now) {
  const auto uptime = static_cast<std::uint64_t>(now.count()) - daemon.started_ns();
  return {{"program", "polderd"},
          {"version", POLDER_VERSION},
          {"pid", ::getpid()},
          {"cluster", daemon.options().cluster},
          {"node", daemon.identity().node.name},
          {"time", format_time(static_cast<std::uint64_t>(now.count()))},
          {"started", format_time(daemon.started_ns())},
          {"uptime_s", uptime / 1'000'000'000},
          {"state_dir", daemon.options().state_dir},
          {"run_dir", daemon.options().run_dir}};
}

Task<Result<json::object>> dump_volume(Daemon& daemon, std::string name, const Wanted& wanted) {
  auto& volumes = daemon.node().volumes;
  CO_TRY(auto use, volumes.use(name));
  const auto clients = volumes.rpc().clients(name);
  json::object out{
      {"volume", name}, {"read_only", use->info.read_only}, {"incarnation", use->info.incarnation}};
  out["started"] = format_time(use->started_ns);
  out["sessions_count"] = clients.size();
  if (wanted.has("iobuf")) out["iobuf"] = dump_buffers(clients);
  if (wanted.has("leases")) out["leases"] = dump_leases(use->stack->leases().numbers());
  if (wanted.has("sessions")) {
    json::array sessions;
    for (const auto& client : clients) {
      if (sessions.size() < kListed) sessions.push_back(to_json(client));
    }
    out["sessions"] = std::move(sessions);
  }
  json::array bricks;
  for (const auto& running : bricks_of(use)) {
    CO_TRY(auto report, co_await report_brick(daemon.node().seams, *running.brick));
    json::object brick{{"brick", running.spec->text()}};
    for (auto section : kDumpSections) {
      auto content = wanted.has(section) ? dump_brick(section, running, report) : json::object{};
      if (!content.empty()) brick[std::string(section)] = std::move(content);
    }
    bricks.push_back(std::move(brick));
  }
  out["bricks"] = std::move(bricks);
  co_return out;
}

Task<Result<json::object>> dump(Daemon& daemon, std::vector<std::string> volumes, const Wanted& wanted) {
  auto& seams = daemon.node().seams;
  json::object out{{"global", dump_global(daemon, seams.clock.wall_time())}};
  if (wanted.has("mem")) out["mem"] = to_json(co_await on_worker(seams.workers, process_facts));
  const auto rpc = daemon.node().volumes.rpc().info();
  out["rpc"] = json::object{{"connections", rpc.connections}, {"strangers", rpc.strangers}};
  json::array list;
  for (const auto& name : volumes) {
    CO_TRY(auto volume, co_await dump_volume(daemon, name, wanted));
    list.push_back(std::move(volume));
  }
  out["volumes"] = std::move(list);
  co_return out;
}

/// RUN-DIR/NAME.PID.dump.SECONDS, readable by root only: it holds names of clients and files.
Task<Result<std::string>> write_dump(Daemon& daemon, std::string name, const json::object& content) {
  auto& seams = daemon.node().seams;
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(seams.clock.wall_time()).count();
  auto path =
      fmt::format("{}/{}.{}.dump.{}.{:03}", daemon.options().run_dir, name, ::getpid(), ms / 1000, ms % 1000);
  CO_TRY(co_await on_worker(seams.workers, [&]() -> Result<void> {
    TRY(auto file, seams.disk.open(Disk::kNoDir, path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600)
                       .with("make {}", path));
    return seams.disk.pwrite(file.fd(), as_bytes(dump_text(content)), 0).with("write {}", path);
  }));
  co_return path;
}

Result<Wanted> wanted_of(const AdminRequest& request) {
  Wanted wanted;
  if (!request.body.contains("sections")) return wanted;
  TRY(wanted.sections, json::strings_field(request.body, "sections"));
  for (const auto& section : wanted.sections) {
    if (is_dump_section(section)) continue;
    if (section == "leases" || section == "sessions" || section == "all") continue;
    return Error(EINVAL).with(
        "there is no section '{}'; say all, mem, iobuf, leases, callpool, fd, inode, locks, journal, history "
        "or sessions",
        section);
  }
  if (wanted.has("all")) wanted.sections.clear();
  return wanted;
}

Task<Result<json::value>> statedump(Daemon& daemon, const AdminRequest& request) {
  const auto& name = request.parameter("volume");
  CO_TRY(auto wanted, wanted_of(request));
  CO_TRY(co_await get_volume(daemon.node().store, name));
  CO_TRY(auto content, co_await dump(daemon, {name}, wanted));
  CO_TRY(auto path, co_await write_dump(daemon, name, content));
  co_return json::object{{"path", path}, {"dump", std::move(content)}};
}

}  // namespace

Task<Result<std::string>> dump_all(Daemon& daemon) {
  CO_TRY(auto content, co_await dump(daemon, daemon.node().volumes.running_names(), {}));
  co_return co_await write_dump(daemon, "polderd", content);
}

void add_dump_routes(AdminApi& api, Daemon& daemon) {
  api.add("POST", "/v1/volumes/{volume}/statedump",
          [&daemon](const AdminRequest& request) { return statedump(daemon, request); });
}

}  // namespace polder
