// SPDX-License-Identifier: GPL-3.0-or-later
// What the client's side of a session tells people about itself.
#include "core-volume/rpc/client_link.h"

namespace polder {

RpcClientStatus ClientLink::status() const {
  RpcClientStatus status;
  status.connected = state_ == State::kReady;
  if (!options_.endpoints.empty()) status.endpoint = options_.endpoints[endpoint_].text();
  status.session = session_;
  status.volume = volume_;
  status.lineage = lineage_;
  status.volume_incarnation = volume_incarnation_;
  status.read_only = read_only_;
  for (const auto& slot : slots_) status.requests += slot.call != nullptr;
  status.last_error = last_error_;
  for (const auto& endpoint : options_.endpoints) status.endpoints.push_back(endpoint.text());
  const auto now = seams_.clock.boot_time();
  status.outages = outages_;
  if (state_ != State::kReady) status.away_for = now - outage_since_;
  status.silent_for = now - heard_at_;
  status.open_handles = handles_.size();
  status.locks = locks_.all().size();
  return status;
}

std::vector<RpcCallInfo> ClientLink::calls(std::size_t most) {
  std::vector<RpcCallInfo> list;
  const auto now = seams_.clock.boot_time();
  const auto* op = wire::Request::descriptor()->FindOneofByName("op");
  for (const auto* call : calls_in_order()) {
    if (list.size() >= most) break;
    const auto* field = call->request.GetReflection()->GetOneofFieldDescriptor(call->request, op);
    list.push_back({.operation = field == nullptr ? "" : field->name(),
                    .sequence = call->request.sequence(),
                    .age = now - call->since,
                    .sent = call->sent,
                    .cancelled = call->cancelled});
  }
  return list;
}

}  // namespace polder
