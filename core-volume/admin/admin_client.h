// SPDX-License-Identifier: GPL-3.0-or-later
// AdminClient: calls a node's admin API over a Transport, one connection per call. Loop thread only.
#pragma once
#include <functional>
#include <memory>
#include <string>

#include "base/seams.h"
#include "base/transport.h"
#include "core-volume/cluster/json_fields.h"

namespace polder {

inline constexpr const char* kAdminProtocol = "http/1.1";  // ALPN

class AdminClient {
 public:
  /// `identity` may be null for unix sockets. `transport` outlives the client.
  AdminClient(Transport& transport, Endpoint endpoint, std::shared_ptr<const TlsIdentity> identity = nullptr)
      : transport_(transport), endpoint_(std::move(endpoint)), identity_(std::move(identity)) {}

  /// The answer; or the daemon's error with its code and sentence. ECONNREFUSED, ENOENT, EHOSTUNREACH... with
  /// connected() false: nobody was reached. `on_progress` gets what the handler emits before it ends.
  Task<Result<json::value>> call(std::string method, std::string path, json::object body = {},
                                 std::function<void(const json::value&)> on_progress = nullptr);
  /// Whether the last call reached a daemon.
  bool connected() const { return connected_; }
  const Endpoint& endpoint() const { return endpoint_; }

 private:
  Transport& transport_;
  Endpoint endpoint_;
  std::shared_ptr<const TlsIdentity> identity_;
  bool connected_ = false;
};

}  // namespace polder
