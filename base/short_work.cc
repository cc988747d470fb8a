// SPDX-License-Identifier: GPL-3.0-or-later
#include "base/short_work.h"

#include <algorithm>

namespace polder {

namespace {

constexpr std::uint32_t kSuspicion = 1024;

}  // namespace

void ShortWork::took_here(std::chrono::nanoseconds time, bool waited) {
  const bool known = suspicious();
  if (known) --suspicion_;
  if (time > limits_.short_at_most) suspicion_ = kSuspicion;
  // On a busy machine a job may take long without any fault of the disk.
  if (!known || !waited) time = std::min(time, limits_.usual);
  excess_ = std::max(excess_ + time - limits_.usual, std::chrono::nanoseconds(0));
  if (since_return_ < limits_.short_in_a_row_max) ++since_return_;
  if (excess_ <= limits_.excess) return;
  const bool soon_again = exiles() > 0 && since_return_ < limits_.short_in_a_row_max;
  needed_ =
      soon_again ? std::min(2 * needed_.load(), limits_.short_in_a_row_max) : limits_.short_in_a_row_min;
  excess_ = std::chrono::nanoseconds(0);
  since_return_ = 0;
  short_in_a_row_ = 0;
  ++exiles_;
  here_ = false;
}

void ShortWork::took_there(std::chrono::nanoseconds time, bool waited) {
  if (!enabled_ || runs_here()) return;
  if (time > limits_.short_at_most && waited)
    short_in_a_row_ = 0;
  else if (++short_in_a_row_ >= needed_)
    here_ = true;
}

}  // namespace polder
