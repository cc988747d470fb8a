// SPDX-License-Identifier: GPL-3.0-or-later
// suspend: the one way a task is parked until somebody wakes it. Event, KeyLocks, TaskGroup and the simulated
// clock and network are made of it. Heavy: .cc files of base and tests/support only.
#pragma once
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <functional>
#include <memory>
#include <utility>

#include "base/coro.h"

namespace polder {

/// A parked task. Owned by the list it waits in, never by its own frame: a frame that owned its own handler
/// would never be freed.
class Waiter {
 public:
  /// Continues the task with `code` from its executor, never inside the call. Only the first call counts.
  void wake(int code) {
    if (auto resume = std::exchange(resume_, nullptr)) resume(code);
  }
  /// False once woken (by anybody, cancellation included).
  bool waiting() const { return resume_ != nullptr; }

 private:
  template <typename Enlist>
  friend Task<int> suspend(Enlist enlist);
  template <typename Enlist>
  friend Task<int> suspend_uncancellable(Enlist enlist);

  template <typename Handler>
  void set(Handler handler) {
    auto executor = asio::get_associated_executor(handler);
    resume_ = [executor, handler = std::move(handler)](int code) mutable {
      asio::post(executor, [handler = std::move(handler), code]() mutable { std::move(handler)(code); });
    };
  }

  std::move_only_function<void(int)> resume_;
};

/// Calls `enlist(std::shared_ptr<Waiter>)`, which puts the waiter where its waker finds it, and parks the
/// calling task. Gives the waker's code, or ECANCELED when the task is cancelled: then the waiter may still
/// be in its list, and the caller takes it out.
template <typename Enlist>
Task<int> suspend(Enlist enlist) {
  if (co_await is_cancelled()) co_return ECANCELED;
  co_return co_await asio::async_initiate<const asio::use_awaitable_t<>, void(int)>(
      [&enlist](auto handler) {
        auto waiter = std::make_shared<Waiter>();
        auto slot = asio::get_associated_cancellation_slot(handler);
        waiter->set(std::move(handler));
        if (slot.is_connected()) {
          slot.assign([weak = std::weak_ptr(waiter)](asio::cancellation_type) {
            if (auto alive = weak.lock()) alive->wake(ECANCELED);
          });
        }
        enlist(std::move(waiter));
      },
      asio::use_awaitable);
}

/// The same for waits that must not end early, such as for tasks that use the caller's frame.
template <typename Enlist>
Task<int> suspend_uncancellable(Enlist enlist) {
  co_return co_await asio::async_initiate<const asio::use_awaitable_t<>, void(int)>(
      [&enlist](auto handler) {
        auto waiter = std::make_shared<Waiter>();
        waiter->set(std::move(handler));
        enlist(std::move(waiter));
      },
      asio::use_awaitable);
}

}  // namespace polder
