// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/rpc/loop.h"

#include <gtest/gtest.h>

#include <array>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <optional>
#include <thread>

#include "base/concurrency.h"
#include "base/loop_watch.h"
#include "core-volume/rpc/busy_poll.h"

namespace polder {
namespace {

class LoopTest : public testing::TestWithParam<int> {};

/// Work that comes from outside, one piece after another, as from sockets; then stop().
TEST_P(LoopTest, RunsWhatComesAndEndsWhenStopped) {
  boost::asio::io_context context{1};
  auto guard = boost::asio::make_work_guard(context);
  int done = 0;
  std::thread outside([&] {
    for (int i = 0; i < 200; ++i) boost::asio::post(context, [&] { ++done; });
    boost::asio::post(context, [&] { context.stop(); });
  });
  run_loop(context, std::chrono::microseconds(GetParam()));
  outside.join();
  EXPECT_EQ(done, 200);
}

TEST_P(LoopTest, EndsWhenOutOfWork) {
  boost::asio::io_context context{1};
  int done = 0;
  boost::asio::post(context, [&] {
    ++done;
    boost::asio::post(context, [&] { ++done; });
  });
  run_loop(context, std::chrono::microseconds(GetParam()));
  EXPECT_EQ(done, 2);
}

/// Answers each look that finds a number set from outside, until it has seen `last`.
Task<void> watch_number(LoopWatch& watch, std::atomic<int>& number, int last, int& seen, int& by_looking) {
  bool at_once = false;
  while (seen < last) {
    auto look = [&] { return number.load() > seen; };
    if (co_await watch.found(look)) {
      seen = number.load();
      ++by_looking;
      continue;
    }
    // The usual way: at once, and the next time with a timer. Who comes back at once, when the loop has
    // decided to sleep, must not be kept for its next look.
    if (at_once = !at_once; at_once) {
      co_await asio::post(asio::use_awaitable);
      seen = number.load();
      continue;
    }
    asio::steady_timer timer(co_await asio::this_coro::executor, std::chrono::microseconds(100));
    co_await timer.async_wait(asio::use_awaitable);
    seen = number.load();
  }
}

TEST(LoopWatchTest, FindsWhatComesWhileTheLoopIsBusyAndSendsAwayBeforeItSleeps) {
  boost::asio::io_context context{1};
  auto& watch = boost::asio::use_service<LoopWatch>(context);
  std::atomic<int> number{0};
  int seen = 0, by_looking = 0;
  TaskGroup tasks("test");
  tasks.spawn(context.get_executor(), watch_number(watch, number, 1000, seen, by_looking));
  std::thread outside([&] {
    while (number < 1000) {
      ++number;
      std::this_thread::sleep_for(std::chrono::microseconds(number % 100 == 0 ? 5000 : 20));
    }
  });
  run_loop(context, std::chrono::microseconds(200));
  outside.join();
  EXPECT_EQ(seen, 1000);
  EXPECT_GT(by_looking, 0);
  EXPECT_TRUE(watch.empty());
}

TEST(LoopWatchTest, ALoopThatIsToRestDoesNotLook) {
  boost::asio::io_context context{1};
  auto& watch = boost::asio::use_service<LoopWatch>(context);
  watch.rest_while([] { return true; });
  std::atomic<int> number{0};
  int seen = 0, by_looking = 0;
  TaskGroup tasks("test");
  tasks.spawn(context.get_executor(), watch_number(watch, number, 100, seen, by_looking));
  std::thread outside([&] {
    while (number < 100) {
      ++number;
      std::this_thread::sleep_for(std::chrono::microseconds(20));
    }
  });
  run_loop(context, std::chrono::microseconds(200));
  outside.join();
  EXPECT_EQ(seen, 100);
  EXPECT_EQ(by_looking, 0);
}

TEST(LoopWatchTest, ALoopThatDoesNotLookSaysSoAtOnce) {
  boost::asio::io_context context{1};
  auto& watch = boost::asio::use_service<LoopWatch>(context);
  std::optional<bool> found;
  TaskGroup tasks("test");
  auto ask = [&]() -> Task<void> { found = co_await watch.found([] { return true; }); };
  tasks.spawn(context.get_executor(), ask());
  context.run();
  EXPECT_EQ(found, false);
}

TEST(LoopWatchTest, ACancelledTaskIsNotLookedFor) {
  boost::asio::io_context context{1};
  auto& watch = boost::asio::use_service<LoopWatch>(context);
  watch.set_busy(true);
  std::optional<bool> found;
  int looks = 0;
  TaskGroup tasks("test");
  auto ask = [&]() -> Task<void> { found = co_await watch.found([&] { return ++looks > 1; }); };
  auto task = tasks.spawn(context.get_executor(), ask());
  context.poll();
  EXPECT_FALSE(watch.look());
  TaskGroup::cancel(task);
  EXPECT_FALSE(watch.look()) << "it is about to go";
  context.poll();
  EXPECT_EQ(found, false);
  EXPECT_EQ(looks, 1);
  EXPECT_TRUE(watch.empty());
}

TEST(LoopWatchTest, InALineOnlyTheFirstIsLookedAt) {
  boost::asio::io_context context{1};
  auto& watch = boost::asio::use_service<LoopWatch>(context);
  watch.set_busy(true);
  int ready = 0, line = 0;
  std::array<int, 4> looks{};
  std::array<std::optional<bool>, 4> found;
  TaskGroup tasks("test");
  auto wait = [&](int i) -> Task<void> {
    found[i] = co_await watch.found_in_line(&line, [&, i] {
      ++looks[i];
      return ready > i;
    });
  };
  std::vector<TaskGroup::Spawned> ids;
  for (int i = 0; i < 4; ++i) ids.push_back(tasks.spawn(context.get_executor(), wait(i)));
  context.poll();
  EXPECT_FALSE(watch.look());
  EXPECT_EQ(looks, (std::array<int, 4>{1, 0, 0, 0}));
  ready = 1;
  EXPECT_TRUE(watch.look());
  EXPECT_EQ(looks, (std::array<int, 4>{2, 1, 0, 0})) << "the next one at once";
  TaskGroup::cancel(ids[1]);
  ready = 3;
  EXPECT_TRUE(watch.look());
  EXPECT_EQ(looks, (std::array<int, 4>{2, 1, 1, 1})) << "who was cancelled is passed over";
  EXPECT_FALSE(watch.empty());
  watch.give_up();
  context.poll();
  EXPECT_EQ(found, (std::array<std::optional<bool>, 4>{true, false, true, false}));
  EXPECT_TRUE(watch.empty());
}

TEST(BusyPollTest, OnlyWhileEventsComeOften) {
  using namespace std::chrono_literals;
  const BusyPoll::Time now(1s);
  BusyPoll poll(50us);
  EXPECT_FALSE(poll.wanted(now)) << "nothing has come yet";
  poll.slept(900us);
  EXPECT_TRUE(poll.wanted(now));
  poll.slept(2ms);
  EXPECT_FALSE(poll.wanted(now));
  BusyPoll off(0us);
  off.slept(0us);
  EXPECT_FALSE(off.wanted(now));
}

TEST(BusyPollTest, SleepsWhileOthersNeedTheCpuAndLooksAgainNowAndThen) {
  using namespace std::chrono_literals;
  BusyPoll::Time now(1s);
  BusyPoll poll(50us);
  poll.slept(100us);
  EXPECT_TRUE(poll.yielded(100us, now)) << "whoever waits for our answer ran a little";
  EXPECT_TRUE(poll.wanted(now));
  for (auto pause : {10ms, 20ms, 40ms}) {
    EXPECT_FALSE(poll.yielded(3ms, now));
    EXPECT_FALSE(poll.wanted(now + pause - 1ms));
    now += pause;
    EXPECT_TRUE(poll.wanted(now));
  }
  for (int i = 0; i < 20; ++i) (void)poll.yielded(3ms, now);
  EXPECT_FALSE(poll.wanted(now + 900ms));
  EXPECT_TRUE(poll.wanted(now + 1s));
  for (int i = 0; i < 20; ++i) poll.looked(true, now);
  EXPECT_FALSE(poll.yielded(3ms, now));
  EXPECT_TRUE(poll.wanted(now + 10ms)) << "forgiven";
}

TEST(BusyPollTest, SleepsWhenLooksAreInVain) {
  using namespace std::chrono_literals;
  const BusyPoll::Time now(1s);
  BusyPoll poll(50us);
  poll.slept(100us);
  for (int i = 0; i < 100; ++i) poll.looked(i % 4 == 3, now);
  EXPECT_TRUE(poll.wanted(now)) << "now and then is often enough";
  for (int i = 0; i < 4; ++i) poll.looked(false, now);
  EXPECT_FALSE(poll.wanted(now + 9ms));
  EXPECT_TRUE(poll.wanted(now + 10ms));
}

INSTANTIATE_TEST_SUITE_P(BusyPoll, LoopTest, testing::Values(0, 50));

}  // namespace
}  // namespace polder
