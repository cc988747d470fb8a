// SPDX-License-Identifier: GPL-3.0-or-later
#include "georep/service/relation.h"

#include "base/coro.h"
#include "base/transport.h"

namespace polder::georep {

namespace {

constexpr const char* kKind = "georep";
constexpr std::array kStates{RelationState::kCreated, RelationState::kStarted, RelationState::kPaused,
                             RelationState::kStopped};

Result<RelationState> parse_state(const std::string& text) {
  for (const auto state : kStates) {
    if (to_string(state) == text) return state;
  }
  return Error(EUCLEAN).with("geo-replication record: unknown state '{}'", text);
}

}  // namespace

std::string_view to_string(RelationState state) {
  switch (state) {
    case RelationState::kCreated:
      return "Created";
    case RelationState::kStarted:
      return "Started";
    case RelationState::kPaused:
      return "Paused";
    case RelationState::kStopped:
      return "Stopped";
  }
  return "unknown";
}

std::string Relation::peer_text() const {
  return fmt::format("{}::{}", peer_addresses.empty() ? "?" : peer_addresses.front(), peer_volume);
}

json::value to_json(const Relation& relation) {
  json::array addresses;
  for (const auto& address : relation.peer_addresses) addresses.emplace_back(address);
  return json::object{{"format", 1},
                      {"session", relation.session},
                      {"side", relation.side == Side::kPrimary ? "primary" : "secondary"},
                      {"state", to_string(relation.state)},
                      {"generation", relation.generation},
                      {"volume", relation.volume},
                      {"peer_cluster", relation.peer_cluster},
                      {"peer_volume", relation.peer_volume},
                      {"peer_addresses", std::move(addresses)},
                      {"key", relation.key_pem},
                      {"certificate", relation.certificate_pem},
                      {"peer_ca", relation.peer_ca_pem},
                      {"created_ns", relation.created_ns}};
}

Result<Relation> relation_from_json(const json::value& from) {
  TRY(const auto fields, json::as_object(from));
  Relation relation;
  TRY(relation.session, json::string_field(fields, "session"));
  TRY(const auto side, json::string_field(fields, "side"));
  relation.side = side == "primary" ? Side::kPrimary : Side::kSecondary;
  TRY(const auto state, json::string_field(fields, "state"));
  TRY(relation.state, parse_state(state));
  TRY(relation.generation, json::number_field(fields, "generation"));
  TRY(relation.volume, json::string_field(fields, "volume"));
  TRY(relation.peer_cluster, json::string_field(fields, "peer_cluster"));
  TRY(relation.peer_volume, json::string_field(fields, "peer_volume"));
  TRY(relation.peer_addresses, json::strings_field(fields, "peer_addresses"));
  TRY(relation.key_pem, json::string_field(fields, "key"));
  TRY(relation.certificate_pem, json::string_field(fields, "certificate"));
  TRY(relation.peer_ca_pem, json::string_field(fields, "peer_ca"));
  TRY(relation.created_ns, json::number_field(fields, "created_ns"));
  return relation;
}

Task<Result<std::vector<Stored<Relation>>>> list_relations(ClusterStore& store) {
  CO_TRY(auto records, co_await list_records(store, kKind));
  std::vector<Stored<Relation>> relations;
  for (auto& [name, record] : records) {
    CO_TRY(auto relation, relation_from_json(record.value).with("geo-replication session {}", name));
    relations.push_back({std::move(relation), record.version});
  }
  co_return relations;
}

Task<Result<std::uint64_t>> put_relation(ClusterStore& store, Relation relation, std::uint64_t version) {
  co_return co_await put_record(store, kKind, relation.session, to_json(relation), version);
}

Result<PeerName> parse_peer(std::string_view text) {
  const auto separator = text.rfind("::");
  if (separator == std::string_view::npos || separator == 0 || separator + 2 == text.size()) {
    return Error(EINVAL).with("'{}' is not a secondary; write HOST[:PORT]::VOLUME", text);
  }
  PeerName peer{std::string(text.substr(0, separator)), std::string(text.substr(separator + 2))};
  TRY(const auto endpoint, Endpoint::parse(peer.host));
  if (endpoint.kind != Endpoint::Kind::kTls)
    return Error(EINVAL).with("'{}': a secondary is reached by HOST[:PORT]", text);
  peer.host = endpoint.text();
  TRY(check_name("volume name", peer.volume));
  return peer;
}

}  // namespace polder::georep
