// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/layers/barrier/barrier_layer.h"

#include <fcntl.h>

#include "base/concurrency.h"
#include "base/hlc.h"
#include "base/random.h"
#include "core-volume/layer/conformance/conformance.h"
#include "core-volume/layer/conformance/sim_stack.h"
#include "core-volume/layers/faults/faults_layer.h"
#include "core-volume/layers/memory/memory_layer.h"

namespace polder {
namespace {

using namespace std::chrono_literals;

/// barrier over faults (which keep changes in flight for a while) over memory.
class BarrierStack : public SimStack {
 public:
  FileOps& ops() override { return barrier; }

 private:
  HlcClock hlc_{loop.clock()};
  std::unique_ptr<Random> random_ = make_seeded_random(1);
  MemoryLayer memory_{hlc_, *random_};

 public:
  FaultsLayer faults{memory_, loop.clock()};
  BarrierLayer barrier{faults, loop.clock()};
};

INSTANTIATE_TEST_SUITE_P(Barrier, Conformance,
                         testing::Values(conformance_target<BarrierStack>("barrier_memory")),
                         conformance_name);

template <typename T>
Task<void> keep(Task<Result<T>> task, std::optional<int>& code) {
  Result<T> result = co_await std::move(task);
  code = code_of(result);
}

struct BarrierTest : testing::Test {
  ~BarrierTest() override { stack.loop.run_until_done(group.stop()); }

  /// Starts the operation; its errno will be in `code`.
  template <typename T>
  void start(Task<Result<T>> task, std::optional<int>& code) {
    group.spawn(stack.loop.executor(), keep(std::move(task), code));
    stack.loop.settle();
  }
  void start_mkdir(std::string_view name, std::optional<int>& code) {
    start(stack.ops().mkdir(ctx, Gfid::root(), name, object), code);
  }
  Result<void> raise(std::uint64_t epoch, nanoseconds limit) {
    return stack.loop.run_until_done(barrier.raise(epoch, limit));
  }

  BarrierStack stack;
  BarrierLayer& barrier = stack.barrier;
  Client c{stack};
  OpContext ctx;
  const NewObject object{.mode = 0700};
  TaskGroup group{"test"};
  std::optional<int> one, two;
};

TEST_F(BarrierTest, HoldsChangesAndLetsReadsPass) {
  const Gfid file = c.file(Gfid::root(), "f", "text");
  must(raise(1, 60s));
  EXPECT_TRUE(barrier.is_up());
  start_mkdir("d", one);
  EXPECT_EQ(one, std::nullopt);
  EXPECT_EQ(barrier.held(), 1u);
  EXPECT_EQ(must(c.lookup(Gfid::root(), "f")).gfid, file);
  EXPECT_EQ(c.content(file), "text");
  EXPECT_EQ(code_of(c.lookup(Gfid::root(), "d")), ENOENT);
  stack.loop.run_for(3s);
  EXPECT_EQ(one, std::nullopt);
  EXPECT_EQ(must(barrier.lower(1)), 3s);
  stack.loop.settle();
  EXPECT_EQ(one, 0);
  EXPECT_EQ(barrier.held(), 0u);
  EXPECT_EQ(code_of(c.lookup(Gfid::root(), "d")), 0);
}

TEST_F(BarrierTest, OpenWithTruncationIsAChange) {
  const Gfid file = c.file(Gfid::root(), "f", "text");
  must(raise(1, 60s));
  start(stack.ops().open(ctx, file, O_RDWR), one);
  start(stack.ops().open(ctx, file, O_RDWR | O_TRUNC), two);
  EXPECT_EQ(one, 0);
  EXPECT_EQ(two, std::nullopt);
  must(barrier.lower(1));
}

TEST_F(BarrierTest, WaitsForChangesInFlight) {
  stack.faults.arm({.kind = OpKind::kMkdir, .error = 0, .delay = 5s});
  start_mkdir("slow", one);
  EXPECT_EQ(barrier.in_flight(), 1u);
  std::optional<int> raised;
  start(barrier.raise(1, 60s), raised);
  EXPECT_EQ(raised, std::nullopt);
  start_mkdir("late", two);
  EXPECT_EQ(barrier.held(), 1u) << "new changes are held while the old ones drain";
  stack.loop.run_for(5s);
  EXPECT_EQ(one, 0);
  EXPECT_EQ(raised, 0);
  EXPECT_EQ(two, std::nullopt);
  must(barrier.lower(1));
  stack.loop.settle();
  EXPECT_EQ(two, 0);
}

Task<Result<void>> raise_after(Clock& clock, BarrierLayer& barrier, nanoseconds pause) {
  CO_TRY(co_await clock.sleep_for(pause));
  co_return co_await barrier.raise(1, 60s);
}

Task<Result<FileAttr>> mkdir_after(Clock& clock, FileOps& ops, nanoseconds pause) {
  CO_TRY(co_await clock.sleep_for(pause));
  const OpContext ctx;
  const NewObject object{.mode = 0700};
  co_return co_await ops.mkdir(ctx, Gfid::root(), "held", object);
}

TEST_F(BarrierTest, TheLastChangeEndsJustWhenTheRaiseBeginsToWait) {
  std::optional<int> raised;
  start(raise_after(stack.loop.clock(), barrier, 5s), raised);
  stack.faults.arm({.kind = OpKind::kMkdir, .error = 0, .delay = 5s});
  start_mkdir("slow", one);
  stack.loop.run_for(5s);
  EXPECT_EQ(one, 0);
  EXPECT_EQ(raised, 0);
}

TEST_F(BarrierTest, TheBarrierFallsJustWhenAChangeBeginsToWait) {
  must(raise(1, 60s));
  start(mkdir_after(stack.loop.clock(), barrier, 5s), one);
  struct Lower {
    static Task<Result<void>> after(Clock& clock, BarrierLayer& barrier, nanoseconds pause) {
      CO_TRY(co_await clock.sleep_for(pause));
      CO_TRY(barrier.lower(1));
      co_return Result<void>();
    }
  };
  start(Lower::after(stack.loop.clock(), barrier, 5s), two);
  stack.loop.run_for(5s);
  EXPECT_EQ(two, 0);
  EXPECT_EQ(one, 0);
}

TEST_F(BarrierTest, GivesUpWhenChangesInFlightDoNotEnd) {
  stack.faults.arm({.kind = OpKind::kMkdir, .error = 0, .delay = 100s});
  start_mkdir("slow", one);
  std::optional<int> raised;
  start(barrier.raise(1, 10s), raised);
  start_mkdir("late", two);
  stack.loop.run_for(10s);
  EXPECT_EQ(raised, ETIMEDOUT);
  EXPECT_EQ(two, 0);
  EXPECT_FALSE(barrier.is_up());
  EXPECT_EQ(code_of(barrier.lower(1)), ETIMEDOUT);
  stack.loop.run_for(100s);
  EXPECT_EQ(one, 0);
  must(raise(2, 10s));
}

TEST_F(BarrierTest, FallsByItself) {
  must(raise(1, 10s));
  start_mkdir("d", one);
  stack.loop.run_for(9s);
  EXPECT_EQ(one, std::nullopt);
  stack.loop.run_for(1s);
  EXPECT_EQ(one, 0) << "late, not failed";
  EXPECT_EQ(code_of(barrier.lower(1)), ETIMEDOUT) << "so that the snapshot is discarded";
}

TEST_F(BarrierTest, FallsByItselfWithNobodyWaiting) {
  must(raise(1, 10s));
  stack.loop.run_for(10s);
  EXPECT_FALSE(barrier.is_up());
  EXPECT_EQ(code_of(barrier.lower(1)), ETIMEDOUT);
  must(raise(2, 10s));
  EXPECT_EQ(code_of(barrier.lower(1)), EINVAL);
  must(barrier.lower(2));
}

TEST_F(BarrierTest, OneAtATime) {
  must(raise(1, 60s));
  EXPECT_EQ(code_of(raise(2, 60s)), EBUSY);
  EXPECT_EQ(code_of(raise(1, 60s)), EBUSY);
  EXPECT_EQ(code_of(barrier.lower(2)), EINVAL);
  EXPECT_TRUE(barrier.is_up());
  must(barrier.lower(1));
  EXPECT_EQ(code_of(barrier.lower(1)), EINVAL);
  must(raise(3, 60s));
}

TEST_F(BarrierTest, HeldChangesCanBeCancelled) {
  must(raise(1, 60s));
  start_mkdir("d", one);
  stack.loop.run_until_done(group.stop());
  EXPECT_EQ(one, ECANCELED);
  EXPECT_EQ(barrier.held(), 0u);
  must(barrier.lower(1));
  EXPECT_EQ(code_of(c.lookup(Gfid::root(), "d")), ENOENT);
}

TEST_F(BarrierTest, CancelledRaiseLowers) {
  stack.faults.arm({.kind = OpKind::kMkdir, .error = 0, .delay = 5s});
  TaskGroup slow("slow change");
  slow.spawn(stack.loop.executor(), keep(stack.ops().mkdir(ctx, Gfid::root(), "slow", object), two));
  std::optional<int> raised;
  start(barrier.raise(1, 60s), raised);
  stack.loop.run_until_done(group.stop());
  EXPECT_EQ(raised, ECANCELED);
  EXPECT_FALSE(barrier.is_up());
  stack.loop.run_until_done(slow.wait_idle());
  EXPECT_EQ(two, 0);
}

TEST_F(BarrierTest, ManyHeldChangesAllGoOn) {
  must(raise(1, 60s));
  std::vector<std::optional<int>> codes(200);
  std::vector<std::string> names;
  for (std::size_t i = 0; i < codes.size(); ++i) names.push_back(fmt::format("d{}", i));
  for (std::size_t i = 0; i < codes.size(); ++i) start_mkdir(names[i], codes[i]);
  EXPECT_EQ(barrier.held(), 200u);
  must(barrier.lower(1));
  stack.loop.settle();
  for (const auto& code : codes) EXPECT_EQ(code, 0);
  EXPECT_EQ(barrier.in_flight(), 0u);
}

}  // namespace
}  // namespace polder
