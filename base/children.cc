// SPDX-License-Identifier: GPL-3.0-or-later
#include "base/children.h"

#include <boost/asio/co_spawn.hpp>

#include "base/log.h"
#include "base/suspend.h"

namespace polder {

Task<bool> is_cancelled() {
  auto state = co_await asio::this_coro::cancellation_state;
  co_return state.cancelled() != asio::cancellation_type::none;
}

namespace {

/// The root of every task: sets the cancellation policy described in concurrency.h.
Task<void> run_root(asio::any_io_executor executor, Task<void> task) {
  co_await asio::this_coro::throw_if_cancelled(false);
  co_await asio::post(executor, asio::use_awaitable);
  co_await std::move(task);
}

/// co_spawn() dispatches: on the loop thread the task begins inside the call.
Task<void> run_root_now(Task<void> task) {
  co_await asio::this_coro::throw_if_cancelled(false);
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

/// Completion handler of a task. Not bind_cancellation_slot(): with that, co_spawn defers an emit() from
/// outside the running loop and keeps only a raw pointer to the signal, which may be gone by then. A handler
/// without an executor of its own gets every emit() at once.
template <typename Function>
struct EndHandler {
  using cancellation_slot_type = asio::cancellation_slot;
  cancellation_slot_type slot;
  Function function;

  cancellation_slot_type get_cancellation_slot() const noexcept { return slot; }
  void operator()(const std::exception_ptr& failure) { function(failure); }
};

}  // namespace

std::weak_ptr<RunningTask> Children::spawn(const asio::any_io_executor& executor, Task<void> task) {
  return start(executor, run_root(executor, std::move(task)));
}

std::weak_ptr<RunningTask> Children::spawn_now(const asio::any_io_executor& executor, Task<void> task) {
  return start(executor, run_root_now(std::move(task)));
}

std::weak_ptr<RunningTask> Children::start(const asio::any_io_executor& executor, Task<void> root) {
  auto running = std::make_shared<RunningTask>();
  auto at = running_.insert(running_.end(), running);
  auto ended = [self = shared_from_this(), at](const std::exception_ptr& failure) {
    if (failure) die_of(self->name_, failure);
    self->ended(at);
  };
  asio::co_spawn(executor, std::move(root),
                 EndHandler<decltype(ended)>{running->signal.slot(), std::move(ended)});
  return running;
}

void Children::cancel_all() {
  // A copy: nothing ends inside emit() today, but the list must not depend on that.
  std::vector<std::shared_ptr<RunningTask>> all(running_.begin(), running_.end());
  for (auto& running : all) running->cancel();
}

Task<void> Children::wait_idle() {
  auto self = shared_from_this();
  while (!running_.empty()) {
    co_await suspend_uncancellable(
        [this](std::shared_ptr<Waiter> waiter) { waiters_.push_back(std::move(waiter)); });
  }
}

Task<void> Children::join() {
  auto self = shared_from_this();
  while (!running_.empty()) {
    int code =
        co_await suspend([this](std::shared_ptr<Waiter> waiter) { waiters_.push_back(std::move(waiter)); });
    if (code == ECANCELED) {
      cancel_all();
      co_await wait_idle();
    }
  }
}

void Children::ended(RunningList::iterator at) {
  running_.erase(at);
  if (!running_.empty()) return;
  for (auto& waiter : std::exchange(waiters_, {})) waiter->wake(0);
}

}  // namespace polder
