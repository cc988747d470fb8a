// SPDX-License-Identifier: GPL-3.0-or-later
// NodeContext: everything that a part of the daemon (volumes, geo-replication, snapshots) may use of the node
// it runs in. A part registers its admin routes and its protocol of the TLS port here at start-up.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/concurrency.h"
#include "base/seams.h"
#include "base/transport.h"
#include "core-volume/admin/admin_api.h"
#include "core-volume/cluster/cluster_store.h"
#include "core-volume/cluster/records.h"
#include "core-volume/node/node_identity.h"
#include "core-volume/node/volumes.h"

namespace polder {

/// What is fixed once `cluster init` was done. Shared, since the daemon runs before that, too.
struct NodeContext {
  Seams& seams;
  boost::asio::any_io_executor executor;
  ClusterStore& store;
  AdminApi& api;
  Volumes& volumes;
  const NodeIdentity& identity;  // name, certificates; `identity.ready()` false before cluster init
  std::string state_dir;         // durable files of a part go into a directory of their own below it
  std::string run_dir;           // mounts, sockets
  /// Who takes over connections of the TLS port that speak this ALPN protocol. Peers may be strangers:
  /// check stream->peer(). Register before the port is opened.
  std::map<std::string, std::function<void(std::unique_ptr<Stream>)>>& protocols;
};

}  // namespace polder
