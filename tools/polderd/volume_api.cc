// SPDX-License-Identifier: GPL-3.0-or-later
// Routes of volumes: create, start, stop, delete, list, info.
#include "base/coro.h"
#include "core-volume/cluster/units.h"
#include "core-volume/graph/slot_plan.h"
#include "snapshot/coordinator/record.h"
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

Task<Result<std::uint64_t>> count_snapshots(Daemon& daemon, std::string volume) {
  CO_TRY(auto snapshots, co_await list_records(daemon.node().store, kSnapshotKind));
  std::uint64_t count = 0;
  for (const auto& [name, snapshot] : snapshots) {
    const auto* of = snapshot.value.is_object() ? snapshot.value.get_object().if_contains("volume") : nullptr;
    if (of != nullptr && of->is_string() && of->get_string() == volume) ++count;
  }
  co_return count;
}

Task<Result<json::value>> create(Daemon& daemon, const AdminRequest& request) {
  CO_TRY(need_cluster(daemon));
  CreateVolume wanted;
  CO_TRY(wanted.name, json::string_field(request.body, "name"));
  CO_TRY(wanted.bricks, json::strings_field(request.body, "bricks"));
  CO_TRY(wanted.force, json::bool_field_or(request.body, "force", false));
  CO_TRY(auto created, co_await volumes_of(daemon).create(std::move(wanted)));
  auto out = describe_volume(daemon, created.info);
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
  auto out = describe_volume(daemon, extended.info);
  out["notes"] = json::array(extended.notes.begin(), extended.notes.end());
  co_return out;
}

Task<Result<json::value>> list(Daemon& daemon) {
  CO_TRY(auto volumes, co_await list_volumes(daemon.node().store));
  json::array out;
  for (const auto& volume : volumes) {
    auto one = describe_volume(daemon, volume.value);
    CO_TRY(one["snapshots"], co_await count_snapshots(daemon, volume.value.name));
    out.push_back(std::move(one));
  }
  co_return out;
}

Task<Result<json::value>> info(Daemon& daemon, const AdminRequest& request) {
  CO_TRY(auto volume, co_await get_volume(daemon.node().store, request.parameter("volume")));
  auto out = describe_volume(daemon, volume.value);
  CO_TRY(out["snapshots"], co_await count_snapshots(daemon, volume.value.name));
  co_return out;
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
  co_return describe_volume(daemon, removed);
}

}  // namespace

json::object describe_volume(Daemon& daemon, const VolumeInfo& info) {
  auto out = to_json(info).get_object();
  out["type"] = info.bricks.size() == 1 ? "Single" : "Distribute";
  out["sets"] = sets_of(info);
  out["created"] = format_time(info.created_ns);
  out["running"] = volumes_of(daemon).running(info.name) != nullptr;
  out["failure"] = volumes_of(daemon).failure(info.name);
  return out;
}

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
}

}  // namespace polder
