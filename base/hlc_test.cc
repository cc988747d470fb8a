// SPDX-License-Identifier: GPL-3.0-or-later
#include "base/hlc.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "tests/support/sim_clock.h"

namespace polder {
namespace {

using namespace std::chrono_literals;

std::uint64_t wall(const Clock& clock) {
  return static_cast<std::uint64_t>(clock.wall_time().count());
}

TEST(HlcClock, FollowsTheWallClockAndNeverRepeats) {
  SimClock clock;
  HlcClock hlc(clock);
  auto first = hlc.next();
  EXPECT_EQ(first.ns, wall(clock));
  EXPECT_EQ(hlc.next().ns, first.ns + 1);
  clock.advance_to(1s);
  EXPECT_EQ(hlc.next().ns, wall(clock));
  clock.step_wall(-1h);
  EXPECT_EQ(hlc.next().ns, first.ns + 1'000'000'001);
  EXPECT_EQ(hlc.last().ns, first.ns + 1'000'000'001);
}

TEST(HlcClock, IsAboveWhatItHasSeen) {
  SimClock clock;
  HlcClock hlc(clock);
  Hlc seen{wall(clock) + HlcClock::kMaxAhead_ns};
  ASSERT_TRUE(hlc.observe(seen));
  EXPECT_EQ(hlc.next().ns, seen.ns + 1);
  ASSERT_TRUE(hlc.observe(Hlc{5}));
  EXPECT_EQ(hlc.next().ns, seen.ns + 2);
}

TEST(HlcClock, AStampFromTheFutureIsRefusedAndMovesNothing) {
  SimClock clock;
  HlcClock hlc(clock);
  auto before = hlc.next();
  auto refused = hlc.observe(Hlc{wall(clock) + HlcClock::kMaxAhead_ns + 1'000'000'000});
  ASSERT_TRUE(refused.failed_with(ERANGE));
  EXPECT_THAT(refused.error().message(), testing::HasSubstr("301 s ahead"));
  EXPECT_EQ(hlc.last(), before);
  hlc.observe_own(Hlc{wall(clock) + 2 * HlcClock::kMaxAhead_ns});
  EXPECT_EQ(hlc.next().ns, wall(clock) + 2 * HlcClock::kMaxAhead_ns + 1);
}

TEST(HlcClock, ItsOwnStampsComeBackAfterTheWallClockWasSetBack) {
  SimClock clock;
  HlcClock hlc(clock);
  clock.advance_to(1s);
  const auto told = hlc.next();
  clock.step_wall(-3h);
  EXPECT_TRUE(hlc.observe(told));
  EXPECT_EQ(hlc.last(), told);
  EXPECT_TRUE(hlc.observe(Hlc{told.ns + 1}).failed_with(ERANGE));
}

TEST(HlcClock, StampsALittleBeyondItsOwnHistoryAreTaken) {
  SimClock clock;
  HlcClock hlc(clock);
  const Hlc logged{wall(clock) +
                   3 * 3600'000'000'000ull};  // by a process before this one; then the clock was set back
  hlc.observe_own(logged);
  const Hlc told{logged.ns + 1'000'000'000};  // by the same, and not logged any more
  EXPECT_TRUE(hlc.observe(told));
  EXPECT_EQ(hlc.last(), told);
  // What came from the network is no history: nobody can drag the clock along step by step.
  EXPECT_TRUE(hlc.observe(Hlc{logged.ns + HlcClock::kMaxAhead_ns}));
  EXPECT_TRUE(hlc.observe(Hlc{logged.ns + HlcClock::kMaxAhead_ns + 1}).failed_with(ERANGE));
}

TEST(HlcClock, StampsOfSeveralThreadsDiffer) {
  SimClock clock;
  HlcClock hlc(clock);
  constexpr std::size_t kEach = 2000;
  std::vector<std::vector<Hlc>> made(4);
  std::vector<std::thread> threads;
  for (auto& mine : made) {
    threads.emplace_back([&mine, &hlc] {
      for (std::size_t i = 0; i < kEach; ++i) mine.push_back(hlc.next());
    });
  }
  for (auto& thread : threads) thread.join();
  std::set<Hlc> all;
  for (auto& mine : made) {
    EXPECT_TRUE(std::is_sorted(mine.begin(), mine.end()));
    all.insert(mine.begin(), mine.end());
  }
  EXPECT_EQ(all.size(), made.size() * kEach);
}

TEST(Hlc, IsAFileTime) {
  auto time = Hlc{1'767'225'600'000'000'007}.to_timespec();
  EXPECT_EQ(time.tv_sec, 1767225600);
  EXPECT_EQ(time.tv_nsec, 7);
}

}  // namespace
}  // namespace polder
