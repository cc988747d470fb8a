// SPDX-License-Identifier: GPL-3.0-or-later
// polder cluster init|token|status
#include <CLI/CLI.hpp>
#include <array>
#include <ostream>

#include "tools/polder/cli.h"
#include "tools/polder/table.h"

namespace polder {

namespace {

int init(Cli& cli, const std::string& name, const std::string& listen, const std::string& node) {
  json::object body;
  if (!name.empty()) body["name"] = name;
  if (!listen.empty()) body["listen"] = listen;
  if (!node.empty()) body["node"] = node;
  auto made = cli.call("POST", "/v1/cluster/init", body);
  if (!made) return cli.fail(made.error());
  const auto& fields = made->get_object();
  auto next = fmt::format("next: polder volume create VOL {}:/path/to/brick", shown(fields, "node"));
  return cli.done(*made,
                  fmt::format("cluster {} made; this node is {}, listening on {}\n{}", shown(fields, "name"),
                              shown(fields, "node"), shown(fields, "listen"), next));
}

int token(Cli& cli, const std::string& role, const std::string& ttl, const std::string& volume) {
  json::object body{{"role", role}, {"ttl", ttl}};
  if (!volume.empty()) body["volume"] = volume;
  auto made = cli.call("POST", "/v1/cluster/token", body);
  if (!made) return cli.fail(made.error());
  const auto& fields = made->get_object();
  auto status = cli.done(*made, shown(fields, "token"));
  if (!cli.options().json) {
    auto use = role == "site"
                   ? "polder volume geo-replication PRIMARY HOST::SECONDARY create --token-file FILE"
                   : "polder client join --token-file FILE";
    cli.err() << fmt::format("works once, until {}; on the other machine: {}\n", shown(fields, "expires"),
                             use);
  }
  return status;
}

std::string status_text(const json::object& fields) {
  if (!fields.at("initialized").as_bool()) {
    return "polderd runs; this node is in no cluster yet\nnext: polder cluster init\n";
  }
  auto out = facts({{"Cluster", shown(fields, "name")},
                    {"Id", shown(fields, "id")},
                    {"CA", shown(fields, "ca_fingerprint")},
                    {"Store", shown(fields, "store")},
                    {"Version", shown(fields, "version")},
                    {"Volumes", shown(fields, "volumes") + ", running " + shown(fields, "volumes_running")}});
  Table nodes({"NODE", "STATE", "LISTENS", "ADDRESSES"});
  for (const auto& item : fields.at("nodes").as_array()) {
    const auto& node = item.as_object();
    std::string addresses;
    for (const auto& address : node.at("addresses").as_array()) {
      addresses += (addresses.empty() ? "" : " ") + std::string(address.as_string());
    }
    nodes.add({shown(node, "name"), shown(node, "state"), shown(node, "listen"), addresses});
  }
  out += "\n" + nodes.text();
  for (const auto& sentence : fields.at("degraded").as_array()) {
    out += "degraded: " + std::string(sentence.as_string()) + "\n";
  }
  return out;
}

int status(Cli& cli) {
  auto found = cli.call("GET", "/v1/cluster");
  if (!found) return cli.fail(found.error());
  const auto& fields = found->get_object();
  cli.done(*found, status_text(fields));
  return fields.at("degraded").as_array().empty() ? kDone : kDegraded;
}

}  // namespace

void add_cluster_commands(Cli& cli) {
  auto& cluster = cli.group(cli.app(), "cluster", "The cluster that this node is in");

  auto init_words = std::make_shared<std::array<std::string, 3>>();
  auto& init_command = cli.command(
      cluster, "init", "Make this node a cluster of one", "polder cluster init --name east",
      [&cli, init_words] { return init(cli, (*init_words)[0], (*init_words)[1], (*init_words)[2]); });
  init_command.add_option("--name", (*init_words)[0],
                          "Name of the cluster (default: the daemon's --cluster)");
  init_command.add_option("--listen", (*init_words)[1],
                          "ADDR:PORT for other machines (default: 0.0.0.0:24117)");
  init_command.add_option("--node", (*init_words)[2], "Name of this node (default: the machine's)");

  auto token_words =
      std::make_shared<std::array<std::string, 3>>(std::array<std::string, 3>{"client", "1h", ""});
  auto& token_command = cli.command(
      cluster, "token", "A one-time token with which another machine joins",
      "polder cluster token --role client --ttl 10m > token",
      [&cli, token_words] { return token(cli, (*token_words)[0], (*token_words)[1], (*token_words)[2]); });
  token_command.add_option("--role", (*token_words)[0], "node, client or site (default: client)")
      ->check(CLI::IsMember({"node", "client", "site"}));
  token_command.add_option("--ttl", (*token_words)[1], "How long it works: 10m, 1h, 7d (default: 1h)");
  token_command.add_option("--volume", (*token_words)[2], "Only for this volume (needed for role site)");

  cli.command(cluster, "status", "Nodes, store, version, and what is degraded", "polder cluster status",
              [&cli] { return status(cli); });
}

}  // namespace polder
