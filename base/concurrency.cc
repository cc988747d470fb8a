// SPDX-License-Identifier: GPL-3.0-or-later
// Tasks side by side: TaskGroup, fan_out, with_deadline. Each task is an Asio thread of its own with a
// cancellation signal of its own; a Children object knows the running ones.
#include "base/concurrency.h"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <list>

#include "base/concurrency_impl.h"
#include "base/log.h"
#include "base/suspend.h"

namespace polder {

Task<bool> is_cancelled() {
  auto state = co_await asio::this_coro::cancellation_state;
  co_return state.cancelled() != asio::cancellation_type::none;
}

struct RunningTask {
  asio::cancellation_signal signal;
  void cancel() { signal.emit(asio::cancellation_type::all); }
};

namespace {

/// The root of every task: sets the cancellation policy described in concurrency.h.
Task<void> run_root(asio::any_io_executor executor, Task<void> task) {
  co_await asio::this_coro::throw_if_cancelled(false);
  co_await asio::post(executor, asio::use_awaitable);
  co_await std::move(task);
}

[[noreturn]] void die_of(const std::string& name, const std::exception_ptr& failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const std::exception& e) {
    log::fatal(fmt::format("exception out of a task of {}: {}", name, e.what()));
  } catch (...) {
    log::fatal(fmt::format("exception out of a task of {}", name));
  }
}

class Children : public std::enable_shared_from_this<Children> {
 public:
  explicit Children(std::string name) : name_(std::move(name)) {}

  auto enlist() {
    return [this](std::shared_ptr<Waiter> waiter) { waiters_.push_back(std::move(waiter)); };
  }

  std::weak_ptr<RunningTask> spawn(const asio::any_io_executor& executor, Task<void> task) {
    auto running = std::make_shared<RunningTask>();
    auto at = running_.insert(running_.end(), running);
    auto ended = [self = shared_from_this(), at](const std::exception_ptr& failure) {
      if (failure) die_of(self->name_, failure);
      self->ended(at);
    };
    asio::co_spawn(executor, run_root(executor, std::move(task)),
                   asio::bind_cancellation_slot(running->signal.slot(), std::move(ended)));
    return running;
  }

  void cancel_all() {
    // A copy: nothing ends inside emit() today, but the list must not depend on that.
    std::vector<std::shared_ptr<RunningTask>> all(running_.begin(), running_.end());
    for (auto& running : all) running->cancel();
  }

  Task<void> wait_idle() {
    auto self = shared_from_this();
    while (!running_.empty()) co_await suspend_uncancellable(enlist());
  }

  /// Passes the caller's cancellation on to the tasks, then still waits for them.
  Task<void> join() {
    auto self = shared_from_this();
    while (!running_.empty()) {
      if (co_await suspend(enlist()) == ECANCELED) {
        cancel_all();
        co_await wait_idle();
      }
    }
  }

  std::size_t size() const { return running_.size(); }
  const std::string& name() const { return name_; }

 private:
  using RunningList = std::list<std::shared_ptr<RunningTask>>;

  void ended(RunningList::iterator at) {
    running_.erase(at);
    if (!running_.empty()) return;
    for (auto& waiter : std::exchange(waiters_, {})) waiter->wake(0);
  }

  std::string name_;
  RunningList running_;
  std::vector<std::shared_ptr<Waiter>> waiters_;
};

Task<void> store_outcome(Task<Result<void>> task, Result<void>& outcome) {
  outcome = co_await std::move(task);
}

Task<void> run_then_cancel(Task<void> task, const std::weak_ptr<RunningTask>& other) {
  co_await std::move(task);
  TaskGroup::cancel(other);
}

Task<void> cancel_at(Clock& clock, nanoseconds deadline, const std::weak_ptr<RunningTask>& task, bool& expired) {
  auto slept = co_await clock.sleep_until(deadline);
  if (!slept) co_return;
  expired = true;
  TaskGroup::cancel(task);
}

}  // namespace

struct TaskGroup::State {
  std::shared_ptr<Children> children;
  bool stopping = false;
};

TaskGroup::TaskGroup(std::string name)
    : state_(std::make_shared<State>(State{std::make_shared<Children>(std::move(name))})) {}

TaskGroup::~TaskGroup() {
  if (size() == 0) return;
  log::fatal(fmt::format("task group {} destroyed with {} tasks running: stop() it first",
                         state_->children->name(), size()));
}

TaskGroup::Spawned TaskGroup::spawn(const asio::any_io_executor& executor, Task<void> task) {
  if (state_->stopping) {
    log::debug("task group {} is stopping: a new task is dropped", state_->children->name());
    return {};
  }
  return state_->children->spawn(executor, std::move(task));
}

void TaskGroup::cancel(const Spawned& task) {
  if (auto running = task.lock()) running->cancel();
}

Task<void> TaskGroup::stop() {
  auto state = state_;
  state->stopping = true;
  state->children->cancel_all();
  co_await state->children->wait_idle();
}

Task<void> TaskGroup::wait_idle() {
  auto state = state_;
  co_await state->children->wait_idle();
}

std::size_t TaskGroup::size() const {
  return state_->children->size();
}
bool TaskGroup::stopping() const {
  return state_->stopping;
}

Task<std::vector<Result<void>>> fan_out(std::vector<Task<Result<void>>> tasks) {
  auto executor = co_await asio::this_coro::executor;
  std::vector<Result<void>> outcomes(tasks.size());
  if (tasks.size() == 1) {
    outcomes[0] = co_await std::move(tasks[0]);
    co_return outcomes;
  }
  auto children = std::make_shared<Children>("fan_out");
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    children->spawn(executor, store_outcome(std::move(tasks[i]), outcomes[i]));
  }
  co_await children->join();
  co_return outcomes;
}

Task<bool> detail::run_until_deadline(Clock& clock, nanoseconds deadline, Task<void> task) {
  auto executor = co_await asio::this_coro::executor;
  auto children = std::make_shared<Children>("with_deadline");
  bool expired = false;
  std::weak_ptr<RunningTask> work;
  std::weak_ptr<RunningTask> timer;
  work = children->spawn(executor, run_then_cancel(std::move(task), timer));
  timer = children->spawn(executor, cancel_at(clock, deadline, work, expired));
  co_await children->join();
  co_return expired;
}

}  // namespace polder
