// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/rpc/loop.h"

#include <gtest/gtest.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <thread>

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
