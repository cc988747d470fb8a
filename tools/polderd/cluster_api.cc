// SPDX-License-Identifier: GPL-3.0-or-later
// Routes of the cluster: init, status, tokens.
#include "base/clock.h"
#include "base/coro.h"
#include "core-volume/cluster/tokens.h"
#include "core-volume/cluster/units.h"
#include "tools/polderd/addresses.h"
#include "tools/polderd/daemon.h"

namespace polder {

namespace {

json::array texts(const std::vector<std::string>& from) {
  return json::array(from.begin(), from.end());
}

Result<void> need_cluster(const Daemon& daemon) {
  if (daemon.identity().ready()) return {};
  return Error(ENOTCONN).with("this node is in no cluster yet; type: polder cluster init");
}

Task<Result<json::value>> init(Daemon& daemon, const AdminRequest& request) {
  ClusterInit init;
  CO_TRY(init.name, json::string_field_or(request.body, "name", daemon.options().cluster));
  CO_TRY(init.node, json::string_field_or(request.body, "node", machine_name()));
  auto listen = fmt::format("0.0.0.0:{}", Endpoint::kDefaultPort);
  CO_TRY(init.listen, json::string_field_or(request.body, "listen", listen));
  CO_TRY(auto endpoint, Endpoint::parse(init.listen));
  if (endpoint.port == 0) co_return Error(EINVAL).with("a port is needed in '{}'", init.listen);
  init.listen = endpoint.text();
  init.addresses = reachable_addresses(endpoint);
  CO_TRY(co_await daemon.init_cluster(std::move(init)));
  const auto& identity = daemon.identity();
  co_return json::object{{"name", identity.cluster.name},
                         {"id", identity.cluster.id.hex()},
                         {"node", identity.node.name},
                         {"listen", identity.cluster.listen},
                         {"addresses", texts(identity.node.addresses)},
                         {"ca_fingerprint", identity.cluster.ca_fingerprint}};
}

Task<Result<json::value>> status(Daemon& daemon) {
  json::object out{{"initialized", daemon.identity().ready()},    {"version", POLDER_VERSION},
                   {"started", format_time(daemon.started_ns())}, {"state_dir", daemon.options().state_dir},
                   {"run_dir", daemon.options().run_dir},         {"degraded", texts(daemon.degraded())}};
  if (!daemon.identity().ready()) co_return out;
  const auto& identity = daemon.identity();
  out["name"] = identity.cluster.name;
  out["id"] = identity.cluster.id.hex();
  out["ca_fingerprint"] = identity.cluster.ca_fingerprint;
  out["store"] = "SQLite";
  CO_TRY(auto facts, read_certificate(identity.certificate.certificate_pem));
  out["certificate_expires"] = format_time(static_cast<std::uint64_t>(facts.not_after_s) * 1'000'000'000);
  out["nodes"] = json::array{json::object{{"name", identity.node.name},
                                          {"id", identity.node.id.hex()},
                                          {"listen", identity.cluster.listen},
                                          {"addresses", texts(identity.node.addresses)},
                                          {"state", "online"}}};
  CO_TRY(auto volumes, co_await list_volumes(daemon.node().store));
  out["volumes"] = volumes.size();
  out["volumes_running"] = daemon.node().volumes.running_names().size();
  co_return out;
}

Task<Result<json::value>> token(Daemon& daemon, const AdminRequest& request) {
  CO_TRY(need_cluster(daemon));
  TokenRequest wanted;
  CO_TRY(auto role, json::string_field_or(request.body, "role", "client"));
  CO_TRY(wanted.role, parse_token_role(role));
  CO_TRY(wanted.volume, json::string_field_or(request.body, "volume", ""));
  CO_TRY(auto ttl_text, json::string_field_or(request.body, "ttl", "1h"));
  CO_TRY(auto ttl, parse_duration(ttl_text));
  wanted.ttl = std::chrono::duration_cast<std::chrono::seconds>(ttl);
  if (wanted.role == TokenRole::kNode) {
    co_return Error(EOPNOTSUPP)
        .with("clusters of several nodes are not in this version; roles: client, site");
  }
  if (wanted.role == TokenRole::kSite && wanted.volume.empty()) {
    co_return Error(EINVAL).with("a token for another site is for one volume; add --volume VOL");
  }
  if (!wanted.volume.empty()) {
    CO_TRY(co_await get_volume(daemon.node().store, wanted.volume));
  }
  wanted.addresses = daemon.identity().node.addresses;
  wanted.ca_fingerprint = daemon.identity().cluster.ca_fingerprint;
  CO_TRY(auto made, co_await create_token(daemon.node().seams, daemon.node().store, wanted));
  co_return json::object{
      {"token", made.text()},
      {"role", to_string(made.role)},
      {"volume", made.volume},
      {"expires", format_time(static_cast<std::uint64_t>(made.expires_s) * 1'000'000'000)}};
}

}  // namespace

void add_cluster_routes(AdminApi& api, Daemon& daemon) {
  api.add("POST", "/v1/cluster/init",
          [&daemon](const AdminRequest& request) { return init(daemon, request); });
  api.add("GET", "/v1/cluster", [&daemon](const AdminRequest&) { return status(daemon); });
  api.add("POST", "/v1/cluster/token",
          [&daemon](const AdminRequest& request) { return token(daemon, request); });
}

}  // namespace polder
