// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/admin/join.h"

#include "base/clock.h"
#include "base/coro.h"
#include "base/log.h"
#include "core-volume/admin/admin_client.h"
#include "core-volume/cluster/records.h"

namespace polder {

namespace {

std::int64_t now_s(Seams& seams) {
  return std::chrono::duration_cast<std::chrono::seconds>(seams.clock.wall_time()).count();
}

CertificateRole role_of(TokenRole role) {
  switch (role) {
    case TokenRole::kNode:
      return CertificateRole::kNode;
    case TokenRole::kClient:
      return CertificateRole::kClient;
    case TokenRole::kSite:
      return CertificateRole::kGeorep;
  }
  return CertificateRole::kClient;
}

Task<Result<json::value>> answer_join(Seams& seams, ClusterStore& store, const KeyAndCertificate& ca,
                                      const std::string& cluster_name,
                                      const std::function<Task<Result<void>>()>& joined,
                                      const AdminRequest& request) {
  CO_TRY(auto secret, json::string_field(request.body, "secret"));
  CO_TRY(auto name, json::string_field(request.body, "name"));
  CO_TRY(auto csr, json::string_field(request.body, "request"));
  CO_TRY(check_name("name of the machine that joins", name));
  // The certificate is made before the token is used up: a bad request does not cost the token.
  CO_TRY(issue_certificate(ca, csr, CertificateRole::kClient, name, now_s(seams)));
  CO_TRY(auto grant, co_await redeem_token(seams, store, secret));
  auto role = role_of(grant.role);
  CO_TRY(auto certificate, issue_certificate(ca, csr, role, name, now_s(seams)));
  auto common_name = fmt::format("{}:{}", to_string(role), name);
  json::object member{{"format", 1},
                      {"role", to_string(role)},
                      {"name", name},
                      {"volume", grant.volume},
                      {"joined_s", now_s(seams)}};
  CO_TRY(co_await store.commit(ClusterTransaction().put("member/" + common_name, json::text(member))));
  CO_TRY(co_await joined());
  log::info("{} has joined", common_name);
  co_return json::object{{"cluster", cluster_name},
                         {"common_name", common_name},
                         {"volume", grant.volume},
                         {"certificate", certificate},
                         {"ca", ca.certificate_pem}};
}

Result<Membership> membership_from(const json::value& answer, const JoinToken& token,
                                   const KeyAndRequest& request) {
  TRY(auto fields, json::as_object(answer));
  Membership out;
  TRY(out.cluster, json::string_field(fields, "cluster"));
  TRY(out.common_name, json::string_field(fields, "common_name"));
  TRY(out.volume, json::string_field(fields, "volume"));
  TRY(out.certificate_pem, json::string_field(fields, "certificate"));
  TRY(out.ca_pem, json::string_field(fields, "ca"));
  TRY(check_name("cluster name", out.cluster));
  TRY(parse_common_name(out.common_name));
  out.key_pem = request.key_pem;
  out.addresses = token.addresses;
  TRY(auto ca, read_certificate(out.ca_pem));
  if (ca.fingerprint != token.ca_fingerprint) {
    return Error(EACCES).with("the node answered with another CA than the token names; do not trust it");
  }
  TRY(check_certificate(out.certificate_pem, out.ca_pem, out.key_pem));
  return out;
}

}  // namespace

std::shared_ptr<const TlsIdentity> Membership::identity() const {
  auto identity = std::make_shared<TlsIdentity>();
  identity->certificate_pem = certificate_pem;
  identity->key_pem = key_pem;
  identity->trusted_ca_pem = ca_pem;
  return identity;
}

Task<Result<Membership>> join_cluster(Seams& seams, JoinToken token, std::string name) {
  CO_TRY(check_name("name of this machine", name));
  if (now_s(seams) >= token.expires_s) {
    co_return Error(EACCES).with("the token has expired; make a new one with 'polder cluster token'");
  }
  CO_TRY(auto request, make_certificate_request());
  auto identity = std::make_shared<TlsIdentity>();
  identity->accept_strangers = true;
  identity->expected_ca_fingerprint = token.ca_fingerprint;
  json::object body{{"secret", token.secret}, {"name", name}, {"request", request.request_pem}};
  Error last(EHOSTUNREACH);
  for (const auto& address : token.addresses) {
    CO_TRY(auto endpoint, Endpoint::parse(address));
    AdminClient client(seams.transport, endpoint, identity);
    auto answer = co_await client.call("POST", "/v1/join", body);
    if (answer) co_return membership_from(*answer, token, request);
    last = std::move(answer).error().with("join at {}", address);
    if (client.connected()) break;
  }
  co_return last;
}

void add_join_route(AdminApi& api, Seams& seams, ClusterStore& store, KeyAndCertificate ca,
                    std::string cluster_name, std::function<Task<Result<void>>()> joined) {
  auto handler = [&seams, &store, ca = std::move(ca), name = std::move(cluster_name),
                  joined = std::move(joined)](const AdminRequest& request) {
    return answer_join(seams, store, ca, name, joined, request);
  };
  api.add("POST", "/v1/join", handler, AdminAccess::kEverybody);
}

}  // namespace polder
