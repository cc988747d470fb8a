// SPDX-License-Identifier: GPL-3.0-or-later
// Who this node is, and the cluster's CA: made by `cluster init`, loaded at every start.
#pragma once
#include <memory>
#include <string>

#include "base/seams.h"
#include "base/transport.h"
#include "core-volume/cluster/certificates.h"
#include "core-volume/cluster/cluster_store.h"
#include "core-volume/cluster/records.h"

namespace polder {

struct NodeIdentity {
  ClusterInfo cluster;
  NodeInfo node;
  KeyAndCertificate ca;
  KeyAndCertificate certificate;  // "node:NAME"

  bool ready() const { return !node.name.empty(); }
  /// For the TLS port: strangers are let in, to join; who may do what is checked per protocol.
  std::shared_ptr<const TlsIdentity> listener_identity() const;
  /// For connections to other nodes of this cluster.
  std::shared_ptr<const TlsIdentity> connector_identity() const;
  /// Whether `host` (a name or an address, no port) means this node.
  bool is_me(std::string_view host) const;
};

struct ClusterInit {
  std::string name;
  std::string node;                    // this machine's name
  std::string listen;                  // HOST:PORT
  std::vector<std::string> addresses;  // HOST:PORT under which others reach it
};

/// Makes CA, certificates and records in one transaction. EEXIST when the cluster was initialised before.
Task<Result<void>> init_cluster(Seams& seams, ClusterStore& store, ClusterInit init);
/// ENOENT when there is no cluster yet. Renews the node's certificate when a third of its life is left.
Task<Result<NodeIdentity>> load_identity(Seams& seams, ClusterStore& store);

}  // namespace polder
