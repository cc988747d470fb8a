// SPDX-License-Identifier: GPL-3.0-or-later
// Round trips of an operation that does nothing, between two threads with a loop each: unix socket and TLS,
// one and sixteen in flight, sleeping and with a busy poll. Compare within one run: machines and moments
// differ.
//
//   rpc_bench [--benchmark_filter=unix]
#include <benchmark/benchmark.h>
#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <future>
#include <thread>

#include "base/concurrency.h"
#include "base/coro.h"
#include "base/disk.h"
#include "base/hlc.h"
#include "base/log.h"
#include "base/random.h"
#include "base/workers.h"
#include "core-volume/layers/memory/memory_layer.h"
#include "core-volume/rpc/client.h"
#include "core-volume/rpc/loop.h"
#include "core-volume/rpc/protocol.h"
#include "core-volume/rpc/server.h"
#include "tests/support/test_ca.h"

namespace polder {
namespace {

/// A process's world, on a thread of its own.
class Side {
 public:
  explicit Side(std::chrono::microseconds busy_poll)
      : thread_([this, busy_poll] { run_loop(context, busy_poll); }) {}
  ~Side() {
    guard_.reset();
    context.stop();
    thread_.join();
  }
  template <typename T>
  T run(Task<T> task) {
    std::promise<void> done;
    std::optional<std::conditional_t<std::is_void_v<T>, int, T>> result;
    asio::co_spawn(context, keep(std::move(task), result), [&](const std::exception_ptr& failure) {
      if (failure) log::fatal("exception in the benchmark");
      done.set_value();
    });
    done.get_future().wait();
    if constexpr (!std::is_void_v<T>) return std::move(*result);
  }

  asio::io_context context{1};
  std::unique_ptr<Clock> clock = make_system_clock();
  std::unique_ptr<Random> random = make_system_random();
  std::unique_ptr<Disk> disk = make_kernel_disk();
  std::unique_ptr<Transport> transport = make_socket_transport();
  std::unique_ptr<Workers> workers = make_inline_workers();
  HlcClock hlc{*clock};
  Seams seams{*clock, *random, *disk, *transport, *workers, hlc};
  TaskGroup group{"bench"};

 private:
  template <typename T, typename R>
  static Task<void> keep(Task<T> task, std::optional<R>& result) {
    co_await asio::this_coro::throw_if_cancelled(false);
    if constexpr (std::is_void_v<T>) {
      co_await std::move(task);
      result.emplace();
    } else {
      result.emplace(co_await std::move(task));
    }
  }

  asio::executor_work_guard<asio::io_context::executor_type> guard_ = asio::make_work_guard(context);
  std::thread thread_;
};

RpcServerOptions server_options() {
  RpcServerOptions options;
  options.role = [](const PeerIdentity&, const std::string&) -> Result<RpcRole> { return RpcRole::kClient; };
  options.why_absent = [](const std::string&) { return Error(ENOENT); };
  return options;
}

Task<Result<void>> many(FileOps& ops, std::uint64_t count) {
  OpContext ctx;
  for (std::uint64_t i = 0; i < count; ++i) {
    CO_TRY(co_await ops.getattr(ctx, Gfid::root()));
  }
  co_return Result<void>();
}

Task<Result<void>> burst(FileOps& ops, std::uint64_t count, std::size_t in_flight) {
  std::vector<Task<Result<void>>> tasks;
  for (std::size_t i = 0; i < in_flight; ++i) tasks.push_back(many(ops, count));
  for (auto& outcome : co_await fan_out(std::move(tasks))) {
    CO_TRY(std::move(outcome));
  }
  co_return Result<void>();
}

void round_trips(benchmark::State& state, bool tls) {
  const auto in_flight = static_cast<std::size_t>(state.range(0));
  const std::chrono::microseconds busy_poll(state.range(1));
  log::configure("rpc_bench", log::Level::kError);
  TestCa ca("bench");
  auto node = std::make_shared<const TlsIdentity>(ca.issue("node:bench"));
  auto me = std::make_shared<const TlsIdentity>(ca.issue("client:bench"));
  const auto at = tls ? Endpoint{Endpoint::Kind::kTls, "127.0.0.1", 0}
                      : Endpoint::unix_socket(fmt::format("/tmp/polder-bench-{}.sock", ::getpid()));

  Side brick(busy_poll);
  MemoryLayer memory(brick.hlc, *brick.random);
  MemorySessionStore sessions;
  RpcServer server(brick.seams, brick.context.get_executor(), sessions, server_options());
  auto volume = std::make_shared<ServedVolume>();
  volume->name = "vol";
  volume->ops = &memory;
  auto listener = brick.run(brick.transport->listen(at, {kRpcProtocol}, tls ? node : nullptr));
  if (!listener || !brick.run(server.add_volume(volume))) return state.SkipWithError("cannot listen");
  asio::post(brick.context,
             [&] { brick.group.spawn(brick.context.get_executor(), server.serve_all(**listener)); });

  Side user(busy_poll);
  RpcClientOptions options;
  options.endpoints = {(*listener)->local()};
  options.identity = tls ? me : nullptr;
  options.volume = "vol";
  RpcClient client(user.seams, user.context.get_executor(), options);
  if (auto started = user.run(client.start()); !started)
    return state.SkipWithError(started.error().message().c_str());

  constexpr std::uint64_t kBatch = 200;
  for (auto _ : state)
    if (auto done = user.run(burst(client, kBatch, in_flight)); !done)
      return state.SkipWithError(done.error().message().c_str());
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations() * kBatch * in_flight));

  user.run(client.stop());
  asio::post(brick.context, [&] { (*listener)->close(); });
  brick.run(server.stop());
  brick.run(brick.group.stop());
}

void unix_socket(benchmark::State& state) {
  round_trips(state, false);
}
void tls(benchmark::State& state) {
  round_trips(state, true);
}

BENCHMARK(unix_socket)
    ->ArgNames({"in_flight", "busy_poll_us"})
    ->ArgsProduct({{1, 16}, {0, 50}})
    ->UseRealTime();
BENCHMARK(tls)->ArgNames({"in_flight", "busy_poll_us"})->ArgsProduct({{1, 16}, {0, 50}})->UseRealTime();

}  // namespace
}  // namespace polder

BENCHMARK_MAIN();
