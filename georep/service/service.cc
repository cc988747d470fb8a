// SPDX-License-Identifier: GPL-3.0-or-later
#include "georep/service/service.h"

#include <algorithm>

#include "base/clock.h"
#include "base/coro.h"
#include "base/log.h"
#include "base/on_worker.h"
#include "core-volume/cluster/certificates.h"
#include "georep/protocol/stream.h"

namespace polder::georep {

GeorepService::GeorepService(const NodeContext& node) : node_(node) {}
GeorepService::~GeorepService() = default;

void GeorepService::attach() {
  node_.volumes.add_hooks({
      .started = [this](std::shared_ptr<RunningVolume> volume) { return volume_started(std::move(volume)); },
      .stopping =
          [this](std::shared_ptr<RunningVolume> volume) { return volume_stopping(std::move(volume)); },
      .may_delete = [this](const VolumeInfo& volume) { return may_delete(volume); },
      .may_extend = [this](const VolumeInfo& volume) { return may_delete(volume); },
  });
  node_.protocols[kGeorepProtocol] = [this](std::unique_ptr<Stream> stream) { accept(std::move(stream)); };
  add_routes();
}

Task<void> GeorepService::stop() {
  co_await tasks_.stop();
  while (!running_.empty()) co_await end(running_.begin()->first);
  while (!ending_.empty()) (void)co_await ended_.wait();
}

Task<void> GeorepService::volume_started(std::shared_ptr<RunningVolume> volume) {
  auto relations = co_await list_relations(node_.store);
  if (!relations) {
    log::error("geo-replication of {}: {}", volume->info.name, relations.error().message());
    co_return;
  }
  auto forgotten = co_await forget_deleted(*volume, *relations);
  if (!forgotten) log::error("geo-replication of {}: {}", volume->info.name, forgotten.error().message());
  for (const auto& relation : *relations) {
    if (relation.value.volume == volume->info.name) co_await begin(relation.value, *volume);
  }
}

/// A session may have been deleted while its volume did not run; the log would be kept for it.
Task<Result<void>> GeorepService::forget_deleted(RunningVolume& volume,
                                                 const std::vector<Stored<Relation>>& relations) {
  const auto brick = volume.stack->brick(VolumeStack::kRootSet);
  if (!brick) co_return Result<void>();
  co_return co_await on_worker(node_.seams.workers, [&]() -> Result<void> {
    auto& journal = brick->journal();
    TRY(auto cursors, journal.cursors());
    for (const auto& cursor : cursors) {
      const bool is_left = cursor.name.starts_with(kCursorPrefix) &&
                           std::ranges::none_of(relations, [&](const auto& relation) {
                             return cursor.name == kCursorPrefix + relation.value.session;
                           });
      if (!is_left) continue;
      TRY(journal.drop_cursor(cursor.name));
    }
    return {};
  });
}

Task<void> GeorepService::volume_stopping(std::shared_ptr<RunningVolume> volume) {
  std::vector<std::string> sessions;
  for (const auto& [session, running] : running_) {
    if (running->volume == volume->info.name) sessions.push_back(session);
  }
  for (const auto& session : sessions) co_await end(session);
  // Also those that somebody else is ending: they use the volume's brick until then.
  while (ending_.contains(volume->info.name)) (void)co_await ended_.wait();
}

Task<Result<void>> GeorepService::may_delete(const VolumeInfo& volume) {
  CO_TRY(auto relations, co_await list_relations(node_.store));
  for (const auto& relation : relations) {
    if (relation.value.volume != volume.name) continue;
    co_return Error(EBUSY).with(
        "volume '{}' has a geo-replication session; type: polder volume geo-replication {} {} delete",
        volume.name, volume.name, relation.value.peer_text());
  }
  co_return Result<void>();
}

/// Runs what the relation's state asks for. A failure is kept for status; the volume is served all the same.
Task<void> GeorepService::begin(const Relation& relation, RunningVolume& volume) {
  const bool wanted = relation.side == Side::kSecondary || relation.state == RelationState::kStarted;
  if (!wanted || running_.contains(relation.session)) co_return;
  auto running = std::make_unique<Running>();
  running->volume = relation.volume;
  Result<void> begun;
  if (relation.side == Side::kPrimary) {
    begun = co_await begin_primary(*running, relation, volume);
  } else {
    begun = co_await begin_secondary(*running, relation, volume);
  }
  if (!begun) {
    running->failure = begun.error().message();
    log::error("geo-replication of {}: {}", relation.volume, running->failure);
  }
  running_[relation.session] = std::move(running);
}

Task<Result<std::string>> GeorepService::make_directory(std::string session, std::string name) {
  const std::array<std::string, 3> paths{node_.state_dir + "/georep", node_.state_dir + "/georep/" + session,
                                         node_.state_dir + "/georep/" + session + "/" + name};
  CO_TRY(co_await on_worker(node_.seams.workers, [&]() -> Result<void> {
    for (const auto& path : paths) {
      auto made = node_.seams.disk.mkdir(Disk::kNoDir, path, 0700);
      if (!made && !made.failed_with(EEXIST)) return std::move(made.error()).with("make {}", path);
    }
    return {};
  }));
  co_return paths.back();
}

Task<Result<void>> GeorepService::begin_primary(Running& running, const Relation& relation,
                                                RunningVolume& volume) {
  PrimaryConfig config;
  config.session = relation.session;
  config.generation = relation.generation;
  config.cluster = node_.identity.cluster.name;
  config.volume = relation.volume;
  for (const auto& address : relation.peer_addresses) {
    CO_TRY(auto endpoint, Endpoint::parse(address));
    config.secondary.push_back(std::move(endpoint));
  }
  if (config.secondary.empty()) co_return Error(EINVAL).with("the session has no address of the secondary");
  auto identity = std::make_shared<TlsIdentity>();
  identity->certificate_pem = relation.certificate_pem;
  identity->key_pem = relation.key_pem;
  identity->trusted_ca_pem = relation.peer_ca_pem;
  config.identity = std::move(identity);
  CO_TRY(config.scratch_directory, co_await make_directory(relation.session, "scratch"));
  CO_TRY(need_one_set(volume.info, "geo-replication"));
  auto& brick = volume.stack->root_brick();
  auto is_open = [&brick](const Gfid& gfid) { return brick.ordering().is_open(gfid); };
  running.primary = std::make_unique<PrimarySession>(
      node_.seams, PrimaryBrick{brick.journal(), brick.store(), is_open}, std::move(config));
  co_await running.primary->start();
  co_return Result<void>();
}

Task<Result<void>> GeorepService::begin_secondary(Running& running, const Relation& relation,
                                                  RunningVolume& volume) {
  SecondaryConfig config;
  config.session = relation.session;
  config.generation = relation.generation;
  CO_TRY(config.spool_path, co_await make_directory(relation.session, "spool"));
  CO_TRY(need_one_set(volume.info, "geo-replication"));
  auto& brick = volume.stack->root_brick();
  running.secondary =
      std::make_unique<SecondarySession>(node_.seams, brick.top(), brick.store(), std::move(config));
  co_return co_await running.secondary->start();
}

Task<void> GeorepService::end(std::string session) {
  auto found = running_.find(session);
  if (found == running_.end()) co_return;
  auto running = std::move(found->second);
  running_.erase(found);
  const auto ending = ending_.insert(running->volume);
  if (running->primary) co_await running->primary->stop();
  if (running->secondary) co_await running->secondary->stop();
  co_await running->connections.stop();
  running.reset();
  ending_.erase(ending);
  ended_.notify_all();
}

/// A primary's connection. Its certificate, issued at pairing, names the session.
void GeorepService::accept(std::unique_ptr<Stream> stream) {
  const auto& peer = stream->peer();
  auto who = parse_common_name(peer.common_name);
  if (!peer.authenticated || !who || who->role != CertificateRole::kGeorep) {
    log::warning("geo-replication: a connection of '{}', which is no paired primary, was refused",
                 peer.common_name);
    stream->close();
    return;
  }
  auto found = running_.find(who->name);
  if (found == running_.end() || !found->second->secondary || !found->second->failure.empty()) {
    log::debug("geo-replication: session {} does not run here", who->name);
    stream->close();
    return;
  }
  found->second->connections.spawn(node_.executor, found->second->secondary->serve(std::move(stream)));
}

}  // namespace polder::georep
