// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/support/sim_clock.h"

#include <gtest/gtest.h>

#include "base/concurrency.h"
#include "tests/support/loop.h"

namespace polder {
namespace {

using namespace std::chrono_literals;

Task<void> note_after(Clock& clock, nanoseconds delay, std::string name, std::vector<std::string>& log) {
  auto slept = co_await clock.sleep_for(delay);
  log.push_back(slept ? name : name + " cancelled");
}

TEST(SimClock, WakesInOrderOfTimeThenOfCalls) {
  SimLoop loop;
  TaskGroup group("test");
  std::vector<std::string> log;
  group.spawn(loop.executor(), note_after(loop.clock(), 2h, "c", log));
  group.spawn(loop.executor(), note_after(loop.clock(), 1h, "a", log));
  group.spawn(loop.executor(), note_after(loop.clock(), 1h, "b", log));
  loop.run_until_done(group.wait_idle());
  EXPECT_EQ(log, (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_EQ(loop.clock().boot_time(), 2h);
}

TEST(SimClock, RunForEndsAtItsTimeExactly) {
  SimLoop loop;
  TaskGroup group("test");
  std::vector<std::string> log;
  group.spawn(loop.executor(), note_after(loop.clock(), 10s, "a", log));
  group.spawn(loop.executor(), note_after(loop.clock(), 11s, "b", log));
  loop.run_for(10s);
  EXPECT_EQ(log, std::vector<std::string>{"a"});
  EXPECT_EQ(loop.clock().boot_time(), 10s);
  EXPECT_EQ(loop.clock().sleepers(), 1U);
  loop.run_until_done(group.stop());
  EXPECT_EQ(log, (std::vector<std::string>{"a", "b cancelled"}));
  EXPECT_EQ(loop.clock().sleepers(), 0U);
  EXPECT_EQ(loop.clock().boot_time(), 10s);
}

TEST(SimClock, AStepOfTheWallClockMovesNoSleeper) {
  SimLoop loop;
  auto before = loop.clock().wall_time();
  loop.clock().step_wall(-24h);
  EXPECT_EQ(loop.clock().wall_time(), before - 24h);
  ASSERT_TRUE(loop.run_until_done(loop.clock().sleep_for(5s)));
  EXPECT_EQ(loop.clock().boot_time(), 5s);
  SkewedClock other(loop.clock(), 3s, 100s);
  EXPECT_EQ(other.wall_time(), loop.clock().wall_time() + 3s);
  ASSERT_TRUE(loop.run_until_done(other.sleep_until(110s)));
  EXPECT_EQ(loop.clock().boot_time(), 10s);
}

TEST(SimClock, ADriftingClockIsNeverJumpedNorWokenEarly) {
  SimLoop loop;
  SkewedClock clock(loop.clock(), 3s, 100s);
  const auto wall_before = clock.wall_time();
  loop.run_for(1000s);
  clock.set_drift_ppm(200);
  EXPECT_EQ(clock.boot_time(), 1100s);
  loop.run_for(1000s);
  EXPECT_EQ(clock.boot_time(), 2100s + 200ms);
  EXPECT_EQ(clock.wall_time(), wall_before + 2000s + 200ms);
  clock.set_drift_ppm(-50'000);
  EXPECT_EQ(clock.boot_time(), 2100s + 200ms);
  loop.run_for(10s);
  EXPECT_EQ(clock.boot_time(), 2100s + 200ms + 9500ms);
  clock.set_wall_skew(0s);
  EXPECT_EQ(clock.wall_time(), loop.clock().wall_time());
  EXPECT_EQ(clock.boot_time(), 2100s + 200ms + 9500ms) << "NTP steps the wall clock only";
  for (const std::int64_t ppm : {-50'000, -200, -1, 0, 1, 200, 50'000}) {
    for (const auto time : {nanoseconds(1), nanoseconds(999'999'937), nanoseconds(400 * 24h)}) {
      clock.set_drift_ppm(ppm);
      const auto when = clock.boot_time() + time;
      ASSERT_TRUE(loop.run_until_done(clock.sleep_until(when), 500 * 24h));
      EXPECT_GE(clock.boot_time(), when) << ppm;
      EXPECT_LE(clock.boot_time(), when + 1us) << ppm;
      ASSERT_TRUE(loop.run_until_done(clock.sleep_until(when)));
    }
  }
}

/// The rate changes while somebody sleeps: a slower clock lets it sleep on.
TEST(SimClock, AClockThatBecomesSlowerLetsSleepOn) {
  SimLoop loop;
  SkewedClock clock(loop.clock(), 0s);
  TaskGroup group("test");
  std::vector<std::string> log;
  group.spawn(loop.executor(), note_after(clock, 100s, "a", log));
  loop.run_for(50s);
  clock.set_drift_ppm(-100'000);
  loop.run_for(55s);
  EXPECT_TRUE(log.empty());
  loop.run_for(1s);
  EXPECT_EQ(log, std::vector<std::string>{"a"});
}

Task<void> wait_for(Event& event) {
  (void)co_await event.wait();
}
Task<void> tick_for_ever(Clock& clock) {
  while (co_await clock.sleep_for(1s)) {
  }
}

TEST(SimLoop, SaysWhyATaskCannotEnd) {
  SimLoop loop;
  Event never;
  EXPECT_THROW(loop.run_until_done(wait_for(never)), std::runtime_error);
  EXPECT_THROW(loop.run_until_done(tick_for_ever(loop.clock()), 1min), std::runtime_error);
}

}  // namespace
}  // namespace polder
