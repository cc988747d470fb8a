// SPDX-License-Identifier: GPL-3.0-or-later
// Tasks side by side: TaskGroup, fan_out, with_deadline. Each task is an Asio thread of its own with a
// cancellation signal of its own (base/children.h).
#include "base/concurrency.h"

#include "base/children.h"
#include "base/concurrency_impl.h"
#include "base/log.h"

namespace polder {

namespace {

Task<void> store_outcome(Task<Result<void>> task, Result<void>& outcome) {
  outcome = co_await std::move(task);
}

Task<void> run_then_cancel(Task<void> task, const std::weak_ptr<RunningTask>& other) {
  co_await std::move(task);
  TaskGroup::cancel(other);
}

Task<void> cancel_at(Clock& clock, nanoseconds deadline, const std::weak_ptr<RunningTask>& task,
                     bool& expired) {
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

TaskGroup::Spawned TaskGroup::spawn_now(const asio::any_io_executor& executor, Task<void> task) {
  if (state_->stopping) return spawn(executor, std::move(task));  // which drops it
  return state_->children->spawn_now(executor, std::move(task));
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
