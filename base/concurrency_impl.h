// SPDX-License-Identifier: GPL-3.0-or-later
// with_deadline for any result type. For .cc files.
#pragma once
#include <optional>

#include "base/concurrency.h"
#include "base/coro.h"

namespace polder {

namespace detail {

/// Runs `task` and cancels it at `deadline`; returns when it has ended, with whether the deadline had passed.
Task<bool> run_until_deadline(Clock& clock, nanoseconds deadline, Task<void> task);

template <typename T>
Task<void> keep_result(Task<Result<T>> task, std::optional<Result<T>>& result) {
  result.emplace(co_await std::move(task));
}

}  // namespace detail

template <typename T>
Task<Result<T>> with_deadline(Clock& clock, nanoseconds deadline, Task<Result<T>> task) {
  // Never started, so certainly not applied.
  if (clock.boot_time() >= deadline) co_return Error(ETIMEDOUT);
  std::optional<Result<T>> result;
  bool expired =
      co_await detail::run_until_deadline(clock, deadline, detail::keep_result<T>(std::move(task), result));
  // A task that succeeded all the same has succeeded; what a late error says depends on where the
  // cancellation hit it.
  if (expired && !*result) co_return Error(ETIMEDOUT).set_maybe_applied();
  co_return std::move(*result);
}

}  // namespace polder
