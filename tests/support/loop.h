// SPDX-License-Identifier: GPL-3.0-or-later
// Loops for tests: SimLoop on virtual time, RealLoop on the machine's. Both run a task to its end and fail
// the test, by an exception with the reason, when it cannot end.
#pragma once
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <functional>
#include <optional>
#include <stdexcept>
#include <variant>

#include "base/coro.h"
#include "tests/support/sim_clock.h"

namespace polder {

namespace detail {

template <typename T>
struct Outcome {
  std::optional<std::conditional_t<std::is_void_v<T>, std::monostate, T>> value;
  std::exception_ptr failure;
  bool done = false;

  T take() {
    if (failure) std::rethrow_exception(failure);
    if constexpr (!std::is_void_v<T>) return std::move(*value);
  }
};

template <typename T>
Task<void> keep_outcome(Task<T> task, std::shared_ptr<Outcome<T>> outcome) {
  if constexpr (std::is_void_v<T>) {
    co_await std::move(task);
  } else {
    outcome->value.emplace(co_await std::move(task));
  }
}

/// Starts `task` with the cancellation policy of base/concurrency.h.
void start_root(const asio::any_io_executor& executor, Task<void> task,
                std::function<void(std::exception_ptr)> ended);

template <typename T>
std::shared_ptr<Outcome<T>> start(const asio::any_io_executor& executor, Task<T> task) {
  auto outcome = std::make_shared<Outcome<T>>();
  start_root(executor, keep_outcome(std::move(task), outcome), [outcome](std::exception_ptr failure) {
    outcome->failure = std::move(failure);
    outcome->done = true;
  });
  return outcome;
}

}  // namespace detail

/// One thread, one virtual clock: polls until nothing is ready, then jumps to the next sleeper. Everything in
/// it must be simulated (SimClock, SimTransport, SimDisk, inline workers); then a run is a function of its
/// seeds. Declare it before what runs in it.
class SimLoop {
 public:
  asio::any_io_executor executor() { return context_.get_executor(); }
  asio::io_context& context() { return context_; }
  SimClock& clock() { return clock_; }

  /// Throws when nothing is left that could wake it ("deadlock"), or after `limit` of virtual time.
  template <typename T>
  T run_until_done(Task<T> task, nanoseconds limit = std::chrono::hours(24)) {
    auto outcome = detail::start(executor(), std::move(task));
    drive([&] { return outcome->done; }, clock_.boot_time() + limit);
    return outcome->take();
  }
  /// Lets everything run for so long of virtual time; ends at exactly that time.
  void run_for(nanoseconds duration);
  /// Runs what is ready; time does not move.
  void settle();

 private:
  void drive(const std::function<bool()>& done, nanoseconds limit);

  asio::io_context context_{1};
  SimClock clock_;
};

/// The machine's time, sockets and threads.
class RealLoop {
 public:
  asio::any_io_executor executor() { return context_.get_executor(); }
  asio::io_context& context() { return context_; }

  /// Throws after `limit`: generous, since it only bounds a test that has failed already.
  template <typename T>
  T run_until_done(Task<T> task, std::chrono::seconds limit = std::chrono::seconds(60)) {
    auto outcome = detail::start(executor(), std::move(task));
    drive([&] { return outcome->done; }, limit);
    return outcome->take();
  }

 private:
  void drive(const std::function<bool()>& done, std::chrono::seconds limit);

  asio::io_context context_{1};
};

}  // namespace polder
