// SPDX-License-Identifier: GPL-3.0-or-later
// SimClock: time that a test owns. It stands still while anything is ready to run and then jumps to the next
// sleeper, so months pass in milliseconds and every run of a seed is the same. Loop thread only.
#pragma once
#include <map>
#include <memory>
#include <optional>

#include "base/clock.h"

namespace polder {

class Waiter;

class SimClock final : public Clock {
 public:
  SimClock();
  ~SimClock() override;

  nanoseconds boot_time() const override { return boot_; }
  nanoseconds wall_time() const override { return boot_ + wall_offset_; }
  Task<Result<void>> sleep_until(nanoseconds when) override;

  /// The wall clock jumps, as NTP or an administrator does it; sleepers notice nothing.
  void step_wall(nanoseconds by) { wall_offset_ += by; }
  /// Earliest time that somebody sleeps for.
  std::optional<nanoseconds> next_wake() const;
  /// Moves to `when` and wakes all who slept until then, in the order of their times, then of their calls.
  void advance_to(nanoseconds when);
  std::size_t sleepers() const { return sleepers_.size(); }

 private:
  nanoseconds boot_{};
  nanoseconds wall_offset_;
  std::multimap<nanoseconds, std::shared_ptr<Waiter>> sleepers_;
};

/// Another machine's view of the same time: its wall clock is off by a constant, and it booted at another
/// time.
class SkewedClock final : public Clock {
 public:
  SkewedClock(SimClock& clock, nanoseconds wall_skew, nanoseconds booted_before = {})
      : clock_(clock), wall_skew_(wall_skew), booted_before_(booted_before) {}

  nanoseconds boot_time() const override { return clock_.boot_time() + booted_before_; }
  nanoseconds wall_time() const override { return clock_.wall_time() + wall_skew_; }
  Task<Result<void>> sleep_until(nanoseconds when) override;
  void set_wall_skew(nanoseconds skew) { wall_skew_ = skew; }

 private:
  SimClock& clock_;
  nanoseconds wall_skew_;
  nanoseconds booted_before_;
};

}  // namespace polder
