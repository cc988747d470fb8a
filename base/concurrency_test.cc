// SPDX-License-Identifier: GPL-3.0-or-later
// TaskGroup, fan_out, with_deadline and Event, all under cancellation.
#include "base/concurrency.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>

#include "base/concurrency_impl.h"
#include "base/on_worker.h"
#include "tests/support/loop.h"

namespace polder {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using Log = std::vector<std::string>;

std::string text(const Result<void>& result) {
  return result ? "ok" : result.error().message();
}
const std::string kCancelled = Error(ECANCELED).message();

/// Notes its own end, whatever ends it.
struct Sentinel {
  Log& log;
  std::string name;
  ~Sentinel() { log.push_back(name + " gone"); }
};

Task<void> sleeper(Clock& clock, nanoseconds delay, std::string name, Log& log) {
  Sentinel sentinel{log, name};
  auto slept = co_await clock.sleep_for(delay);
  log.push_back(name + ": " + text(slept));
}
Task<void> waiter(Event& event, Log& log) {
  auto waited = co_await event.wait();
  log.push_back("event: " + text(waited));
}
Task<void> locker(KeyLocks& locks, Log& log) {
  auto guard = co_await locks.lock({{"a", KeyLocks::Mode::kExclusive}, {"b", KeyLocks::Mode::kExclusive}});
  log.push_back("lock: " + (guard ? "ok" : guard.error().message()));
}

/// Runs its jobs when told to.
class ManualWorkers final : public Workers {
 public:
  void submit(std::move_only_function<void()> job) override { jobs_.push_back(std::move(job)); }
  void run_one() {
    auto job = std::move(jobs_.front());
    jobs_.pop_front();
    job();
  }
  std::size_t size() const { return jobs_.size(); }

 private:
  std::deque<std::move_only_function<void()>> jobs_;
};

Task<void> working(Workers& workers, Clock& clock, Log& log) {
  int answer = co_await on_worker(workers, [] { return 42; });
  log.push_back(fmt::format("worker: {}", answer));
  log.push_back("then: " + text(co_await clock.sleep_for(1s)));
}

TEST(TaskGroup, StartsTasksSoonButNotInsideTheCall) {
  SimLoop loop;
  TaskGroup group("test");
  Log log;
  auto inside = [](SimLoop& loop, TaskGroup& group, Log& log) -> Task<void> {
    group.spawn(loop.executor(), sleeper(loop.clock(), 0s, "a", log));
    log.push_back("spawned");
    co_await group.wait_idle();
  };
  loop.run_until_done(inside(loop, group, log));
  EXPECT_THAT(log, ElementsAre("spawned", "a: ok", "a gone"));
  EXPECT_EQ(group.size(), 0U);
}

TEST(TaskGroup, SpawnNowRunsUpToTheFirstWaitInsideTheCall) {
  SimLoop loop;
  TaskGroup group("test");
  Log log;
  auto inside = [](SimLoop& loop, TaskGroup& group, Log& log) -> Task<void> {
    auto at_once = [](Log& log) -> Task<void> {
      log.push_back("at once");
      co_return;
    };
    auto at_once_task = group.spawn_now(loop.executor(), at_once(log));
    auto sleeping = group.spawn_now(loop.executor(), sleeper(loop.clock(), 1h, "a", log));
    log.push_back("spawned");
    TaskGroup::cancel(sleeping);
    co_await group.wait_idle();
    EXPECT_TRUE(at_once_task.expired());
  };
  loop.run_until_done(inside(loop, group, log));
  EXPECT_THAT(log, ElementsAre("at once", "spawned", "a: " + kCancelled, "a gone"));
  EXPECT_EQ(group.size(), 0U);
}

TEST(TaskGroup, StopEndsEveryKindOfWait) {
  SimLoop loop;
  TaskGroup group("test");
  Event event;
  KeyLocks locks;
  Log log;
  auto held = loop.run_until_done(locks.lock({{"b", KeyLocks::Mode::kExclusive}}));
  ASSERT_TRUE(held);
  group.spawn(loop.executor(), sleeper(loop.clock(), 1h, "sleep", log));
  group.spawn(loop.executor(), waiter(event, log));
  group.spawn(loop.executor(), locker(locks, log));
  loop.settle();
  EXPECT_EQ(group.size(), 3U);
  loop.run_until_done(group.stop());
  EXPECT_EQ(group.size(), 0U);
  EXPECT_THAT(log, testing::UnorderedElementsAre("sleep: " + kCancelled, "sleep gone", "event: " + kCancelled,
                                                 "lock: " + kCancelled));
  EXPECT_EQ(loop.clock().boot_time(), 0s);
  held->release();
  EXPECT_TRUE(locks.idle());  // what the cancelled task held already was given back
}

TEST(TaskGroup, StopWaitsForTheWorkerAndLosesNothing) {
  SimLoop loop;
  TaskGroup group("test");
  TaskGroup outer("outer");
  ManualWorkers workers;
  Log log;
  group.spawn(loop.executor(), working(workers, loop.clock(), log));
  loop.settle();
  outer.spawn(loop.executor(), group.stop());
  loop.settle();
  EXPECT_EQ(group.size(), 1U);
  // Who stops may itself be cancelled: it still waits for the worker.
  outer.spawn(loop.executor(), sleeper(loop.clock(), 0s, "unrelated", log));
  TaskGroup third("third");
  third.spawn(loop.executor(), outer.stop());
  loop.settle();
  EXPECT_EQ(outer.size(), 1U);
  workers.run_one();
  loop.run_until_done(third.wait_idle());
  EXPECT_EQ(group.size() + outer.size(), 0U);
  EXPECT_THAT(log, testing::Contains("worker: 42"));
  EXPECT_THAT(log, testing::Contains("then: " + kCancelled));
}

TEST(TaskGroup, ATaskCancelledBeforeItRanSeesItAtItsFirstWait) {
  SimLoop loop;
  TaskGroup group("test");
  Log log;
  auto both = [](SimLoop& loop, TaskGroup& group, Log& log) -> Task<void> {
    group.spawn(loop.executor(), sleeper(loop.clock(), 1h, "a", log));
    co_await group.stop();
  };
  loop.run_until_done(both(loop, group, log));
  EXPECT_THAT(log, ElementsAre("a: " + kCancelled, "a gone"));
}

TEST(TaskGroup, NothingStartsAfterStop) {
  SimLoop loop;
  TaskGroup group("test");
  Log log;
  loop.run_until_done(group.stop());
  EXPECT_TRUE(group.stopping());
  group.spawn(loop.executor(), sleeper(loop.clock(), 1s, "late", log));
  loop.run_for(2s);
  EXPECT_TRUE(log.empty());
  loop.run_until_done(group.stop());
}

Task<void> throwing() {
  throw std::logic_error("a broken promise");
  co_return;
}

TEST(TaskGroupDeathTest, ExceptionsAndForgottenTasksEndTheProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        SimLoop loop;
        TaskGroup group("accept loop");
        group.spawn(loop.executor(), throwing());
        loop.settle();
      },
      "exception out of a task of accept loop: a broken promise");
  EXPECT_DEATH(
      {
        SimLoop loop;
        Log log;
        TaskGroup group("heart beat");
        group.spawn(loop.executor(), sleeper(loop.clock(), 1h, "a", log));
      },
      "heart beat destroyed with 1 tasks running");
}

Task<Result<void>> fail_after(Clock& clock, nanoseconds delay, int code) {
  CO_TRY(co_await clock.sleep_for(delay));
  if (code) co_return Error(code);
  co_return Result<void>();
}

TEST(FanOut, AwaitsAllAndKeepsTheirOrder) {
  SimLoop loop;
  std::vector<Task<Result<void>>> tasks;
  tasks.push_back(fail_after(loop.clock(), 3s, 0));
  tasks.push_back(fail_after(loop.clock(), 1s, EIO));
  tasks.push_back(fail_after(loop.clock(), 2s, ENOSPC));
  auto outcomes = loop.run_until_done(fan_out(std::move(tasks)));
  ASSERT_EQ(outcomes.size(), 3U);
  EXPECT_TRUE(outcomes[0]);
  EXPECT_TRUE(outcomes[1].failed_with(EIO));
  EXPECT_TRUE(outcomes[2].failed_with(ENOSPC));
  EXPECT_EQ(loop.clock().boot_time(), 3s);
  EXPECT_TRUE(loop.run_until_done(fan_out({})).empty());
}

Task<void> fan_out_note(std::vector<Task<Result<void>>> tasks, Log& log) {
  auto outcomes = co_await fan_out(std::move(tasks));
  for (const auto& outcome : outcomes) log.push_back(text(outcome));
}

TEST(FanOut, PassesCancellationOn) {
  SimLoop loop;
  Log log;
  TaskGroup group("test");
  std::vector<Task<Result<void>>> tasks;
  tasks.push_back(fail_after(loop.clock(), 1s, 0));
  tasks.push_back(fail_after(loop.clock(), 1h, 0));
  tasks.push_back(fail_after(loop.clock(), 2h, 0));
  group.spawn(loop.executor(), fan_out_note(std::move(tasks), log));
  loop.run_for(2s);
  loop.run_until_done(group.stop());
  EXPECT_THAT(log, ElementsAre("ok", kCancelled, kCancelled));
  EXPECT_EQ(loop.clock().boot_time(), 2s);
}

Task<Result<int>> answer_after(Clock& clock, nanoseconds delay, Log& log) {
  Sentinel sentinel{log, "answer"};
  CO_TRY(co_await clock.sleep_for(delay));
  co_return 42;
}
Task<Result<int>> deaf_answer(Workers& workers) {
  co_return co_await on_worker(workers, [] { return 42; });
}

TEST(WithDeadline, TheResultWhenItCameInTime) {
  SimLoop loop;
  Log log;
  auto result = loop.run_until_done(with_deadline(loop.clock(), 5s, answer_after(loop.clock(), 2s, log)));
  EXPECT_EQ(result.value(), 42);
  EXPECT_EQ(loop.clock().boot_time(), 2s);
  EXPECT_EQ(loop.clock().sleepers(), 0U);  // the timer did not stay behind
}

TEST(WithDeadline, CancelsAndReturnsAfterTheTaskHasEnded) {
  SimLoop loop;
  Log log;
  auto result = loop.run_until_done(with_deadline(loop.clock(), 5s, answer_after(loop.clock(), 9s, log)));
  ASSERT_TRUE(result.failed_with(ETIMEDOUT));
  EXPECT_TRUE(result.error().maybe_applied());
  EXPECT_THAT(log, ElementsAre("answer gone"));
  EXPECT_EQ(loop.clock().boot_time(), 5s);
}

TEST(WithDeadline, ATaskThatSucceededLateHasSucceeded) {
  SimLoop loop;
  ManualWorkers workers;
  TaskGroup group("test");
  Result<int> result = 0;
  auto run = [](SimLoop& loop, Workers& workers, Result<int>& result) -> Task<void> {
    result = co_await with_deadline(loop.clock(), 5s, deaf_answer(workers));
  };
  group.spawn(loop.executor(), run(loop, workers, result));
  loop.run_for(10s);
  EXPECT_EQ(group.size(), 1U);
  workers.run_one();
  loop.run_until_done(group.wait_idle());
  EXPECT_EQ(result.value(), 42);
}

TEST(WithDeadline, NothingStartsAfterTheDeadline) {
  SimLoop loop;
  Log log;
  loop.run_for(1s);
  auto result = loop.run_until_done(with_deadline(loop.clock(), 1s, answer_after(loop.clock(), 0s, log)));
  ASSERT_TRUE(result.failed_with(ETIMEDOUT));
  EXPECT_FALSE(result.error().maybe_applied());
  EXPECT_TRUE(log.empty());
}

TEST(WithDeadline, TheCallersCancellationIsNoTimeout) {
  SimLoop loop;
  Log log;
  TaskGroup group("test");
  Result<int> result = 0;
  auto run = [](SimLoop& loop, Log& log, Result<int>& result) -> Task<void> {
    result = co_await with_deadline(loop.clock(), 5s, answer_after(loop.clock(), 3s, log));
  };
  group.spawn(loop.executor(), run(loop, log, result));
  loop.run_for(1s);
  loop.run_until_done(group.stop());
  EXPECT_TRUE(result.failed_with(ECANCELED));
  EXPECT_EQ(loop.clock().sleepers(), 0U);
}

TEST(Event, WakesAllButHasNoMemory) {
  SimLoop loop;
  TaskGroup group("test");
  Event event;
  Log log;
  event.notify_all();
  group.spawn(loop.executor(), waiter(event, log));
  group.spawn(loop.executor(), waiter(event, log));
  loop.settle();
  EXPECT_TRUE(log.empty());
  event.notify_all();
  loop.settle();
  EXPECT_THAT(log, ElementsAre("event: ok", "event: ok"));
  EXPECT_EQ(group.size(), 0U);
}

TEST(Event, ItsEndWakesTheRest) {
  SimLoop loop;
  TaskGroup group("test");
  auto event = std::make_unique<Event>();
  Log log;
  group.spawn(loop.executor(), waiter(*event, log));
  loop.settle();
  event.reset();
  loop.run_until_done(group.wait_idle());
  EXPECT_THAT(log, ElementsAre("event: " + kCancelled));
}

TEST(Event, ACancelledWaiterDoesNotDisturbTheOthers) {
  SimLoop loop;
  TaskGroup group("test");
  TaskGroup other("other");
  Event event;
  Log log;
  group.spawn(loop.executor(), waiter(event, log));
  other.spawn(loop.executor(), waiter(event, log));
  loop.settle();
  loop.run_until_done(group.stop());
  event.notify_all();
  loop.run_until_done(other.wait_idle());
  EXPECT_THAT(log, ElementsAre("event: " + kCancelled, "event: ok"));
}

}  // namespace
}  // namespace polder
