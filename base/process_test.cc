// SPDX-License-Identifier: GPL-3.0-or-later
// Log, crash points, workers: what belongs to the whole process.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <latch>
#include <vector>

#include "base/clock.h"
#include "base/crash_point.h"
#include "base/log.h"
#include "base/on_worker.h"
#include "base/workers.h"
#include "tests/support/loop.h"

namespace polder {
namespace {

using namespace std::chrono_literals;

TEST(Log, OneEventIsOneLineOfTheFile) {
  std::string path = fmt::format("/var/tmp/polder-log-test.{}", ::getpid());
  log::configure("prog", log::Level::kInfo, path);
  log::info("name '{}' ends", "a\nb\x1b[0m");
  log::debug("not this");
  log::warning("{} left", 7);
  log::configure("prog", log::Level::kInfo);
  std::ifstream file(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  std::filesystem::remove(path);
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_THAT(lines[0], testing::MatchesRegex("20.*Z prog\\[[0-9]+\\] info: name 'a.x0ab.x1b.0m' ends"));
  EXPECT_THAT(lines[1], testing::EndsWith("warning: 7 left"));
}

TEST(Log, LevelsHaveNames) {
  log::Level level = log::Level::kInfo;
  EXPECT_TRUE(log::parse_level("error", level));
  EXPECT_EQ(level, log::Level::kError);
  EXPECT_FALSE(log::parse_level("loud", level));
}

int crashes = 0;

TEST(CrashPoint, FiresAtItsPassageOnce) {
  crashes = 0;
  arm_crash_point("test/here", 2, [] { ++crashes; });
  crash_point("test/elsewhere");
  crash_point("test/here");
  EXPECT_EQ(crashes, 0);
  crash_point("test/here");
  EXPECT_EQ(crashes, 1);
  crash_point("test/here");
  EXPECT_EQ(crashes, 1);
  arm_crash_point("", 0, nullptr);
  crash_point("test/here");
  EXPECT_EQ(crashes, 1);
}

TEST(CrashPointDeathTest, TheEnvironmentKillsTheProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  ::setenv("POLDER_CRASH_POINT", "test/env:2", 1);
  EXPECT_EXIT(
      {
        crash_point("test/env");
        std::fputs("first passed", stderr);
        crash_point("test/env");
      },
      testing::KilledBySignal(SIGKILL), "first passed");
  ::unsetenv("POLDER_CRASH_POINT");
}

TEST(ThreadWorkers, FinishWhatWasSubmitted) {
  std::atomic<int> done = 0;
  std::atomic<int> at_once = 0;
  std::latch both(2);
  {
    auto workers = make_thread_workers(2);
    for (int i = 0; i < 2; ++i) {
      workers->submit([&] {
        ++at_once;
        both.arrive_and_wait();  // ends only if two jobs run at the same time
      });
    }
    for (int i = 0; i < 100; ++i) workers->submit([&] { ++done; });
  }
  EXPECT_EQ(done, 100);
  EXPECT_EQ(at_once, 2);
}

TEST(ThreadWorkers, OneThreadKeepsTheOrder) {
  std::vector<int> order;
  {
    auto workers = make_thread_workers(1);
    for (int i = 0; i < 100; ++i) workers->submit([&order, i] { order.push_back(i); });
  }
  EXPECT_TRUE(std::ranges::is_sorted(order));
  EXPECT_EQ(order.size(), 100U);
}

Task<Result<std::string>> thread_names(Workers& workers) {
  auto loop_thread = std::this_thread::get_id();
  auto worker_thread = co_await on_worker(workers, [] { return std::this_thread::get_id(); });
  if (worker_thread == loop_thread) co_return Error(EINVAL).with("ran on the loop");
  if (std::this_thread::get_id() != loop_thread) co_return Error(EINVAL).with("did not come back");
  CO_TRY(auto text, co_await on_worker(workers, []() -> Result<std::string> { return "read"; }));
  co_return text;
}

TEST(OnWorker, RunsThereAndComesBack) {
  RealLoop loop;
  auto workers = make_thread_workers(2);
  EXPECT_EQ(loop.run_until_done(thread_names(*workers)).value(), "read");
}

TEST(SystemClock, SleepsAndMovesOn) {
  RealLoop loop;
  auto clock = make_system_clock();
  auto before = clock->boot_time();
  ASSERT_TRUE(loop.run_until_done(clock->sleep_for(20ms)));
  EXPECT_GE(clock->boot_time() - before, 20ms);
  EXPECT_TRUE(loop.run_until_done(clock->sleep_until(before)));
  EXPECT_GT(clock->wall_time(), std::chrono::hours(24 * 365 * 50));
}

}  // namespace
}  // namespace polder
