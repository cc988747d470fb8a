// SPDX-License-Identifier: GPL-3.0-or-later
// Members: who has joined with a token, kept in memory and in step with the store, so that an rpc connection
// can be judged at once. Loop thread only.
#pragma once
#include <map>
#include <optional>
#include <string>

#include <boost/asio/any_io_executor.hpp>

#include "base/concurrency.h"
#include "base/transport.h"
#include "core-volume/cluster/cluster_store.h"
#include "core-volume/rpc/server.h"

namespace polder {

class Members {
 public:
  /// `store` outlives it.
  Members(ClusterStore& store, const boost::asio::any_io_executor& executor);

  /// Loads, and follows from now on.
  Task<Result<void>> start();
  Task<void> stop();
  /// Knows afterwards what is in the store now. Otherwise it comes a moment after the commit.
  Task<Result<void>> refresh();

  /// What `peer` may be to `volume`. EACCES says why not.
  Result<RpcRole> role(const PeerIdentity& peer, const std::string& volume) const;
  /// The volume that a member's token was bound to; empty: any. nullopt: not a member (any more).
  std::optional<std::string> bound_volume(const std::string& common_name) const;

 private:
  Task<void> follow();

  ClusterStore& store_;
  boost::asio::any_io_executor executor_;
  std::map<std::string, std::string> volume_of_;  // common name → volume
  std::uint64_t revision_ = 0;
  TaskGroup tasks_{"members"};
};

}  // namespace polder
