// SPDX-License-Identifier: GPL-3.0-or-later
// Relation: what a site remembers of one geo-replication session, on either end. Kept in the ClusterStore as
// kind "georep", named by the session's id.
#pragma once
#include <string>
#include <vector>

#include "core-volume/cluster/json_fields.h"
#include "core-volume/cluster/records.h"

namespace polder::georep {

enum class Side { kPrimary, kSecondary };
enum class RelationState { kCreated, kStarted, kPaused, kStopped };
std::string_view to_string(RelationState state);  // "Created", "Started", "Paused", "Stopped"

struct Relation {
  std::string session;  // 32 hex digits
  Side side = Side::kPrimary;
  RelationState state = RelationState::kCreated;
  std::uint64_t generation = 1;
  std::string volume;        // of this cluster
  std::string peer_cluster;  // the other end
  std::string peer_volume;
  std::vector<std::string> peer_addresses;  // HOST:PORT, tried in turn
  // What this end shows to the other.
  std::string key_pem;
  std::string certificate_pem;
  std::string peer_ca_pem;
  std::uint64_t created_ns = 0;

  /// "HOST[:PORT]::VOLUME", as an admin types it.
  std::string peer_text() const;
};

json::value to_json(const Relation& relation);
Result<Relation> relation_from_json(const json::value& from);

Task<Result<std::vector<Stored<Relation>>>> list_relations(ClusterStore& store);
Task<Result<std::uint64_t>> put_relation(ClusterStore& store, Relation relation, std::uint64_t version);

/// HOST[:PORT]::VOLUME. EINVAL says what is wrong with it.
struct PeerName {
  std::string host;
  std::string volume;
};
Result<PeerName> parse_peer(std::string_view text);

}  // namespace polder::georep
