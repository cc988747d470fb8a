// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/support/sim_clock.h"

#include <algorithm>

#include "base/suspend.h"

namespace polder {

// 2026-01-01: any plausible date will do, as long as it is always the same.
SimClock::SimClock() : wall_offset_(std::chrono::seconds(1767225600)) {}
SimClock::~SimClock() = default;

Task<Result<void>> SimClock::sleep_until(nanoseconds when) {
  if (co_await is_cancelled()) co_return Error(ECANCELED);
  if (when <= boot_) co_return Result<void>();
  auto at = sleepers_.end();
  int code = co_await suspend(
      [&](std::shared_ptr<Waiter> waiter) { at = sleepers_.emplace(when, std::move(waiter)); });
  if (code == 0) co_return Result<void>();
  sleepers_.erase(at);
  co_return Error(code);
}

std::optional<nanoseconds> SimClock::next_wake() const {
  if (sleepers_.empty()) return std::nullopt;
  return sleepers_.begin()->first;
}

void SimClock::advance_to(nanoseconds when) {
  boot_ = std::max(boot_, when);
  auto at = sleepers_.begin();
  while (at != sleepers_.end() && at->first <= boot_) {
    if (at->second->waiting()) {
      at->second->wake(0);
      at = sleepers_.erase(at);
    } else {
      ++at;  // cancelled, and takes itself out when it runs
    }
  }
}

Task<Result<void>> SkewedClock::sleep_until(nanoseconds when) {
  return clock_.sleep_until(when - booted_before_);
}

}  // namespace polder
