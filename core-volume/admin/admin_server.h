// SPDX-License-Identifier: GPL-3.0-or-later
// AdminServer: answers HTTP on connections, by the routes of an AdminApi. Loop thread only.
#pragma once
#include <memory>

#include "base/clock.h"
#include "base/concurrency.h"
#include "base/transport.h"
#include "core-volume/admin/admin_api.h"

namespace polder {

class AdminServer {
 public:
  /// All given outlive the server.
  AdminServer(Clock& clock, const boost::asio::any_io_executor& executor, const AdminApi& api);
  ~AdminServer();
  AdminServer(const AdminServer&) = delete;

  /// Takes over an accepted connection. Strangers get few connections and little time.
  void serve(std::unique_ptr<Stream> stream);
  /// Closes all connections; returns when nothing runs. Call before destruction.
  Task<void> stop();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace polder
