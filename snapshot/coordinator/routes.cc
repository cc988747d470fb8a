// SPDX-License-Identifier: GPL-3.0-or-later
// What an admin may ask of snapshots.
#include "base/on_worker.h"
#include "core-volume/cluster/units.h"
#include "snapshot/coordinator/active.h"

namespace polder {

void SnapshotCoordinator::add_routes() {
  auto add = [this](std::string method, std::string path, auto member) {
    node_.api.add(std::move(method), std::move(path),
                  [this, member](const AdminRequest& request) { return (this->*member)(request); });
  };
  add("POST", "/v1/snapshots", &SnapshotCoordinator::answer_create);
  add("GET", "/v1/snapshots", &SnapshotCoordinator::answer_list);
  add("GET", "/v1/snapshots/{snapshot}/status", &SnapshotCoordinator::answer_status);
  add("GET", "/v1/snapshots/{snapshot}/restore", &SnapshotCoordinator::answer_effects);
  add("POST", "/v1/snapshots/{snapshot}/restore", &SnapshotCoordinator::answer_restore);
  add("GET", "/v1/snapshot-config", &SnapshotCoordinator::answer_limits);
  add("POST", "/v1/snapshot-config", &SnapshotCoordinator::answer_set_limit);
  node_.api.add("GET", "/v1/snapshots/{snapshot}",
                [this](const AdminRequest& request) -> Task<Result<json::value>> {
                  CO_TRY(auto record, co_await get(request.parameter("snapshot")));
                  co_return describe(record);
                });
  // What answers with the snapshot as it was before.
  auto change = [this](std::string method, std::string path, auto member) {
    node_.api.add(std::move(method), "/v1/snapshots/{snapshot}" + path,
                  [this, member](const AdminRequest& request) -> Task<Result<json::value>> {
                    auto name = request.parameter("snapshot");
                    CO_TRY(auto record, co_await get(name));
                    CO_TRY(co_await (this->*member)(name));
                    co_return describe(record);
                  });
  };
  change("POST", "/activate", &SnapshotCoordinator::activate);
  change("POST", "/deactivate", &SnapshotCoordinator::deactivate);
  change("DELETE", "", &SnapshotCoordinator::remove);
}

json::object SnapshotCoordinator::describe(const SnapshotRecord& record) const {
  return json::object{{"name", record.name},
                      {"id", record.id},
                      {"volume", record.volume},
                      {"created", format_time(record.created_ns)},
                      {"created_ns", record.created_ns},
                      {"description", record.description},
                      {"status", active_.contains(record.name) ? "Started" : "Stopped"},
                      {"active", record.active},
                      {"pre_restore", record.pre_restore},
                      {"backend", record.backend},
                      {"brick", node_.identity.node.name + ":" + record.brick_path},
                      {"mark_index", record.mark_index},
                      {"hlc_ns", record.hlc_ns},
                      {"barrier_ms", static_cast<double>(record.barrier_ns) / 1e6},
                      {"mount", node_.identity.node.name + ":/" + record.name}};
}

Task<Result<json::value>> SnapshotCoordinator::answer_create(const AdminRequest& request) {
  CreateSnapshot wanted;
  CO_TRY(wanted.name, json::string_field(request.body, "name"));
  CO_TRY(wanted.volume, json::string_field(request.body, "volume"));
  CO_TRY(wanted.description, json::string_field_or(request.body, "description", ""));
  CO_TRY(wanted.timestamp, json::bool_field_or(request.body, "timestamp", true));
  CO_TRY(auto made, co_await create(std::move(wanted)));
  co_return describe(made);
}

Task<Result<json::value>> SnapshotCoordinator::answer_list(const AdminRequest& request) {
  CO_TRY(auto volume, json::string_field_or(request.body, "volume", ""));
  if (!volume.empty()) {
    CO_TRY(co_await get_volume(node_.store, volume));
  }
  CO_TRY(auto all, co_await list());
  std::ranges::sort(all, {}, &SnapshotRecord::created_ns);
  json::array out;
  for (const auto& record : all) {
    if (volume.empty() || record.volume == volume) out.push_back(describe(record));
  }
  co_return out;
}

Task<Result<json::value>> SnapshotCoordinator::answer_status(const AdminRequest& request) {
  CO_TRY(auto record, co_await get(request.parameter("snapshot")));
  auto out = describe(record);
  CO_TRY(auto backend, co_await open_backend(record.brick_path));
  CO_TRY(auto ids, co_await on_worker(node_.seams.workers, [&] { return backend->list(); }));
  out["present"] = std::ranges::count(ids, record.id) > 0;
  auto space = co_await on_worker(node_.seams.workers, [&] { return backend->check_space(); });
  out["space"] = space ? "" : space.error().message();
  if (space) out["data_percent"] = space->data_percent;
  json::array clients;
  for (const auto& client : node_.volumes.rpc().clients(record.name)) {
    clients.push_back(json::object{{"client", client.client_name}, {"connected", client.connected}});
  }
  out["clients"] = std::move(clients);
  co_return out;
}

Task<Result<json::value>> SnapshotCoordinator::answer_effects(const AdminRequest& request) {
  CO_TRY(auto effects, co_await restore_effects(request.parameter("snapshot")));
  auto out = describe(effects.snapshot);
  out["records_since"] = effects.log.last_index - effects.snapshot.mark_index;
  out["log_reaches_back"] = effects.log.first_index <= effects.snapshot.log_from + 1;
  out["sessions"] = json::array(effects.sessions.begin(), effects.sessions.end());
  co_return out;
}

Task<Result<json::value>> SnapshotCoordinator::answer_restore(const AdminRequest& request) {
  CO_TRY(auto kept, co_await restore(request.parameter("snapshot")));
  co_return json::object{{"volume", kept.volume}, {"pre_restore", describe(kept)}};
}

Task<Result<json::value>> SnapshotCoordinator::answer_limits(const AdminRequest& request) {
  CO_TRY(auto volume, json::string_field_or(request.body, "volume", "*"));
  if (volume != "*") {
    CO_TRY(co_await get_volume(node_.store, volume));
  }
  CO_TRY(auto found, co_await limits(volume));
  co_return json::object{{"volume", volume},
                         {"snap-max-hard-limit", found.hard_limit},
                         {"activate-on-create", found.activate_on_create ? "on" : "off"}};
}

Task<Result<json::value>> SnapshotCoordinator::answer_set_limit(const AdminRequest& request) {
  CO_TRY(auto volume, json::string_field_or(request.body, "volume", "*"));
  CO_TRY(auto key, json::string_field(request.body, "key"));
  CO_TRY(auto value, json::string_field(request.body, "value"));
  CO_TRY(co_await set_limit(volume, key, value));
  co_return co_await answer_limits(request);
}

}  // namespace polder
