// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/layers/stats/stats_layer.h"

#include "base/coro.h"
#include "base/random.h"
#include "core-volume/layer/conformance/conformance.h"
#include "core-volume/layer/pass_through.h"
#include "core-volume/layers/faults/faults_layer.h"
#include "core-volume/layers/memory/memory_layer.h"

namespace polder {
namespace {

class StatsStack : public LoopStack {
 public:
  FileOps& ops() override { return stats; }

 private:
  std::unique_ptr<Clock> clock_ = make_system_clock();
  HlcClock hlc_{*clock_};
  std::unique_ptr<Random> random_ = make_seeded_random(1);
  MemoryLayer memory_{hlc_, *random_};

 public:
  FaultsLayer faults{memory_, *clock_};
  StatsLayer stats{faults, *clock_};
};

INSTANTIATE_TEST_SUITE_P(Stats, Conformance, testing::Values(conformance_target<StatsStack>("stats_memory")),
                         conformance_name);

struct StatsTest : testing::Test {
  StatsStack stack;
  Client c{stack};
  StatsLayer& stats = stack.stats;
  const Gfid root = Gfid::root();
  const OpCounters& of(OpKind kind) { return stats.counters().of(kind); }
};

TEST_F(StatsTest, CountsByKindWithErrorsAndBytes) {
  const Gfid file = c.file(root, "f", std::string(5000, 'x'));
  const HandleId handle = must(c.open(file)).handle;
  (void)must(c.read(file, handle, 0, 4096));
  (void)must(c.read(file, handle, 4096, 4096));
  EXPECT_EQ(code_of(c.lookup(root, "none")), ENOENT);
  must(c.lookup(root, "f"));
  EXPECT_EQ(of(OpKind::kLookup).count, 2u);
  EXPECT_EQ(of(OpKind::kLookup).errors, 1u);
  EXPECT_EQ(of(OpKind::kLookup).by_errno[0].code, ENOENT);
  EXPECT_EQ(of(OpKind::kRead).count, 2u);
  EXPECT_EQ(of(OpKind::kRead).bytes, 5000u);
  EXPECT_EQ(of(OpKind::kWrite).bytes, 5000u);
  EXPECT_EQ(of(OpKind::kRename).count, 0u);
  EXPECT_EQ(stats.counters().read_sizes.total(), 2u);
  EXPECT_EQ(stats.counters().write_sizes.counts[SizeHistogram::bucket_of(5000)], 1u);
  for (const auto& op : stats.counters().ops) EXPECT_EQ(op.latency.total(), op.count);
}

TEST_F(StatsTest, LatencyIsTheTimeBelow) {
  stack.faults.arm({.kind = OpKind::kMkdir, .error = 0, .delay = std::chrono::milliseconds(20)});
  must(c.mkdir(root, "a"));
  EXPECT_GE(of(OpKind::kMkdir).total_ns, 20'000'000u);
  EXPECT_EQ(of(OpKind::kMkdir).latency.quantile(0), of(OpKind::kMkdir).latency.quantile(1));
  EXPECT_GT(of(OpKind::kMkdir).latency.quantile(1), 20'000'000u);
}

TEST_F(StatsTest, FailuresMoveNoBytes) {
  const Gfid file = c.file(root, "f", "abc");
  const HandleId handle = must(c.open(file)).handle;
  stack.faults.arm({.kind = OpKind::kRead, .error = EIO});
  EXPECT_EQ(code_of(c.read(file, handle, 0, 3)), EIO);
  EXPECT_EQ(of(OpKind::kRead).bytes, 0u);
  EXPECT_TRUE(stats.top(StatsLayer::Top::kRead).by_count(1).empty());
}

TEST_F(StatsTest, TopsTellFilesAndDirectoriesApart) {
  const Gfid file = c.file(root, "f", "abc");
  HandleId handle = 0;
  for (int i = 0; i < 3; ++i) handle = must(c.open(file)).handle;
  (void)must(c.read(file, handle, 0, 3));
  (void)must(c.readdir(root, 0, 100));
  using Top = StatsLayer::Top;
  EXPECT_EQ(stats.top(Top::kOpen).by_count(1).at(0).gfid, file);
  EXPECT_GE(stats.top(Top::kOpen).by_count(1).at(0).count, 4u) << "its creation opened it, too";
  EXPECT_EQ(stats.top(Top::kRead).by_rate(1).at(0).bytes, 3u);
  EXPECT_EQ(stats.top(Top::kOpendir).by_count(1).at(0).gfid, root);
  EXPECT_EQ(stats.top(Top::kReaddir).by_count(1).at(0).gfid, root);
  stats.clear_tops();
  EXPECT_TRUE(stats.top(Top::kOpen).by_count(1).empty());
}

TEST_F(StatsTest, AProfileIsADifference) {
  must(c.mkdir(root, "before"));
  EXPECT_FALSE(stats.profiling());
  stats.start_profile();
  must(c.mkdir(root, "a"));
  EXPECT_EQ(stats.profile(true).cumulative.of(OpKind::kMkdir).count, 1u);
  must(c.mkdir(root, "b"));
  const auto peeked = stats.profile(false);
  EXPECT_EQ(peeked.cumulative.of(OpKind::kMkdir).count, 2u);
  EXPECT_EQ(peeked.interval.of(OpKind::kMkdir).count, 1u);
  EXPECT_EQ(peeked.interval_number, 1u);
  EXPECT_EQ(stats.profile(true).interval.of(OpKind::kMkdir).count, 1u) << "peeking ended nothing";
  EXPECT_EQ(stats.profile(true).interval.of(OpKind::kMkdir).count, 0u);
  EXPECT_EQ(of(OpKind::kMkdir).count, 3u) << "the counters themselves never go back";
  stats.stop_profile();
  EXPECT_FALSE(stats.profiling());
}

/// Looks at the layer while an operation is below it.
class Peeking : public PassThroughLayer {
 public:
  using PassThroughLayer::PassThroughLayer;
  Task<Result<FileAttr>> getattr(const OpContext& ctx, Gfid gfid) override {
    seen = stats->under_way(10);
    co_return co_await PassThroughLayer::getattr(ctx, gfid);
  }
  StatsLayer* stats = nullptr;
  std::vector<StatsLayer::UnderWay> seen;
};

class PeekingStack : public StatsStack {
 public:
  FileOps& ops() override { return watched; }
  PeekingStack() { peeking.stats = &watched; }

 private:
  std::unique_ptr<Clock> clock_ = make_system_clock();

 public:
  Peeking peeking{stats};
  StatsLayer watched{peeking, *clock_};
};

TEST(StatsUnderWay, AnOperationIsListedWhileItRuns) {
  PeekingStack stack;
  Client client(stack, 42);
  must(client.getattr(Gfid::root()));
  ASSERT_EQ(stack.peeking.seen.size(), 1u);
  EXPECT_EQ(stack.peeking.seen[0].kind, OpKind::kGetattr);
  EXPECT_EQ(stack.peeking.seen[0].gfid, Gfid::root());
  EXPECT_EQ(stack.peeking.seen[0].session, 42u);
  EXPECT_GE(stack.peeking.seen[0].age.count(), 0);
  EXPECT_EQ(stack.watched.under_way_count(), 0u);
}

}  // namespace
}  // namespace polder
