// SPDX-License-Identifier: GPL-3.0-or-later
// Daemon: one node of one cluster in this process. Starts in order (state directory, store, sockets, volumes)
// and stops in the reverse order. kill -9 at any time is safe. Loop thread only.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "core-volume/admin/admin_server.h"
#include "core-volume/node/node.h"
#include "georep/service/service.h"
#include "snapshot/coordinator/coordinator.h"

namespace polder {

struct DaemonOptions {
  std::string cluster;
  std::string state_dir;
  std::string run_dir;
  std::string metrics_listen;  // ADDRESS:PORT for scrapers, without TLS; empty: none
};

class Daemon {
 public:
  /// `seams` and `backends` are its world, and outlive it.
  Daemon(Seams& seams, SnapshotBackends& backends, const boost::asio::any_io_executor& executor,
         DaemonOptions options);
  ~Daemon();

  /// Returns once the sockets answer and the volumes have been started. EBUSY: another polderd has the state
  /// directory. After an error stop() is still to be called.
  Task<Result<void>> start();
  Task<void> stop();

  // For the routes.

  /// Makes the cluster and opens its port. EEXIST; EADDRINUSE, EADDRNOTAVAIL: then nothing was made.
  Task<Result<void>> init_cluster(ClusterInit init);
  NodeContext& node() { return *node_; }
  const DaemonOptions& options() const { return options_; }
  const NodeIdentity& identity() const { return identity_; }
  std::uint64_t started_ns() const { return started_ns_; }
  /// What does not work, each a sentence that says what to do. Empty: all is well.
  std::vector<std::string> degraded() const;

 private:
  Task<Result<void>> lock_state_dir();
  Task<Result<void>> open_sockets();
  Task<Result<void>> open_metrics();
  Task<Result<void>> open_cluster();
  Task<Result<void>> open_port();
  Task<Result<void>> try_port(std::string listen);
  Task<void> retry_port();
  Task<void> accept_all(std::shared_ptr<Listener> listener);
  Task<void> accept_scrapers(std::shared_ptr<Listener> listener);
  void hand_over(std::unique_ptr<Stream> stream);
  void add_routes();

  Seams& seams_;
  SnapshotBackends& backends_;
  boost::asio::any_io_executor executor_;
  const DaemonOptions options_;
  NodeIdentity identity_;
  AdminApi api_;
  std::map<std::string, std::function<void(std::unique_ptr<Stream>)>> protocols_;
  DiskFile state_lock_;
  std::unique_ptr<ClusterStore> store_;
  std::unique_ptr<Volumes> volumes_;
  std::unique_ptr<NodeContext> node_;
  std::unique_ptr<georep::GeorepService> georep_;
  std::unique_ptr<SnapshotCoordinator> snapshots_;
  AdminServer admin_;
  AdminApi scraped_;  // all that strangers get who come without TLS
  AdminServer scrapers_;
  std::vector<std::shared_ptr<Listener>> listeners_;
  TaskGroup tasks_{"polderd"};
  std::string port_failure_;
  std::uint64_t started_ns_ = 0;
  bool initialising_ = false;
};

// Routes, by subject.
void add_cluster_routes(AdminApi& api, Daemon& daemon);
void add_volume_routes(AdminApi& api, Daemon& daemon);
void add_option_routes(AdminApi& api, Daemon& daemon);
void add_changelog_routes(AdminApi& api, Daemon& daemon);
void add_doctor_routes(AdminApi& api, Daemon& daemon);
void add_status_routes(AdminApi& api, Daemon& daemon);
void add_usage_routes(AdminApi& api, Daemon& daemon);
void add_dump_routes(AdminApi& api, Daemon& daemon);
void add_metrics_route(AdminApi& api, Daemon& daemon, AdminAccess access);

/// What a volume is, as its routes tell it.
json::object describe_volume(Daemon& daemon, const VolumeInfo& info);
/// A dump of the whole process into a file, whose path is returned.
Task<Result<std::string>> dump_all(Daemon& daemon);
/// Bricks of volumes that are profiled begin to be when they start.
VolumeHooks profile_hooks(Volumes& volumes);

}  // namespace polder
