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
