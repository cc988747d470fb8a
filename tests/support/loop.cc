// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/support/loop.h"

#include <fmt/core.h>

#include <boost/asio/co_spawn.hpp>

namespace polder {

namespace {

Task<void> root(Task<void> task) {
  co_await asio::this_coro::throw_if_cancelled(false);
  co_await std::move(task);
}

}  // namespace

void detail::start_root(const asio::any_io_executor& executor, Task<void> task,
                        std::function<void(std::exception_ptr)> ended) {
  asio::co_spawn(executor, root(std::move(task)), std::move(ended));
}

void SimLoop::settle() {
  context_.restart();
  context_.poll();
}

void SimLoop::run_for(nanoseconds duration) {
  nanoseconds end = clock_.boot_time() + duration;
  settle();
  for (auto next = clock_.next_wake(); next && *next <= end; next = clock_.next_wake()) {
    clock_.advance_to(*next);
    settle();
  }
  clock_.advance_to(end);
}

void SimLoop::drive(const std::function<bool()>& done, nanoseconds limit) {
  for (;;) {
    settle();
    if (done()) return;
    auto next = clock_.next_wake();
    if (!next) throw std::runtime_error("deadlock: the task waits and nothing is left that could wake it");
    if (*next > limit) {
      throw std::runtime_error(fmt::format("the task has not ended at virtual time {} s",
                                           std::chrono::duration<double>(limit).count()));
    }
    clock_.advance_to(*next);
  }
}

void RealLoop::drive(const std::function<bool()>& done, std::chrono::seconds limit) {
  auto end = std::chrono::steady_clock::now() + limit;
  context_.restart();
  while (!done()) {
    if (context_.run_one_until(end) > 0) continue;
    throw std::runtime_error(context_.stopped()
                                 ? "deadlock: the task waits and nothing is left that could wake it"
                                 : fmt::format("the task has not ended after {} s", limit.count()));
  }
}

}  // namespace polder
