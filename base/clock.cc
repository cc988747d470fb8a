// SPDX-License-Identifier: GPL-3.0-or-later
// The machine's clocks. Asio's timer counts CLOCK_MONOTONIC, which stands still in suspend, so long sleeps
// are cut into slices and measured against CLOCK_BOOTTIME: after a resume a sleeper is at most one slice
// late.
#include "base/clock.h"

#include <algorithm>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <ctime>

#include "base/coro.h"

namespace polder {

namespace {

constexpr nanoseconds kSlice = std::chrono::seconds(10);

nanoseconds read_clock(clockid_t id) {
  timespec now{};
  ::clock_gettime(id, &now);
  return std::chrono::seconds(now.tv_sec) + nanoseconds(now.tv_nsec);
}

class SystemClock final : public Clock {
 public:
  nanoseconds boot_time() const override { return read_clock(CLOCK_BOOTTIME); }
  nanoseconds wall_time() const override { return read_clock(CLOCK_REALTIME); }

  Task<Result<void>> sleep_until(nanoseconds when) override {
    asio::steady_timer timer(co_await asio::this_coro::executor);
    for (;;) {
      if (co_await is_cancelled()) co_return Error(ECANCELED);
      nanoseconds left = when - boot_time();
      if (left <= nanoseconds::zero()) co_return Result<void>();
      timer.expires_after(std::min(left, kSlice));
      boost::system::error_code ignored;  // a cancelled wait is seen at the top of the loop
      co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    }
  }
};

}  // namespace

Task<Result<void>> Clock::sleep_for(nanoseconds duration) {
  return sleep_until(boot_time() + duration);
}

std::unique_ptr<Clock> make_system_clock() {
  return std::make_unique<SystemClock>();
}

}  // namespace polder
