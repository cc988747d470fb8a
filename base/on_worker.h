// SPDX-License-Identifier: GPL-3.0-or-later
// on_worker: run a blocking function on the pool, or at once if it is short, and continue on the caller's
// loop. Heavy: .cc files only.
#pragma once
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/prepend.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>
#include <optional>

#include "base/coro.h"
#include "base/short_work.h"
#include "base/workers.h"

namespace polder {

/// `co_await on_worker(workers, [&] { return disk.fsync(fd); })`. The function runs once, even if the
/// awaiting task is cancelled meanwhile: what it references lives in the coroutine's frame, which waits for
/// it.
template <typename Function, typename T = std::invoke_result_t<Function&>>
Task<T> on_worker(Workers& workers, Function function) {
  std::optional<T> result;
  co_await asio::async_initiate<const asio::use_awaitable_t<>, void()>(
      [&](auto handler) {
        auto executor = asio::get_associated_executor(handler);
        auto work = asio::prefer(executor, asio::execution::outstanding_work.tracked);
        workers.submit([&function, &result, work, handler = std::move(handler)]() mutable {
          result.emplace(function());
          asio::post(work, std::move(handler));
        });
      },
      asio::use_awaitable);
  co_return std::move(*result);
}

/// The same for work that is usually short: on the calling thread as long as it is, see base/short_work.h.
template <typename Function, typename T = std::invoke_result_t<Function&>>
Task<T> on_worker(ShortWork& work, Function function) {
  using SteadyClock = std::chrono::steady_clock;
  const bool here = work.runs_here();
  const bool closely = !here || work.suspicious();
  auto timed = [&]() -> T {
    const long waits = closely ? waits_of_this_thread() : 0;
    const auto began = SteadyClock::now();
    T result = function();
    const auto took = SteadyClock::now() - began;
    // Of a job within the usual time nobody asks.
    const bool waited = closely && work.is_long(took) && waits_of_this_thread() != waits;
    here ? work.took_here(took, waited) : work.took_there(took, waited);
    return result;
  };
  if (here) co_return timed();
  co_return co_await on_worker(work.workers(), timed);
}

}  // namespace polder
