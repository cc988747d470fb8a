// SPDX-License-Identifier: GPL-3.0-or-later
// What the statistics layer adds to an operation: a layer that does nothing, called with
// and without it; and the table of hot files for itself.
#include <benchmark/benchmark.h>

#include <boost/asio/io_context.hpp>

#include "base/concurrency.h"
#include "base/coro.h"
#include "base/hlc.h"
#include "base/random.h"
#include "core-volume/layer/pass_through.h"
#include "core-volume/layers/memory/memory_layer.h"
#include "core-volume/layers/stats/stats_layer.h"

namespace polder {
namespace {

/// Answers at once, so that only the layers above are measured.
class Instant : public PassThroughLayer {
 public:
  using PassThroughLayer::PassThroughLayer;
  Task<Result<FileAttr>> getattr(const OpContext&, Gfid gfid) override {
    FileAttr attr;
    attr.gfid = gfid;
    co_return attr;
  }
  Task<Result<WriteResult>> write(const OpContext&, Gfid, HandleId, std::uint64_t offset, Buffer,
                                  bool) override {
    co_return WriteResult{offset, {}};
  }
};

struct World {
  std::unique_ptr<Clock> clock = make_system_clock();
  HlcClock hlc{*clock};
  std::unique_ptr<Random> random = make_seeded_random(1);
  MemoryLayer memory{hlc, *random};
  Instant instant{memory};
  StatsLayer stats{instant, *clock};
  OpContext ctx;
  std::vector<Gfid> files = [this] {
    std::vector<Gfid> made;
    for (int i = 0; i < 10000; ++i) made.push_back(Gfid::random(*random, 0));
    return made;
  }();

  /// Which layer on top: the benchmark's argument.
  FileOps& top(bool with_stats) { return with_stats ? static_cast<FileOps&>(stats) : instant; }

  template <typename Body>
  void run(benchmark::State& state, Body body) {
    asio::io_context loop(1);
    auto all = [&]() -> Task<void> {
      std::size_t next = 0;
      for (auto _ : state) co_await body(files[next++ % files.size()]);
    };
    TaskGroup group("benchmark");
    group.spawn(loop.get_executor(), all());
    loop.run();
  }
};

void getattr(benchmark::State& state) {
  World world;
  auto& top = world.top(state.range(0) != 0);
  world.run(state, [&](Gfid gfid) -> Task<void> {
    benchmark::DoNotOptimize(co_await top.getattr(world.ctx, gfid));
  });
}
BENCHMARK(getattr)->ArgName("stats")->Arg(0)->Arg(1);

void write(benchmark::State& state) {
  World world;
  auto& top = world.top(state.range(0) != 0);
  const auto data = Buffer::allocate(4096);
  world.run(state, [&](Gfid gfid) -> Task<void> {
    benchmark::DoNotOptimize(co_await top.write(world.ctx, gfid, 1, 0, data, false));
  });
}
BENCHMARK(write)->ArgName("stats")->Arg(0)->Arg(1);

void hot_files(benchmark::State& state) {
  World world;
  HotFiles hot;
  std::size_t next = 0;
  const auto files = static_cast<std::size_t>(state.range(0));
  for (auto _ : state) hot.touch(world.files[next++ % files]);
}
BENCHMARK(hot_files)->ArgName("files")->Arg(1)->Arg(100)->Arg(10000);

}  // namespace
}  // namespace polder

BENCHMARK_MAIN();
