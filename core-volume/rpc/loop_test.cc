// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/rpc/loop.h"

#include <gtest/gtest.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <thread>

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

INSTANTIATE_TEST_SUITE_P(BusyPoll, LoopTest, testing::Values(0, 50));

}  // namespace
}  // namespace polder
