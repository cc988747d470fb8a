// SPDX-License-Identifier: GPL-3.0-or-later
// RpcWorld: a volume in memory behind a server, and clients of it, on virtual time. For tests of the rpc.
#pragma once
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/concurrency.h"
#include "base/hlc.h"
#include "base/random.h"
#include "base/seams.h"
#include "base/workers.h"
#include "core-volume/layers/leases/leases_layer.h"
#include "core-volume/layers/locks/locks_layer.h"
#include "core-volume/layers/memory/memory_layer.h"
#include "core-volume/rpc/client.h"
#include "core-volume/rpc/pipe_transport.h"
#include "core-volume/rpc/protocol.h"
#include "core-volume/rpc/server.h"
#include "tests/support/loop.h"

namespace polder {

/// Counts what reaches the brick, and can hold operations up.
class Witness : public PassThroughLayer {
 public:
  using PassThroughLayer::PassThroughLayer;

  unsigned looks = 0;  // lookup and getattr
  unsigned mkdirs = 0;
  unsigned opens = 0;
  unsigned releases = 0;
  unsigned ended_sessions = 0;
  std::vector<OpContext> contexts;  // of mkdir
  bool hold = false;                // mkdir waits for let_go()
  Event held;

  Task<Result<FileAttr>> lookup(const OpContext& ctx, Gfid parent, std::string_view name) override;
  Task<Result<FileAttr>> getattr(const OpContext& ctx, Gfid gfid) override;
  Task<Result<FileAttr>> mkdir(const OpContext& ctx, Gfid parent, std::string_view name,
                               const NewObject& object) override;
  Task<Result<Opened>> open(const OpContext& ctx, Gfid gfid, int flags) override;
  Task<Result<void>> release(const OpContext& ctx, Gfid gfid, HandleId handle) override;
  Task<Result<void>> end_session(const OpContext& ctx) override;
  void let_go() {
    hold = false;
    held.notify_all();
  }
};

class ManualInvalidations : public InvalidationSource {
 public:
  void on_invalidation(std::function<void(const Invalidation&)> listener) override {
    listener_ = std::move(listener);
  }
  void tell(const Invalidation& change) {
    if (listener_) listener_(change);
  }

 private:
  std::function<void(const Invalidation&)> listener_;
};

class RpcWorld {
 public:
  RpcWorld();
  ~RpcWorld();

  template <typename T>
  T run(Task<T> task) {
    return loop.run_until_done(std::move(task));
  }
  /// Runs `task` beside the test; result() of what it returns is there when it has ended.
  template <typename T>
  std::shared_ptr<std::optional<T>> begin(Task<T> task) {
    auto result = std::make_shared<std::optional<T>>();
    group.spawn(loop.executor(), keep(std::move(task), result));
    loop.settle();
    return result;
  }

  void start_server();
  void stop_server();
  /// As a new process with the same volume.
  void restart_server() {
    stop_server();
    start_server();
  }
  RpcClientOptions client_options(std::string name = "client");
  std::unique_ptr<RpcClient> make_client(RpcClientOptions options);
  /// Started; fails the test when that fails.
  std::unique_ptr<RpcClient> connect(std::string name = "client");
  void stop(RpcClient& client) { run(client.stop()); }

  static Endpoint endpoint() { return Endpoint::unix_socket("/volume"); }

  SimLoop loop;
  PipeTransport net;
  std::unique_ptr<Disk> disk;
  std::unique_ptr<Random> random = make_seeded_random(7);
  std::unique_ptr<Workers> workers = make_inline_workers();
  HlcClock hlc{loop.clock()};
  Seams seams;
  MemoryLayer memory{hlc, *random};
  LocksLayer locks{memory, loop.clock()};
  Witness brick{locks};
  FileOps* below_leases = nullptr;      // instead of the brick, from the next start on
  std::unique_ptr<LeasesLayer> leases;  // of this server process
  ManualInvalidations invalidations;
  std::shared_ptr<ServedVolume> volume = std::make_shared<ServedVolume>();
  MemorySessionStore sessions;
  RpcServerOptions server_options;
  RpcRole role = RpcRole::kClient;
  bool allowed = true;  // whoever asks
  bool started = true;  // the volume, when a client asks why it is not served
  std::unique_ptr<RpcServer> server;
  std::unique_ptr<Listener> listener;
  TaskGroup group{"test"};
  OpContext ctx{.uid = 1000, .gid = 1000};

 private:
  template <typename T>
  static Task<void> keep(Task<T> task, std::shared_ptr<std::optional<T>> result) {
    result->emplace(co_await std::move(task));
  }
};

}  // namespace polder
