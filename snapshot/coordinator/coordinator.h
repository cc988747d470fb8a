// SPDX-License-Identifier: GPL-3.0-or-later
// SnapshotCoordinator: snapshots as a part of the node daemon. Loop thread only; storage work runs on
// workers. Each operation holds the volume's administrative lock.
//
// What touches storage is announced by an intent in the ClusterStore first. Whatever kills the daemon, its
// next start (recover(), or the volume's own start) takes a creation back, finishes a deletion, and takes a
// restore back or finishes it, depending on whether the prepared copy was complete.
#pragma once
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "core-volume/node/node.h"
#include "snapshot/backend/backend.h"
#include "snapshot/coordinator/record.h"

namespace polder {

struct SnapshotOptions {
  nanoseconds barrier_limit = std::chrono::seconds(10);     // changes are never held for longer
  nanoseconds short_sync = std::chrono::milliseconds(200);  // a pass of the sync before the barrier is short
  int sync_passes = 3;                                      // but no more than these
};

struct CreateSnapshot {
  std::string name;
  std::string volume;
  std::string description;
  bool timestamp = true;
};

/// What a volume's log has.
struct BrickLog {
  std::uint64_t first_index = 0;
  std::uint64_t last_index = 0;
};

/// What a restore would do.
struct RestoreEffects {
  SnapshotRecord snapshot;
  BrickLog log;                       // of the volume, now
  std::vector<std::string> sessions;  // geo-replication of the volume
};

class SnapshotCoordinator {
 public:
  /// `backends` outlives it.
  SnapshotCoordinator(const NodeContext& node, SnapshotBackends& backends, SnapshotOptions options = {});
  ~SnapshotCoordinator();

  /// Registers routes and hooks. Before the volumes are opened.
  void attach();
  /// Before the volumes are opened: finishes or takes back what a killed daemon left. What cannot be settled
  /// is logged, and keeps its volume from starting until it can.
  Task<Result<void>> recover();
  /// After the volumes were opened: serves the activated snapshots again.
  Task<void> open();
  Task<void> close();

  /// EEXIST (the name), ENOTCONN (volume not started), EDQUOT (limit), EOPNOTSUPP and ENOSPC (storage),
  /// ETIMEDOUT (the barrier fell by itself). After an error nothing of it is left.
  Task<Result<SnapshotRecord>> create(CreateSnapshot request);
  Task<Result<std::vector<SnapshotRecord>>> list();
  Task<Result<SnapshotRecord>> get(std::string name);
  /// EALREADY. While it is not activated its clients wait, as those of a stopped volume.
  Task<Result<void>> activate(std::string name);
  Task<Result<void>> deactivate(std::string name);
  /// An activated one is deactivated first; its clients get ESTALE.
  Task<Result<void>> remove(std::string name);
  /// EBUSY while the volume is started. A secondary follows its primary again from there, or by a rescan.
  Task<Result<RestoreEffects>> restore_effects(std::string name);
  /// Returns the snapshot of what was replaced.
  Task<Result<SnapshotRecord>> restore(std::string name);

  /// `volume` "*": for all that have no limits of their own.
  Task<Result<SnapshotLimits>> limits(std::string volume);
  Task<Result<void>> set_limit(std::string volume, std::string key, std::string value);

 private:
  struct Active;  // a snapshot that is served
  using Backend = std::unique_ptr<SnapshotBackend>;

  // coordinator.cc
  Task<Result<Backend>> open_backend(std::string brick_path, std::string place = {});
  Task<Result<Stored<SnapshotRecord>>> find(std::string name);
  Task<Result<std::vector<Stored<SnapshotRecord>>>> records();
  Task<Result<std::uint64_t>> put_intent(const SnapshotIntent& intent, std::uint64_t version);
  Task<Result<void>> outlive_orphans();
  Task<Result<void>> resolve(std::string volume);
  Task<Result<void>> resolve_intent(Stored<SnapshotIntent> intent);
  Task<Result<void>> load_names();
  std::optional<Error> why_absent(const std::string& name) const;
  Task<Result<void>> may_create(std::string volume);
  Task<Result<void>> may_delete(const VolumeInfo& volume);
  Task<Result<std::vector<SnapshotRecord>>> list_of(std::string volume);
  Task<Result<void>> match_pins_of(std::string volume);
  std::string mount_of(const std::string& id) const;

  // create.cc
  Task<Result<void>> check_name_free(std::string name);
  Task<Result<void>> check_limit(std::string volume);
  Task<Result<SnapshotRecord>> create_locked(CreateSnapshot request, std::string name);
  Task<Result<void>> take(VolumeUse& volume, SnapshotBackend& backend, SnapshotRecord& record);
  Task<Result<void>> sync_ahead(Brick& brick);
  Task<Result<void>> behind_barrier(Brick& brick, SnapshotBackend& backend, SnapshotRecord& record);
  Task<Result<void>> publish(const SnapshotRecord& record, std::uint64_t intent_version);
  Task<Result<void>> undo_create(const SnapshotIntent& intent, std::uint64_t version);

  // activate.cc
  Task<Result<void>> activate_locked(Stored<SnapshotRecord> record);
  Task<Result<void>> serve(const SnapshotRecord& record);
  Task<Result<void>> unserve(const SnapshotRecord& record);

  // remove.cc
  Task<Result<void>> finish_remove(const SnapshotIntent& intent, std::uint64_t version);

  // restore.cc
  Task<Result<BrickLog>> settle_brick(const VolumeInfo& volume);
  Task<Result<Stored<VolumeInfo>>> stopped_volume(const SnapshotRecord& record);
  Task<Result<std::vector<std::string>>> georep_sessions(std::string volume);
  Task<Result<SnapshotRecord>> restore_locked(Stored<VolumeInfo> volume, SnapshotRecord record);
  Task<Result<void>> prepare(SnapshotBackend& backend, const SnapshotIntent& intent);
  Task<Result<void>> abandon_restore(const SnapshotIntent& intent, std::uint64_t version);
  Task<Result<SnapshotRecord>> finish_restore(SnapshotIntent intent, std::uint64_t version);

  // routes.cc
  void add_routes();
  json::object describe(const SnapshotRecord& record) const;
  Task<Result<json::value>> answer_create(const AdminRequest& request);
  Task<Result<json::value>> answer_list(const AdminRequest& request);
  Task<Result<json::value>> answer_status(const AdminRequest& request);
  Task<Result<json::value>> answer_effects(const AdminRequest& request);
  Task<Result<json::value>> answer_restore(const AdminRequest& request);
  Task<Result<json::value>> answer_limits(const AdminRequest& request);
  Task<Result<json::value>> answer_set_limit(const AdminRequest& request);

  const NodeContext node_;
  SnapshotBackends& backends_;
  const SnapshotOptions options_;
  std::map<std::string, std::shared_ptr<Active>> active_;  // by name
  std::set<std::string> names_;                            // of all snapshots
};

}  // namespace polder
