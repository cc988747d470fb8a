// SPDX-License-Identifier: GPL-3.0-or-later
// The SessionStore of a real node: numbers and tokens of rpc sessions in the cluster's store.
#pragma once
#include "core-volume/cluster/cluster_store.h"
#include "core-volume/rpc/session_store.h"

namespace polder {

class ClusterSessionStore final : public SessionStore {
 public:
  /// `store` outlives it.
  explicit ClusterSessionStore(ClusterStore& store) : store_(store) {}

  Task<Result<std::uint32_t>> add(const std::string& volume, const StoredSession& session) override;
  Task<Result<std::vector<StoredSession>>> list(const std::string& volume) override;
  Task<Result<void>> forget(const std::string& volume, std::uint32_t number) override;

 private:
  ClusterStore& store_;
};

}  // namespace polder
