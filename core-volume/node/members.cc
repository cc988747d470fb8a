// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/node/members.h"

#include "base/coro.h"
#include "base/log.h"
#include "core-volume/cluster/certificates.h"
#include "core-volume/cluster/records.h"

namespace polder {

Members::Members(ClusterStore& store, const asio::any_io_executor& executor)
    : store_(store), executor_(executor) {}

Task<Result<void>> Members::refresh() {
  CO_TRY(const auto revision, co_await store_.revision());
  CO_TRY(auto records, co_await list_records(store_, "member"));
  std::map<std::string, std::string> loaded;
  for (const auto& [name, record] : records) {
    CO_TRY(auto fields, json::as_object(record.value));
    CO_TRY(auto volume, json::string_field(fields, "volume"));
    loaded[name] = std::move(volume);
  }
  if (revision < revision_) co_return Result<void>();  // another one began later and ended before
  revision_ = revision;
  volume_of_ = std::move(loaded);
  co_return Result<void>();
}

Task<Result<void>> Members::start() {
  CO_TRY(co_await refresh());
  tasks_.spawn(executor_, follow());
  co_return Result<void>();
}

Task<void> Members::stop() {
  co_await tasks_.stop();
}

Task<void> Members::follow() {
  for (;;) {
    auto changed = co_await store_.watch("member/", revision_);
    if (!changed) co_return;
    auto loaded = co_await refresh();
    if (!loaded) {
      log::error("members of the cluster: {}", loaded.error().message());
      co_return;
    }
  }
}

std::optional<std::string> Members::bound_volume(const std::string& common_name) const {
  auto found = volume_of_.find(common_name);
  if (found == volume_of_.end()) return std::nullopt;
  return found->second;
}

Result<RpcRole> Members::role(const PeerIdentity& peer, const std::string& volume) const {
  if (peer.uid) {
    if (*peer.uid == 0) return RpcRole::kClient;
    return Error(EACCES).with("only root may mount through the unix socket");
  }
  if (!peer.authenticated) {
    return Error(EACCES).with("this machine has no certificate of the cluster; type: polder client join");
  }
  TRY(auto who, parse_common_name(peer.common_name));
  if (who.role == CertificateRole::kNode) return RpcRole::kNode;
  if (who.role == CertificateRole::kAdmin) return RpcRole::kAdmin;
  auto bound = bound_volume(peer.common_name);
  if (!bound) return Error(EACCES).with("'{}' is not a member of this cluster any more", peer.common_name);
  if (!bound->empty() && *bound != volume) {
    return Error(EACCES).with("'{}' may use the volume '{}' only", peer.common_name, *bound);
  }
  return who.role == CertificateRole::kGeorep ? RpcRole::kGeorep : RpcRole::kClient;
}

}  // namespace polder
