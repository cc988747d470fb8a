// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/rpc/loop_partner.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <functional>

namespace polder {
namespace {

using SteadyClock = LoopPartner::Time::clock;

cpu_set_t allowed_cpus() {
  cpu_set_t set;
  EXPECT_EQ(sched_getaffinity(0, sizeof set, &set), 0);
  return set;
}

void allow(const cpu_set_t& set) {
  ASSERT_EQ(sched_setaffinity(0, sizeof set, &set), 0);
}

void allow_only(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<unsigned>(cpu), &set);
  allow(set);
}

/// A process bound to the CPU where its maker runs.
class Other {
 public:
  Other(int cpu, const std::function<void()>& work) : pid_(fork()) {
    if (pid_ != 0) return;
    allow_only(cpu);
    for (;;) work();
  }
  ~Other() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  pid_t pid() const { return pid_; }

 private:
  const pid_t pid_;
};

class LoopPartnerTest : public testing::Test {
 protected:
  void TearDown() override { allow(all_); }

  /// Goes to that CPU, asks, and goes there again, until the answer is true.
  bool moves_within(std::chrono::milliseconds time, int cpu) {
    const auto until = SteadyClock::now() + time;
    while (SteadyClock::now() < until) {
      allow_only(cpu);
      allow(all_);
      if (partner_.keep_apart(SteadyClock::now())) return true;
    }
    return false;
  }

  const cpu_set_t all_ = allowed_cpus();
  const int here_ = sched_getcpu();
  boost::asio::io_context context_;
  LoopPartner& partner_ = LoopPartner::of(context_.get_executor());
};

TEST_F(LoopPartnerTest, GoesToAnotherCpuWhereThePartnerIsBusyOnThisOne) {
  if (CPU_COUNT(&all_) < 2) GTEST_SKIP() << "needs two CPUs";
  Other busy(here_, [] {});
  partner_.set(busy.pid());
  EXPECT_TRUE(moves_within(std::chrono::seconds(30), here_));
  const auto allowed = allowed_cpus();
  EXPECT_TRUE(CPU_EQUAL(&allowed, &all_)) << "it may come back when the kernel thinks so";
}

TEST_F(LoopPartnerTest, StaysWhereThePartnerSleepsOrIsNoMore) {
  {
    Other sleeping(here_, [] { pause(); });
    partner_.set(sleeping.pid());
    usleep(50'000);
    EXPECT_FALSE(moves_within(std::chrono::milliseconds(50), here_));
  }
  EXPECT_FALSE(moves_within(std::chrono::milliseconds(20), here_)) << "it has ended";
  partner_.set(0);
  EXPECT_FALSE(moves_within(std::chrono::milliseconds(20), here_));
  partner_.set(getpid());
  EXPECT_FALSE(moves_within(std::chrono::milliseconds(20), here_)) << "the same process";
}

TEST_F(LoopPartnerTest, StaysWhereItMayNotGoElsewhere) {
  Other busy(here_, [] {});
  partner_.set(busy.pid());
  allow_only(here_);
  for (int i = 0; i < 10; ++i) {
    usleep(10'000);
    EXPECT_FALSE(partner_.keep_apart(SteadyClock::now()));
  }
}

}  // namespace
}  // namespace polder
