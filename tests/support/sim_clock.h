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

/// Another machine's view of the same time: its wall clock is off, it booted at another time, and its quartz
/// is faster or slower than it should be.
class SkewedClock final : public Clock {
 public:
  SkewedClock(SimClock& clock, nanoseconds wall_skew, nanoseconds booted_before = {})
      : clock_(clock), wall_skew_(wall_skew), booted_before_(booted_before) {}

  nanoseconds boot_time() const override;
  nanoseconds wall_time() const override { return clock_.wall_time() + wall_skew_ + drifted(); }
  Task<Result<void>> sleep_until(nanoseconds when) override;
  /// As NTP steps it: what has drifted so far is forgotten by the wall clock, which is off by `skew` now.
  void set_wall_skew(nanoseconds skew) { wall_skew_ = skew - drifted(); }
  /// Boot and wall clock go so much faster than true time from now on: parts in a million; less than 0:
  /// slower. Neither jumps. Who sleeps never wakes early by this clock; whoever slept before a change for the
  /// faster wakes when it would have without.
  void set_drift_ppm(std::int64_t ppm);

 private:
  /// By how much the clocks are ahead of true time because of their rate.
  nanoseconds drifted() const;
  nanoseconds added_in(nanoseconds time) const;

  SimClock& clock_;
  nanoseconds wall_skew_;
  nanoseconds booted_before_;
  nanoseconds drifted_before_{};  // until drifting_since_
  nanoseconds drifting_since_{};  // true boot time
  std::int64_t ppm_ = 0;
};

}  // namespace polder
