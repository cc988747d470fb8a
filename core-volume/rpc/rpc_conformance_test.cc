// SPDX-License-Identifier: GPL-3.0-or-later
// The conformance suite through client, connection and server. Retries are the client's own business here:
// the suite's are made by hand (rpc_session_test.cc has the real ones).
#include "core-volume/layer/conformance/conformance.h"
#include "core-volume/rpc/rpc_test_support.h"

namespace polder {
namespace {

/// The suite's second session (8) only takes locks: it gets a client of its own for them.
class TwoClients : public PassThroughLayer {
 public:
  TwoClients(FileOps& first, FileOps& second) : PassThroughLayer(first), first_(first), second_(second) {}

  Task<Result<FileLock>> test_lock(const OpContext& ctx, Gfid gfid, const FileLock& lock) override {
    return of(ctx).test_lock(ctx, gfid, lock);
  }
  Task<Result<void>> set_lock(const OpContext& ctx, Gfid gfid, const FileLock& lock, bool wait) override {
    return of(ctx).set_lock(ctx, gfid, lock, wait);
  }

 private:
  FileOps& of(const OpContext& ctx) { return ctx.session == 8 ? second_ : first_; }

  FileOps& first_;
  FileOps& second_;
};

class RpcStack : public Stack {
 public:
  RpcStack() {
    world_.role = RpcRole::kNode;
    client_ = world_.connect();
    other_ = world_.connect();
    ops_ = std::make_unique<TwoClients>(*client_, *other_);
  }
  ~RpcStack() override {
    world_.stop(*client_);
    world_.stop(*other_);
  }
  FileOps& ops() override { return *ops_; }
  void run(std::vector<Task<void>> tasks) override {
    TaskGroup group("operations of a test");
    for (auto& task : tasks) group.spawn(world_.loop.executor(), std::move(task));
    world_.run(group.wait_idle());
  }

 private:
  RpcWorld world_;
  std::unique_ptr<RpcClient> client_;
  std::unique_ptr<RpcClient> other_;
  std::unique_ptr<TwoClients> ops_;
};

INSTANTIATE_TEST_SUITE_P(Rpc, Conformance,
                         testing::Values(conformance_target<RpcStack>("rpc_memory",
                                                                      {.retries = false, .locks = true})),
                         conformance_name);

}  // namespace
}  // namespace polder
