// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/rpc/rpc_test_support.h"

#include "base/disk.h"

namespace polder {

Task<Result<FileAttr>> Witness::lookup(const OpContext& ctx, Gfid parent, std::string_view name) {
  ++looks;
  co_return co_await PassThroughLayer::lookup(ctx, parent, name);
}

Task<Result<FileAttr>> Witness::getattr(const OpContext& ctx, Gfid gfid) {
  ++looks;
  co_return co_await PassThroughLayer::getattr(ctx, gfid);
}

Task<Result<FileAttr>> Witness::mkdir(const OpContext& ctx, Gfid parent, std::string_view name,
                                      const NewObject& object) {
  ++mkdirs;
  contexts.push_back(ctx);
  while (hold) {
    CO_TRY(co_await held.wait());
  }
  co_return co_await PassThroughLayer::mkdir(ctx, parent, name, object);
}

Task<Result<Opened>> Witness::open(const OpContext& ctx, Gfid gfid, int flags) {
  ++opens;
  co_return co_await PassThroughLayer::open(ctx, gfid, flags);
}

Task<Result<void>> Witness::release(const OpContext& ctx, Gfid gfid, HandleId handle) {
  ++releases;
  co_return co_await PassThroughLayer::release(ctx, gfid, handle);
}

Task<Result<void>> Witness::end_session(const OpContext& ctx) {
  ++ended_sessions;
  co_return co_await PassThroughLayer::end_session(ctx);
}

RpcWorld::RpcWorld() : disk(make_kernel_disk()), seams{loop.clock(), *random, *disk, net, *workers, hlc} {
  volume->name = "vol";
  volume->invalidations = &invalidations;
  volume->id = Gfid::root();
  volume->lineage = Gfid::root();
  server_options.role = [this](const PeerIdentity&, const std::string& name) -> Result<RpcRole> {
    if (name == "secret") return Error(EACCES).with("not for you");
    if (!allowed) return Error(EACCES).with("not for now");
    return role;
  };
  server_options.why_absent = [this](const std::string& name) {
    if (name == "vol" && !started) return Error(ENOTCONN).with("volume vol is not started");
    return Error(ENOENT).with("there is no volume {}", name);
  };
  start_server();
}

RpcWorld::~RpcWorld() {
  if (server) stop_server();
  brick.let_go();
  run(group.stop());
}

void RpcWorld::start_server() {
  leases = std::make_unique<LeasesLayer>(loop.clock());
  leases->set_below(below_leases ? *below_leases : brick);
  volume->ops = leases.get();
  volume->leases = leases.get();
  server = std::make_unique<RpcServer>(seams, loop.executor(), sessions, server_options);
  listener = *run(net.listen(endpoint(), {kRpcProtocol}, nullptr));
  if (started) EXPECT_TRUE(run(server->add_volume(volume)));
  group.spawn(loop.executor(), server->serve_all(*listener));
  loop.settle();
}

void RpcWorld::stop_server() {
  listener->close();
  loop.settle();
  run(server->stop());
  server.reset();
  listener.reset();
}

RpcClientOptions RpcWorld::client_options(std::string name) {
  RpcClientOptions options;
  options.endpoints = {endpoint()};
  options.volume = "vol";
  options.client_name = std::move(name);
  return options;
}

std::unique_ptr<RpcClient> RpcWorld::make_client(RpcClientOptions options) {
  return std::make_unique<RpcClient>(seams, loop.executor(), std::move(options));
}

std::unique_ptr<RpcClient> RpcWorld::connect(std::string name) {
  auto client = make_client(client_options(std::move(name)));
  auto begun = run(client->start());
  EXPECT_TRUE(begun) << begun.error().message();
  return client;
}

}  // namespace polder
