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

/// What the rate adds in so much time. Seconds and the rest apart: years of nanoseconds times ppm do not fit.
nanoseconds SkewedClock::added_in(nanoseconds time) const {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(time);
  return nanoseconds(seconds.count() * ppm_ * 1000) + (time - seconds) * ppm_ / 1'000'000;
}

nanoseconds SkewedClock::drifted() const {
  return drifted_before_ + added_in(clock_.boot_time() - drifting_since_);
}

nanoseconds SkewedClock::boot_time() const {
  return clock_.boot_time() + booted_before_ + drifted();
}

void SkewedClock::set_drift_ppm(std::int64_t ppm) {
  drifted_before_ = drifted();
  drifting_since_ = clock_.boot_time();
  ppm_ = ppm;
}

/// Never too early: what is left of the true time is a little more than left - added_in(left).
Task<Result<void>> SkewedClock::sleep_until(nanoseconds when) {
  do {
    const auto left = when - boot_time();
    CO_TRY(co_await clock_.sleep_for(left > nanoseconds(0) ? std::max(nanoseconds(1), left - added_in(left))
                                                           : left));
  } while (boot_time() < when);
  co_return Result<void>();
}

}  // namespace polder
