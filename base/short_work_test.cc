// SPDX-License-Identifier: GPL-3.0-or-later
#include "base/short_work.h"

#include <gtest/gtest.h>

#include <thread>

#include "base/on_worker.h"
#include "tests/support/loop.h"

namespace polder {
namespace {

using namespace std::chrono_literals;

struct ShortWorkTest : testing::Test {
  std::unique_ptr<Workers> workers = make_thread_workers(1);
  RealLoop loop;

  std::thread::id where(ShortWork& work) {
    return loop.run_until_done(on_worker(work, [] { return std::this_thread::get_id(); }));
  }
};

TEST_F(ShortWorkTest, RunsOnTheLoopThreadWhereItIsEnabled) {
  ShortWork on(*workers, true);
  EXPECT_EQ(where(on), std::this_thread::get_id());
  ShortWork off(*workers, false);
  EXPECT_NE(where(off), std::this_thread::get_id());
  for (int i = 0; i < 100'000; ++i) off.took_there(1us, false);
  EXPECT_FALSE(off.runs_here()) << "however short its jobs are";
  auto simulated = make_inline_workers();
  EXPECT_FALSE(ShortWork(*simulated, true).runs_here()) << "it would depend on the machine's time";
}

TEST_F(ShortWorkTest, MeasuresWhatItRuns) {
  ShortWork work(*workers, true);
  auto slow = [&] {
    loop.run_until_done(on_worker(work, [] { return std::this_thread::sleep_for(30ms), 0; }));
  };
  slow();
  EXPECT_TRUE(work.runs_here()) << "nobody looked closely yet";
  loop.run_until_done(on_worker(work, [] {
    const auto until = std::chrono::steady_clock::now() + 30ms;
    while (std::chrono::steady_clock::now() < until) continue;
    return 0;
  }));
  EXPECT_TRUE(work.runs_here()) << "it needed the CPU, it waited for nothing";
  slow();
  EXPECT_FALSE(work.runs_here());
  EXPECT_NE(where(work), std::this_thread::get_id());
  for (int i = 0; i < 10'000 && !work.runs_here(); ++i) where(work);
  EXPECT_TRUE(work.runs_here()) << "short jobs on the worker bring it back";
}

TEST_F(ShortWorkTest, ABusyMachineIsForgivenASlowDiskIsNot) {
  ShortWork work(*workers, true);
  for (int i = 0; i < 1000; ++i) work.took_here(i % 4 == 0 ? 4ms : 20us, false);
  EXPECT_TRUE(work.runs_here());
  for (int i = 0; i < 1000; ++i) work.took_here(i % 100 == 0 ? 4ms : 20us, true);
  EXPECT_TRUE(work.runs_here()) << "now and then";
  for (int i = 0; i < 100 && work.runs_here(); ++i) work.took_here(i % 4 == 0 ? 4ms : 20us, true);
  EXPECT_FALSE(work.runs_here());
}

TEST_F(ShortWorkTest, ADiskThatIsSlowAgainSoonIsTrustedLess) {
  ShortWork work(*workers, true);
  auto jobs_until_it_is_back = [&] {
    work.took_here(1s, false);
    EXPECT_TRUE(work.suspicious());
    work.took_here(1s, true);
    EXPECT_FALSE(work.runs_here());
    int jobs = 0;
    for (; !work.runs_here(); ++jobs) work.took_there(5ms, jobs == 100);
    return jobs;
  };
  EXPECT_EQ(jobs_until_it_is_back(), 101 + 256);
  EXPECT_EQ(jobs_until_it_is_back(), 101 + 512);
  EXPECT_EQ(jobs_until_it_is_back(), 101 + 1024);
  for (int i = 0; i < 16384; ++i) work.took_here(10us, false);
  EXPECT_EQ(jobs_until_it_is_back(), 101 + 256);
  EXPECT_EQ(work.exiles(), 4U);
}

}  // namespace
}  // namespace polder
