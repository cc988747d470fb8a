// SPDX-License-Identifier: GPL-3.0-or-later
// WakeUp: one task waits, one event wakes it. The hot path of the rpc, where an Event would be allocated for
// every request. Heavy (Asio): .cc files and internal headers only. Loop thread only.
#pragma once
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <functional>
#include <utility>

#include "base/coro.h"

namespace polder {

class WakeUp {
 public:
  bool waiting() const { return static_cast<bool>(resume_); }

  /// Returns after wake(). When the task is cancelled, `on_cancel` is called on the loop thread and decides:
  /// usually it calls wake(). It may also be called between wake() and the return.
  template <typename OnCancel>
  Task<void> wait(OnCancel on_cancel) {
    co_await asio::async_initiate<const asio::use_awaitable_t<>, void()>(
        [this, &on_cancel](auto handler) {
          auto slot = asio::get_associated_cancellation_slot(handler);
          if (slot.is_connected()) slot.assign([&on_cancel](asio::cancellation_type) { on_cancel(); });
          resume_ = [handler = std::move(handler)]() mutable {
            auto executor = asio::get_associated_executor(handler);
            asio::post(executor, std::move(handler));
          };
        },
        asio::use_awaitable);
    // The slot must not keep a reference to this frame.
    (co_await asio::this_coro::cancellation_state).slot().clear();
  }

  /// Nothing happens when nobody waits.
  void wake() {
    if (!resume_) return;
    auto resume = std::exchange(resume_, nullptr);
    resume();
  }

 private:
  std::move_only_function<void()> resume_;
};

}  // namespace polder
