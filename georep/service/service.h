// SPDX-License-Identifier: GPL-3.0-or-later
// GeorepService: geo-replication as a part of the node daemon: keeps the relations, runs a session for each
// whose volume runs here, answers the admin routes, takes connections of primaries from the TLS port. Loop
// thread only.
#pragma once
#include <map>
#include <memory>
#include <set>
#include <string>

#include "base/concurrency.h"
#include "core-volume/node/node.h"
#include "georep/primary/session.h"
#include "georep/secondary/session.h"
#include "georep/service/relation.h"

namespace polder::georep {

class GeorepService {
 public:
  explicit GeorepService(const NodeContext& node);
  ~GeorepService();

  /// Registers routes, protocol and hooks. Before the volumes are opened.
  void attach();
  /// Ends all sessions.
  Task<void> stop();

 private:
  struct Running {
    std::string volume;
    std::unique_ptr<PrimarySession> primary;
    std::unique_ptr<SecondarySession> secondary;
    TaskGroup connections{"geo-replication connections"};  // of the secondary
    std::string failure;                                   // why it does not run
  };

  // service.cc: life
  Task<void> volume_started(std::shared_ptr<RunningVolume> volume);
  Task<void> volume_stopping(std::shared_ptr<RunningVolume> volume);
  Task<Result<void>> forget_deleted(RunningVolume& volume, const std::vector<Stored<Relation>>& relations);
  Task<Result<void>> may_delete(const VolumeInfo& volume);
  Task<void> begin(const Relation& relation, RunningVolume& volume);
  Task<Result<void>> begin_primary(Running& running, const Relation& relation, RunningVolume& volume);
  Task<Result<void>> begin_secondary(Running& running, const Relation& relation, RunningVolume& volume);
  Task<void> end(std::string session);
  void accept(std::unique_ptr<Stream> stream);
  Task<Result<std::string>> make_directory(std::string session, std::string name);

  // pairing.cc
  Task<Result<json::value>> create(const AdminRequest& request);
  Task<Result<Relation>> pair_with(const std::string& volume, PeerName peer, const std::string& token_text);
  /// At the first of its addresses that answers.
  Task<Result<void>> call_peer(const Relation& relation, std::string path, json::object body = {});
  Task<Result<json::value>> answer_pair(const AdminRequest& request);
  Task<Result<void>> become_secondary(Relation relation);
  Task<Result<json::value>> answer_unpair(const AdminRequest& request);

  // routes.cc
  void add_routes();
  Task<Result<Stored<Relation>>> find(const AdminRequest& request);
  Task<Result<json::value>> set_state(const AdminRequest& request, RelationState state);
  Task<Result<json::value>> remove(const AdminRequest& request);
  Task<Result<json::value>> status(const AdminRequest& request);
  Task<Result<json::value>> checkpoint(const AdminRequest& request);
  Task<Result<json::value>> verify(const AdminRequest& request);
  Task<Result<json::value>> config(const AdminRequest& request);
  Task<Result<PrimarySession*>> running_primary(const AdminRequest& request);
  json::object describe(const Relation& relation) const;

  const NodeContext node_;
  std::map<std::string, std::unique_ptr<Running>> running_;  // by session
  std::multiset<std::string> ending_;                        // the volumes of sessions that are being ended
  Event ended_;
  TaskGroup tasks_{"geo-replication service"};
};

}  // namespace polder::georep
