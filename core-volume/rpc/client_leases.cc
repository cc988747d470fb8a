// SPDX-License-Identifier: GPL-3.0-or-later
// The client's end of leases: how long they hold, and recalls. A lease holds for a term from the moment at
// which the last request that was answered had been made: the server counts from when that request came to
// it, which is later.
#include <algorithm>

#include "core-volume/rpc/client_link.h"

namespace polder {
bool ClientLink::leases_hold() const {
  return leases_since_ && seams_.clock.boot_time() < *leases_since_ + lease_term_;
}

/// Not by the answer to a request that was sent again: it may be to the first sending, and older than the
/// second.
void ClientLink::prolong_leases(const RpcCall& call) {
  if (call.resent || leases_ended_ || lease_term_.count() == 0) return;
  if (!leases_since_ || *leases_since_ < call.since) leases_since_ = call.since;
}

/// Just before the caller goes on. What was recalled after the reply had come is not granted any more.
void ClientLink::tell_leases(const RpcCall& call) {
  if (call.resent || !call.sent) return;
  if (!leases_ended_ && call.recalls_before == recalls_) call.leases->granted = call.reply.leases();
  if (call.request.has_rename() && call.reply.has_attr())
    if (auto attr = attr_from(call.reply.attr())) call.leases->moved = *attr;
  for (const auto& directory : call.reply.directories()) {
    auto& known = call.leases->directories_known;
    auto attr = attr_from(directory);
    if (attr && known < call.leases->directories.size()) call.leases->directories[known++] = *attr;
  }
}

Result<void> ClientLink::obey(const wire::Notify& notify) {
  if (notify.recalls().empty()) return {};
  std::uint64_t last = 0;
  for (const auto& recall : notify.recalls()) {
    const auto gfid = gfid_from(recall.gfid());
    ++recalls_;
    if (recall_listener) recall_listener(gfid);
    last = std::max(last, recall.number());
  }
  connection_->send(header(RpcFrame::kRecalled, last), ConstBytes{});
  return {};
}

void ClientLink::drop_leases() {
  leases_since_.reset();
  ++recalls_;
  if (recall_listener) recall_listener(Gfid{});
}

}  // namespace polder
