// SPDX-License-Identifier: GPL-3.0-or-later
// Clock: the seam for time. All waiting goes through it, so that a test owns time.
#pragma once
#include <chrono>
#include <cstdint>
#include <memory>

#include "base/task.h"

namespace polder {

using std::chrono::nanoseconds;

class Clock {
 public:
  virtual ~Clock() = default;

  /// Time since boot, running on through suspend (CLOCK_BOOTTIME): for deadlines and leases.
  virtual nanoseconds boot_time() const = 0;
  /// Time since the epoch; may jump. For people and for the HLC only.
  virtual nanoseconds wall_time() const = 0;
  /// Resumes at boot time `when` or later. ECANCELED when the awaiting task was cancelled. Loop thread only.
  virtual Task<Result<void>> sleep_until(nanoseconds when) = 0;

  Task<Result<void>> sleep_for(nanoseconds duration);
};

/// The machine's clocks and Asio's timers.
std::unique_ptr<Clock> make_system_clock();

}  // namespace polder
