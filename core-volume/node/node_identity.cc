// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/node/node_identity.h"

#include "base/clock.h"
#include "base/coro.h"
#include "base/log.h"
#include "base/random.h"

namespace polder {

namespace {

constexpr const char* kCaKey = "secret/ca";
constexpr const char* kNodeKey = "secret/node";

std::int64_t now_s(Seams& seams) {
  return std::chrono::duration_cast<std::chrono::seconds>(seams.clock.wall_time()).count();
}

std::string encode(const KeyAndCertificate& pair) {
  return json::text(json::object{{"key", pair.key_pem}, {"certificate", pair.certificate_pem}});
}

Task<Result<KeyAndCertificate>> load_pair(ClusterStore& store, std::string key) {
  CO_TRY(auto entry, co_await store.get(key));
  if (!entry) co_return Error(EUCLEAN).with("{} is missing in the cluster's store", key);
  CO_TRY(auto value, json::parse(entry->value));
  CO_TRY(auto fields, json::as_object(value));
  KeyAndCertificate pair;
  CO_TRY(pair.key_pem, json::string_field(fields, "key"));
  CO_TRY(pair.certificate_pem, json::string_field(fields, "certificate"));
  co_return pair;
}

Result<KeyAndCertificate> issue_node(const KeyAndCertificate& ca, const std::string& node, std::int64_t now) {
  TRY(auto request, make_certificate_request());
  KeyAndCertificate pair;
  pair.key_pem = request.key_pem;
  TRY(pair.certificate_pem, issue_certificate(ca, request.request_pem, CertificateRole::kNode, node, now));
  return pair;
}

}  // namespace

std::shared_ptr<const TlsIdentity> NodeIdentity::listener_identity() const {
  auto identity = std::make_shared<TlsIdentity>();
  // The CA travels with the certificate: who joins knows only its fingerprint.
  identity->certificate_pem = certificate.certificate_pem + ca.certificate_pem;
  identity->key_pem = certificate.key_pem;
  identity->trusted_ca_pem = ca.certificate_pem;
  identity->accept_strangers = true;
  return identity;
}

std::shared_ptr<const TlsIdentity> NodeIdentity::connector_identity() const {
  auto identity = std::make_shared<TlsIdentity>();
  identity->certificate_pem = certificate.certificate_pem;
  identity->key_pem = certificate.key_pem;
  identity->trusted_ca_pem = ca.certificate_pem;
  return identity;
}

bool NodeIdentity::is_me(std::string_view host) const {
  if (host == node.name || host == "localhost") return true;
  for (const auto& address : node.addresses) {
    auto endpoint = Endpoint::parse(address);
    if (endpoint && endpoint->host == host) return true;
  }
  return false;
}

Task<Result<void>> init_cluster(Seams& seams, ClusterStore& store, ClusterInit init) {
  CO_TRY(check_name("cluster name", init.name));
  CO_TRY(check_name("node name", init.node));
  auto before = co_await get_cluster(store);
  if (before) {
    co_return Error(EEXIST).with("this node is in the cluster '{}' already", before->value.name);
  }
  if (!before.failed_with(ENOENT)) co_return before.error();

  CO_TRY(auto ca, make_ca(init.name, now_s(seams)));
  CO_TRY(auto certificate, issue_node(ca, init.node, now_s(seams)));
  CO_TRY(auto facts, read_certificate(ca.certificate_pem));
  auto now_ns = static_cast<std::uint64_t>(seams.clock.wall_time().count());
  ClusterInfo cluster{.id = Gfid::random(seams.random, 0),
                      .name = init.name,
                      .ca_fingerprint = facts.fingerprint,
                      .listen = init.listen,
                      .created_ns = now_ns};
  NodeInfo node{.name = init.node,
                .id = Gfid::random(seams.random, 0),
                .addresses = init.addresses,
                .joined_ns = now_ns};
  ClusterTransaction transaction;
  transaction.expect("cluster/self", 0)
      .put("cluster/self", json::text(to_json(cluster)))
      .put("node/" + node.name, json::text(to_json(node)))
      .put(kCaKey, encode(ca))
      .put(kNodeKey, encode(certificate));
  CO_TRY(co_await store.commit(std::move(transaction)));
  co_return Result<void>();
}

Task<Result<NodeIdentity>> load_identity(Seams& seams, ClusterStore& store) {
  NodeIdentity identity;
  CO_TRY(auto cluster, co_await get_cluster(store));
  identity.cluster = std::move(cluster.value);
  CO_TRY(auto nodes, co_await list_nodes(store));
  // This store holds a cluster of one node.
  if (nodes.size() != 1) co_return Error(EUCLEAN).with("the cluster's store names {} nodes", nodes.size());
  identity.node = std::move(nodes.front());
  CO_TRY(identity.ca, co_await load_pair(store, kCaKey));
  CO_TRY(identity.certificate, co_await load_pair(store, kNodeKey));
  CO_TRY(auto facts, read_certificate(identity.certificate.certificate_pem));
  auto lifetime_s = facts.not_after_s - facts.not_before_s;
  if (facts.not_after_s - now_s(seams) < lifetime_s / 3) {
    CO_TRY(identity.certificate, issue_node(identity.ca, identity.node.name, now_s(seams)));
    CO_TRY(co_await store.commit(ClusterTransaction().put(kNodeKey, encode(identity.certificate))));
    log::info("the node's certificate was renewed");
  }
  co_return identity;
}

}  // namespace polder
