// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/layers/stats/hot_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/random.h"
#include "core-volume/layers/stats/op_counters.h"

namespace polder {
namespace {

using std::chrono::nanoseconds;

struct HotFilesTest : testing::Test {
  std::unique_ptr<Random> random = make_seeded_random(7);
  HotFiles hot;
  Gfid gfid() { return Gfid::random(*random, 0); }
};

TEST_F(HotFilesTest, CountsExactlyWhileThereIsRoom) {
  const auto often = gfid(), seldom = gfid();
  for (int i = 0; i < 5; ++i) hot.touch(often);
  hot.touch(seldom);
  auto top = hot.by_count(10);
  ASSERT_EQ(top.size(), 2u);
  EXPECT_EQ(top[0].gfid, often);
  EXPECT_EQ(top[0].count, 5u);
  EXPECT_EQ(top[0].over, 0u);
  EXPECT_EQ(top[1].count, 1u);
  EXPECT_EQ(hot.by_count(1).size(), 1u);
  hot.clear();
  EXPECT_TRUE(hot.by_count(10).empty());
}

TEST_F(HotFilesTest, AHotFileIsFoundAmongAMillionColdOnes) {
  const auto often = gfid();
  std::uint64_t touched = 0;
  for (int i = 0; i < 1'000'000; ++i) {
    hot.touch(gfid());
    if (i % 100 == 0) {
      hot.touch(often);
      ++touched;
    }
  }
  // Cold files share what passed through their set, 1/512 of everything each; this one has 1/100.
  auto top = hot.by_count(1).at(0);
  EXPECT_EQ(top.gfid, often);
  EXPECT_GE(top.count, touched);
  EXPECT_LE(top.count - top.over, touched) << "what is certain is not more than what was";
}

TEST_F(HotFilesTest, RememberTheFastestOperation) {
  const auto slow = gfid(), fast = gfid(), touched = gfid();
  hot.moved(slow, 4096, std::chrono::milliseconds(4), nanoseconds(1));
  hot.moved(fast, 4096, std::chrono::milliseconds(2), nanoseconds(2));
  hot.moved(fast, 65536, std::chrono::milliseconds(1), nanoseconds(3));
  hot.moved(fast, 4096, std::chrono::milliseconds(4), nanoseconds(4));
  hot.touch(touched);
  auto top = hot.by_rate(10);
  ASSERT_EQ(top.size(), 2u) << "what moved nothing has no rate";
  EXPECT_EQ(top[0].gfid, fast);
  EXPECT_EQ(top[0].best_rate, 65'536'000u);
  EXPECT_EQ(top[0].best_bytes, 65536u);
  EXPECT_EQ(top[0].best_at, nanoseconds(3));
  EXPECT_EQ(top[0].bytes, 73728u);
  EXPECT_EQ(top[1].best_rate, 1'024'000u);
}

TEST(LatencyHistogramTest, BucketsAndQuantiles) {
  LatencyHistogram latency;
  EXPECT_EQ(latency.quantile(0.5), 0u);
  latency.add(0);
  latency.add(1023);
  latency.add(1024);
  latency.add(UINT64_MAX);
  EXPECT_EQ(latency.counts.front(), 2u);
  EXPECT_EQ(latency.counts[1], 1u);
  EXPECT_EQ(latency.counts.back(), 1u);
  EXPECT_EQ(latency.total(), 4u);
  EXPECT_EQ(latency.quantile(0.5), 1024u);
  EXPECT_EQ(latency.quantile(0.75), 2048u);
  for (std::size_t i = 0; i + 1 < LatencyHistogram::kSize; ++i) {
    EXPECT_EQ(LatencyHistogram::bucket_of(LatencyHistogram::limit(i) - 1), i);
    EXPECT_EQ(LatencyHistogram::bucket_of(LatencyHistogram::limit(i)), i + 1);
  }
}

TEST(OpCountersTest, ErrorsByNumberUntilThePlacesAreFull) {
  OpCounters counters;
  for (int code = 1; code <= 20; ++code) counters.failed(code);
  counters.failed(3);
  EXPECT_EQ(counters.errors, 21u);
  EXPECT_EQ(counters.by_errno[2].code, 3);
  EXPECT_EQ(counters.by_errno[2].count, 2u);
  EXPECT_EQ(counters.by_errno.back().code, -1);
  EXPECT_EQ(counters.by_errno.back().count, 13u);
  auto later = counters;
  later.failed(3);
  later.subtract(counters);
  EXPECT_EQ(later.errors, 1u);
  EXPECT_EQ(later.by_errno[2].count, 1u);
}

}  // namespace
}  // namespace polder
