// SPDX-License-Identifier: GPL-3.0-or-later
// What an admin may ask of geo-replication. A session is named by its volume and, where there are several, by
// the other end.
#include "base/clock.h"
#include "base/coro.h"
#include "base/log.h"
#include "base/on_worker.h"
#include "georep/service/service.h"

namespace polder::georep {

namespace {

std::string time_text(Hlc hlc) {
  if (hlc.ns == 0) return "";
  const auto seconds = static_cast<std::time_t>(hlc.ns / 1'000'000'000);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

json::array gfid_texts(const std::vector<Gfid>& gfids) {
  json::array array;
  for (const auto& gfid : gfids) array.emplace_back(gfid.hex());
  return array;
}

}  // namespace

void GeorepService::add_routes() {
  auto add = [this](std::string method, std::string verb, auto member) {
    node_.api.add(std::move(method), "/v1/volumes/{volume}/georep" + verb,
                  [this, member](const AdminRequest& request) { return (this->*member)(request); });
  };
  auto add_state = [this](std::string verb, RelationState state) {
    node_.api.add("POST", "/v1/volumes/{volume}/georep/" + verb,
                  [this, state](const AdminRequest& request) { return set_state(request, state); });
  };
  add("POST", "/create", &GeorepService::create);
  add("POST", "/delete", &GeorepService::remove);
  add("GET", "", &GeorepService::status);
  add("POST", "/checkpoint", &GeorepService::checkpoint);
  add("POST", "/verify", &GeorepService::verify);
  add("POST", "/config", &GeorepService::config);
  add_state("start", RelationState::kStarted);
  add_state("resume", RelationState::kStarted);
  add_state("pause", RelationState::kPaused);
  add_state("stop", RelationState::kStopped);
  node_.api.add("GET", "/v1/georep", [this](const AdminRequest& request) { return status(request); });
  node_.api.add(
      "POST", "/v1/georep-pair", [this](const AdminRequest& request) { return answer_pair(request); },
      AdminAccess::kMember);
  node_.api.add(
      "POST", "/v1/georep-unpair", [this](const AdminRequest& request) { return answer_unpair(request); },
      AdminAccess::kMember);
}

/// By volume, and by `secondary` where it is given. ENOENT says what to type.
Task<Result<Stored<Relation>>> GeorepService::find(const AdminRequest& request) {
  const auto& volume = request.parameter("volume");
  CO_TRY(const auto secondary, json::string_field_or(request.body, "secondary", ""));
  std::string wanted;
  if (!secondary.empty()) {
    CO_TRY(auto peer, parse_peer(secondary));
    wanted = peer.host + "::" + peer.volume;
  }
  CO_TRY(auto relations, co_await list_relations(node_.store));
  for (auto& relation : relations) {
    const bool fits = wanted.empty() || relation.value.peer_text() == wanted;
    if (relation.value.volume == volume && fits && relation.value.side == Side::kPrimary)
      co_return std::move(relation);
  }
  co_return Error(ENOENT).with(
      "volume '{}' has no geo-replication session{}; type: polder volume geo-replication {} HOST::VOLUME "
      "create --token-file FILE",
      volume, wanted.empty() ? "" : " to " + wanted, volume);
}

Task<Result<json::value>> GeorepService::set_state(const AdminRequest& request, RelationState state) {
  CO_TRY(auto relation, co_await find(request));
  CO_TRY(auto guard, co_await node_.volumes.lock(relation.value.volume));
  relation.value.state = state;
  CO_TRY(co_await put_relation(node_.store, relation.value, relation.version));
  if (state == RelationState::kStarted) {
    auto volume = node_.volumes.running(relation.value.volume);
    if (!volume)
      co_return Error(ENOTCONN).with("volume '{}' does not run; the session starts with it",
                                     relation.value.volume);
    co_await begin(relation.value, *volume);
  } else {
    co_await end(relation.value.session);
  }
  co_return describe(relation.value);
}

Task<Result<json::value>> GeorepService::remove(const AdminRequest& request) {
  CO_TRY(auto relation, co_await find(request));
  {
    CO_TRY(auto guard, co_await node_.volumes.lock(relation.value.volume));
    co_await end(relation.value.session);
    CO_TRY(co_await delete_record(node_.store, "georep", relation.value.session, relation.version));
    if (auto volume = node_.volumes.running(relation.value.volume)) {  // else its next start does it
      CO_TRY(auto relations, co_await list_relations(node_.store));
      CO_TRY(co_await forget_deleted(*volume, relations));
    }
  }
  auto told = co_await call_peer(relation.value, "/v1/georep-unpair");
  json::object answer{{"deleted", relation.value.session}};
  if (!told) answer["secondary"] = "not told: " + told.error().message() + "; its volume stays read-only";
  co_return answer;
}

json::object GeorepService::describe(const Relation& relation) const {
  json::object out{{"session", relation.session},
                   {"volume", relation.volume},
                   {"side", relation.side == Side::kPrimary ? "primary" : "secondary"},
                   {"peer", relation.peer_text()},
                   {"peer_cluster", relation.peer_cluster},
                   {"node", node_.identity.node.name},
                   {"generation", relation.generation},
                   {"status", to_string(relation.state)}};
  auto found = running_.find(relation.session);
  if (found == running_.end()) return out;
  const auto& running = *found->second;
  if (!running.failure.empty()) {
    out["status"] = "Faulty";
    out["reason"] = running.failure;
  } else if (running.primary) {
    const auto status = running.primary->status();
    out["status"] = to_string(status.state);
    out["reason"] = status.reason;
    out["lag_s"] = status.lag_s;
    out["queued_records"] = status.queued_records;
    out["shipped_bytes"] = status.shipped_bytes;
    out["received_bytes"] = status.received_bytes;
    out["scanned_objects"] = status.scanned_objects;
    out["applied_index"] = status.applied_index;
    out["exact"] = status.exact;
    out["last_exact_cut"] = status.exact ? time_text(status.applied_hlc) : "";
  } else if (running.secondary) {
    const auto status = running.secondary->status();
    out["status"] = status.error.empty() ? (status.connected ? "Live" : "Waiting") : "Faulty";
    out["reason"] = status.error;
    out["applied_cut"] = status.applied_cut;
    out["applied_index"] = status.applied_index;
    out["spooled_cut"] = status.spooled_cut;
    out["spooled_bytes"] = status.spooled_bytes;
    out["last_exact_cut"] = time_text(status.applied_hlc);
  }
  return out;
}

Task<Result<json::value>> GeorepService::status(const AdminRequest& request) {
  const auto found = request.parameters.find("volume");
  CO_TRY(auto relations, co_await list_relations(node_.store));
  json::array sessions;
  for (const auto& relation : relations) {
    if (found == request.parameters.end() || relation.value.volume == found->second) {
      sessions.push_back(describe(relation.value));
    }
  }
  co_return json::object{{"sessions", std::move(sessions)}};
}

Task<Result<PrimarySession*>> GeorepService::running_primary(const AdminRequest& request) {
  CO_TRY(auto relation, co_await find(request));
  auto found = running_.find(relation.value.session);
  if (found == running_.end() || !found->second->primary) {
    co_return Error(ENOTCONN).with("the session is {}; type: polder volume geo-replication {} {} start",
                                   to_string(relation.value.state), relation.value.volume,
                                   relation.value.peer_text());
  }
  co_return found->second->primary.get();
}

Task<Result<json::value>> GeorepService::checkpoint(const AdminRequest& request) {
  CO_TRY(auto* primary, co_await running_primary(request));
  const auto begun = node_.seams.clock.boot_time();
  CO_TRY(const auto index, co_await primary->checkpoint());
  const auto took = node_.seams.clock.boot_time() - begun;
  co_return json::object{{"index", index}, {"seconds", std::chrono::duration<double>(took).count()}};
}

Task<Result<json::value>> GeorepService::verify(const AdminRequest& request) {
  CO_TRY(auto* primary, co_await running_primary(request));
  CO_TRY(const auto report, co_await primary->verify());
  co_return json::object{{"objects", report.objects},
                         {"position", report.position},
                         {"identical", report.different.empty() && report.missing.empty()},
                         {"different", gfid_texts(report.different)},
                         {"missing", gfid_texts(report.missing)}};
}

/// One key so far: `addresses`, of the secondary, separated by commas.
Task<Result<json::value>> GeorepService::config(const AdminRequest& request) {
  CO_TRY(auto relation, co_await find(request));
  CO_TRY(const auto key, json::string_field_or(request.body, "key", ""));
  CO_TRY(const auto value, json::string_field_or(request.body, "value", ""));
  if (!key.empty() && key != "addresses") {
    co_return Error(EINVAL).with("unknown key '{}'; there is: addresses", key);
  }
  if (!value.empty()) {
    std::vector<std::string> addresses;
    for (std::size_t begin = 0; begin <= value.size();) {
      const auto end = std::min(value.find(',', begin), value.size());
      CO_TRY(auto endpoint, Endpoint::parse(value.substr(begin, end - begin)));
      addresses.push_back(endpoint.text());
      begin = end + 1;
    }
    CO_TRY(auto guard, co_await node_.volumes.lock(relation.value.volume));
    relation.value.peer_addresses = std::move(addresses);
    CO_TRY(co_await put_relation(node_.store, relation.value, relation.version));
    co_await end(relation.value.session);
    if (auto volume = node_.volumes.running(relation.value.volume)) co_await begin(relation.value, *volume);
  }
  std::string addresses;
  for (const auto& address : relation.value.peer_addresses)
    addresses += (addresses.empty() ? "" : ",") + address;
  co_return json::object{{"addresses", addresses}};
}

}  // namespace polder::georep
