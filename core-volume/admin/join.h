// SPDX-License-Identifier: GPL-3.0-or-later
// Joining: a token's holder proves to be invited and gets a certificate. The caller's key never leaves its
// machine, and it talks only to a server whose CA the token names.
#pragma once
#include <functional>
#include <memory>
#include <string>

#include "base/seams.h"
#include "base/transport.h"
#include "core-volume/admin/admin_api.h"
#include "core-volume/cluster/certificates.h"
#include "core-volume/cluster/tokens.h"

namespace polder {

/// What a joined party keeps.
struct Membership {
  std::string cluster;      // name
  std::string common_name;  // "client:web1"
  std::string volume;       // what the token was bound to, or empty
  std::vector<std::string> addresses;
  std::string key_pem;
  std::string certificate_pem;
  std::string ca_pem;

  std::shared_ptr<const TlsIdentity> identity() const;
};

/// `name`: of this machine or session, [A-Za-z0-9._-]. Tries the token's addresses in turn; once the token
/// was sent there is no second try. EACCES: the daemon's reason, or another CA than the token's.
Task<Result<Membership>> join_cluster(Seams& seams, JoinToken token, std::string name);

/// The other side: adds POST /v1/join to `api`. `ca` and `cluster_name` are copied. `joined` runs between the
/// commit and the answer: whoever has the answer may use it at once.
void add_join_route(AdminApi& api, Seams& seams, ClusterStore& store, KeyAndCertificate ca,
                    std::string cluster_name, std::function<Task<Result<void>>()> joined);

}  // namespace polder
