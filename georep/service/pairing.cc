// SPDX-License-Identifier: GPL-3.0-or-later
// Pairing: from one token to credentials for both directions.
//
// 1. The secondary's admin makes a token (`polder cluster token --role site --volume VOL`): bound to the
// volume, the CA and the
//    addresses. 2. The primary redeems it and gets a certificate "georep:SESSION" of the secondary's CA. 3.
//    With that it asks to pair, and sends a token of its own, which the secondary redeems at once for the way
//    back (failback, fencing). 4. The secondary checks that its volume may follow, makes it read-only, and
//    remembers the relation; then the primary does.
// A failure before 4 leaves nothing but an unused certificate; repeating `create` with a new token is safe.
#include "base/clock.h"
#include "base/coro.h"
#include "base/log.h"
#include "base/random.h"
#include "core-volume/admin/admin_client.h"
#include "core-volume/admin/join.h"
#include "core-volume/cluster/certificates.h"
#include "core-volume/cluster/tokens.h"
#include "georep/service/service.h"

namespace polder::georep {

namespace {

json::array to_array(const std::vector<std::string>& texts) {
  json::array array;
  for (const auto& text : texts) array.emplace_back(text);
  return array;
}

Result<void> check_token(const JoinToken& token, const PeerName& peer) {
  if (token.role != TokenRole::kSite) {
    return Error(EINVAL).with(
        "this token is for role {}; on the secondary type: polder cluster token --role site --volume {}",
        to_string(token.role), peer.volume);
  }
  if (token.volume != peer.volume) {
    return Error(EINVAL).with("this token is for volume '{}' of the secondary, not for '{}'", token.volume,
                              peer.volume);
  }
  return {};
}

}  // namespace

Task<Result<json::value>> GeorepService::create(const AdminRequest& request) {
  CO_TRY(const auto secondary, json::string_field(request.body, "secondary"));
  CO_TRY(const auto token, json::string_field(request.body, "token"));
  CO_TRY(auto peer, parse_peer(secondary));
  const auto& volume = request.parameter("volume");
  if (!node_.volumes.running(volume)) {
    co_return Error(ENOTCONN).with("volume '{}' does not run; type: polder volume start {}", volume, volume);
  }
  CO_TRY(need_one_set(node_.volumes.running(volume)->info, "geo-replication"));
  CO_TRY(auto relations, co_await list_relations(node_.store));
  for (const auto& relation : relations) {
    if (relation.value.volume == volume && relation.value.peer_text() == peer.host + "::" + peer.volume) {
      co_return Error(EEXIST).with("volume '{}' already has a session to {}", volume,
                                   relation.value.peer_text());
    }
  }
  CO_TRY(auto relation, co_await pair_with(volume, peer, token));
  auto described = describe(relation);
  CO_TRY(co_await put_relation(node_.store, std::move(relation), 0));
  co_return described;
}

Task<Result<Relation>> GeorepService::pair_with(const std::string& volume, PeerName peer,
                                                const std::string& token_text) {
  CO_TRY(auto token, JoinToken::parse(token_text));
  CO_TRY(check_token(token, peer));
  Relation relation;
  relation.session = Gfid::random(node_.seams.random, 0).hex();
  relation.volume = volume;
  relation.peer_volume = peer.volume;
  relation.created_ns = static_cast<std::uint64_t>(node_.seams.clock.wall_time().count());
  relation.peer_addresses = {peer.host};
  for (const auto& address : token.addresses) {
    if (address != peer.host) relation.peer_addresses.push_back(address);
  }
  token.addresses = relation.peer_addresses;

  CO_TRY(auto membership, co_await join_cluster(node_.seams, token, relation.session));
  relation.peer_cluster = membership.cluster;
  relation.key_pem = membership.key_pem;
  relation.certificate_pem = membership.certificate_pem;
  relation.peer_ca_pem = membership.ca_pem;

  TokenRequest back;
  back.role = TokenRole::kSite;
  back.volume = volume;
  back.addresses = node_.identity.node.addresses;
  back.ca_fingerprint = node_.identity.cluster.ca_fingerprint;
  CO_TRY(auto way_back, co_await create_token(node_.seams, node_.store, back));

  json::object body{
      {"session", relation.session},    {"generation", relation.generation},
      {"volume", relation.peer_volume}, {"primary_cluster", node_.identity.cluster.name},
      {"primary_volume", volume},       {"primary_addresses", to_array(node_.identity.node.addresses)},
      {"token", way_back.text()}};
  CO_TRY(co_await call_peer(relation, "/v1/georep-pair", body));
  co_return relation;
}

Task<Result<void>> GeorepService::call_peer(const Relation& relation, std::string path, json::object body) {
  auto identity = std::make_shared<TlsIdentity>();
  identity->certificate_pem = relation.certificate_pem;
  identity->key_pem = relation.key_pem;
  identity->trusted_ca_pem = relation.peer_ca_pem;
  Error last(EHOSTUNREACH);
  for (const auto& address : relation.peer_addresses) {
    CO_TRY(auto endpoint, Endpoint::parse(address));
    AdminClient client(node_.seams.transport, endpoint, identity);
    auto answer = co_await client.call("POST", path, body);
    if (answer) co_return Result<void>();
    last = std::move(answer).error().with("{}", address);
    if (client.connected()) break;
  }
  co_return last;
}

/// On the secondary. The certificate proves that the caller redeemed a token, and for which volume.
Task<Result<json::value>> GeorepService::answer_pair(const AdminRequest& request) {
  CO_TRY(const auto who, parse_common_name(request.peer.common_name));
  Relation relation;
  relation.side = Side::kSecondary;
  relation.state = RelationState::kStarted;
  CO_TRY(relation.session, json::string_field(request.body, "session"));
  CO_TRY(relation.volume, json::string_field(request.body, "volume"));
  if (who.role != CertificateRole::kGeorep || who.name != relation.session) {
    co_return Error(EACCES).with("the certificate '{}' is not for session {}", request.peer.common_name,
                                 relation.session);
  }
  const auto bound = node_.volumes.members().bound_volume(request.peer.common_name);
  if (!bound || *bound != relation.volume)
    co_return Error(EACCES).with("the token was not for volume '{}'", relation.volume);
  CO_TRY(relation.generation, json::number_field(request.body, "generation"));
  CO_TRY(relation.peer_cluster, json::string_field(request.body, "primary_cluster"));
  CO_TRY(relation.peer_volume, json::string_field(request.body, "primary_volume"));
  CO_TRY(relation.peer_addresses, json::strings_field(request.body, "primary_addresses"));
  CO_TRY(const auto token_text, json::string_field(request.body, "token"));
  CO_TRY(auto token, JoinToken::parse(token_text));
  relation.created_ns = static_cast<std::uint64_t>(node_.seams.clock.wall_time().count());

  CO_TRY(auto membership, co_await join_cluster(node_.seams, token, relation.session));
  relation.key_pem = membership.key_pem;
  relation.certificate_pem = membership.certificate_pem;
  relation.peer_ca_pem = membership.ca_pem;
  CO_TRY(co_await become_secondary(std::move(relation)));
  co_return json::object{{"paired", true}};
}

Task<Result<void>> GeorepService::become_secondary(Relation relation) {
  CO_TRY(auto guard, co_await node_.volumes.lock(relation.volume));
  auto volume = node_.volumes.running(relation.volume);
  if (!volume) {
    co_return Error(ENOTCONN).with(
        "the secondary volume '{}' does not run; there type: polder volume start {}", relation.volume,
        relation.volume);
  }
  CO_TRY(need_one_set(volume->info, "geo-replication"));
  CO_TRY(auto relations, co_await list_relations(node_.store));
  for (const auto& other : relations) {
    if (other.value.volume == relation.volume && other.value.side == Side::kSecondary) {
      co_return Error(EBUSY).with("volume '{}' is the secondary of {} already", relation.volume,
                                  other.value.peer_text());
    }
  }
  const OpContext inside;
  CO_TRY(auto page, co_await volume->stack->top().readdir(inside, Gfid::root(), 0, 1, false));
  if (!page.entries.empty()) {
    co_return Error(ENOTEMPTY).with(
        "the secondary volume '{}' is not empty ('{}' is in it): use a new volume", relation.volume,
        page.entries.front().name);
  }
  CO_TRY(auto stored, co_await get_volume(node_.store, relation.volume));
  stored.value.read_only = true;
  stored.value.role = "secondary";
  CO_TRY(co_await put_relation(node_.store, relation, 0));
  CO_TRY(co_await node_.volumes.update(stored.value, stored.version));
  co_await begin(relation, *volume);
  log::info("volume {} is now the secondary of {}", relation.volume, relation.peer_text());
  co_return Result<void>();
}

/// The primary has deleted the session: the volume is an ordinary one again.
Task<Result<json::value>> GeorepService::answer_unpair(const AdminRequest& request) {
  CO_TRY(const auto who, parse_common_name(request.peer.common_name));
  CO_TRY(auto relations, co_await list_relations(node_.store));
  for (const auto& relation : relations) {
    if (relation.value.session != who.name || relation.value.side != Side::kSecondary) continue;
    CO_TRY(auto guard, co_await node_.volumes.lock(relation.value.volume));
    co_await end(relation.value.session);
    CO_TRY(co_await delete_record(node_.store, "georep", relation.value.session, relation.version));
    CO_TRY(auto stored, co_await get_volume(node_.store, relation.value.volume));
    stored.value.read_only = false;
    stored.value.role = "plain";
    CO_TRY(co_await node_.volumes.update(stored.value, stored.version));
  }
  co_return json::object{{"unpaired", true}};
}

}  // namespace polder::georep
