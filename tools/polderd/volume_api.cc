// SPDX-License-Identifier: GPL-3.0-or-later
// Routes of volumes: create, start, stop, delete, list, info, status.
#include <unistd.h>

#include "base/coro.h"
#include "core-volume/cluster/units.h"
#include "core-volume/graph/slot_plan.h"
#include "tools/polderd/daemon.h"

namespace polder {

namespace {

Volumes& volumes_of(Daemon& daemon) {
  return daemon.node().volumes;
}

Result<void> need_cluster(const Daemon& daemon) {
  if (daemon.identity().ready()) return {};
  return Error(ENOTCONN).with("this node is in no cluster yet; type: polder cluster init");
}

/// Which part of the volume each set has.
json::array sets_of(const VolumeInfo& info) {
  json::array out;
  auto slots = slots_by_set(info.slots);
  for (const auto& brick : info.bricks) {
    const auto has = slots[brick.set];
    out.push_back(json::object{{"set", brick.set},
                               {"brick", brick.text()},
                               {"slots", has},
                               {"share", static_cast<double>(has) / static_cast<double>(kSlots)}});
  }
  return out;
}

json::object describe(Daemon& daemon, const VolumeInfo& info) {
  auto out = to_json(info).get_object();
  out["type"] = info.bricks.size() == 1 ? "Single" : "Distribute";
  out["sets"] = sets_of(info);
  out["created"] = format_time(info.created_ns);
  out["running"] = volumes_of(daemon).running(info.name) != nullptr;
  out["failure"] = volumes_of(daemon).failure(info.name);
  return out;
}

Task<Result<json::value>> create(Daemon& daemon, const AdminRequest& request) {
  CO_TRY(need_cluster(daemon));
  CreateVolume wanted;
  CO_TRY(wanted.name, json::string_field(request.body, "name"));
  CO_TRY(wanted.bricks, json::strings_field(request.body, "bricks"));
  CO_TRY(wanted.force, json::bool_field_or(request.body, "force", false));
  CO_TRY(auto created, co_await volumes_of(daemon).create(std::move(wanted)));
  auto out = describe(daemon, created.info);
  out["notes"] = json::array(created.notes.begin(), created.notes.end());
  co_return out;
}

Task<Result<json::value>> add_brick(Daemon& daemon, const AdminRequest& request) {
  AddBrick wanted;
  wanted.volume = request.parameter("volume");
  CO_TRY(wanted.brick, json::string_field(request.body, "brick"));
  CO_TRY(wanted.force, json::bool_field_or(request.body, "force", false));
  wanted.progress = [&request](std::string sentence) -> Task<Result<void>> {
    co_return co_await request.emit(json::object{{"progress", sentence}});
  };
  CO_TRY(auto extended, co_await volumes_of(daemon).add_brick(std::move(wanted)));
  auto out = describe(daemon, extended.info);
  out["notes"] = json::array(extended.notes.begin(), extended.notes.end());
  co_return out;
}

Task<Result<json::value>> list(Daemon& daemon) {
  CO_TRY(auto volumes, co_await list_volumes(daemon.node().store));
  json::array out;
  for (const auto& volume : volumes) out.push_back(describe(daemon, volume.value));
  co_return out;
}

Task<Result<json::value>> info(Daemon& daemon, const AdminRequest& request) {
  CO_TRY(auto volume, co_await get_volume(daemon.node().store, request.parameter("volume")));
  co_return describe(daemon, volume.value);
}

Task<Result<json::value>> start(Daemon& daemon, const AdminRequest& request) {
  CO_TRY(auto force, json::bool_field_or(request.body, "force", false));
  CO_TRY(co_await volumes_of(daemon).start(request.parameter("volume"), force));
  co_return json::object{};
}

Task<Result<json::value>> stop(Daemon& daemon, const AdminRequest& request) {
  CO_TRY(co_await volumes_of(daemon).stop(request.parameter("volume")));
  co_return json::object{};
}

Task<Result<json::value>> remove(Daemon& daemon, const AdminRequest& request) {
  CO_TRY(auto removed, co_await volumes_of(daemon).remove(request.parameter("volume")));
  co_return describe(daemon, removed);
}

json::object offline(const BrickSpec& spec) {
  return json::object{{"brick", spec.text()}, {"set", spec.set}, {"online", false}};
}

/// "failure" is there when it should run and does not.
Task<json::object> brick_status(VolumeStack& stack, BrickSpec spec) {
  json::object out = offline(spec);
  auto brick = stack.brick(spec.set);
  if (!brick) {
    auto failure = stack.failures().find(spec.set);
    if (failure != stack.failures().end()) out["failure"] = failure->second;
    co_return out;
  }
  const OpContext inside;
  auto space = co_await brick->top().statfs(inside);
  if (!space) {
    out["failure"] = space.error().message();
    co_return out;
  }
  out["online"] = true;
  out["pid"] = ::getpid();
  out["total_bytes"] = space->blocks * space->block_size;
  out["available_bytes"] = space->blocks_available * space->block_size;
  out["inodes"] = space->files;
  out["inodes_free"] = space->files_free;
  const auto& journal = brick->journal();
  out["changelog_first"] = journal.first_index();
  out["changelog_appended"] = journal.appended_index();
  out["changelog_stable"] = journal.stable_index();
  out["changelog_applied"] = journal.applied_index();
  out["changes_held"] = brick->barrier().held();
  out["changes_in_flight"] = brick->barrier().in_flight();
  co_return out;
}

json::array clients_of(Daemon& daemon, const std::string& volume) {
  json::array out;
  for (const auto& client : volumes_of(daemon).rpc().clients(volume)) {
    out.push_back(json::object{{"session", client.session},
                               {"client", client.client_name},
                               {"owner", client.owner},
                               {"connected", client.connected},
                               {"requests", client.requests},
                               {"requests_total", client.requests_total}});
  }
  return out;
}

Task<Result<json::value>> status(Daemon& daemon, const AdminRequest& request) {
  auto name = request.parameter("volume");
  CO_TRY(auto volume, co_await get_volume(daemon.node().store, name));
  json::object out = describe(daemon, volume.value);
  json::array bricks;
  auto use = volumes_of(daemon).use(name);
  for (const auto& brick : volume.value.bricks) {
    bricks.push_back(use ? co_await brick_status(use->stack(), brick) : offline(brick));
  }
  out["brick_status"] = std::move(bricks);
  out["clients"] = clients_of(daemon, name);
  co_return out;
}

}  // namespace

void add_volume_routes(AdminApi& api, Daemon& daemon) {
  api.add("POST", "/v1/volumes", [&daemon](const AdminRequest& request) { return create(daemon, request); });
  api.add("GET", "/v1/volumes", [&daemon](const AdminRequest&) { return list(daemon); });
  api.add("GET", "/v1/volumes/{volume}",
          [&daemon](const AdminRequest& request) { return info(daemon, request); });
  api.add("DELETE", "/v1/volumes/{volume}",
          [&daemon](const AdminRequest& request) { return remove(daemon, request); });
  api.add("POST", "/v1/volumes/{volume}/start",
          [&daemon](const AdminRequest& request) { return start(daemon, request); });
  api.add("POST", "/v1/volumes/{volume}/stop",
          [&daemon](const AdminRequest& request) { return stop(daemon, request); });
  api.add("POST", "/v1/volumes/{volume}/bricks",
          [&daemon](const AdminRequest& request) { return add_brick(daemon, request); });
  api.add("GET", "/v1/volumes/{volume}/status",
          [&daemon](const AdminRequest& request) { return status(daemon, request); });
}

}  // namespace polder
