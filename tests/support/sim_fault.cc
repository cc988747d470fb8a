// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/support/sim_fault.h"

#include <utility>

namespace polder {

void SimFault::fail_nth(std::uint64_t n, int code, bool sticky) {
  std::lock_guard lock(mutex_);
  fail_at_ = calls_ + n;
  code_ = code;
  sticky_ = sticky;
  freezes_ = fired_ = false;
  at_death_ = nullptr;
}

void SimFault::freeze_at(std::uint64_t n, std::function<void()> at_death) {
  fail_nth(n, EIO, true);
  std::lock_guard lock(mutex_);
  freezes_ = true;
  at_death_ = std::move(at_death);
}

void SimFault::heal() {
  std::lock_guard lock(mutex_);
  fail_at_ = 0;
  freezes_ = false;
  at_death_ = nullptr;
}

std::uint64_t SimFault::calls() const {
  std::lock_guard lock(mutex_);
  return calls_;
}

bool SimFault::fired() const {
  std::lock_guard lock(mutex_);
  return fired_;
}

bool SimFault::is_dead() const {
  std::lock_guard lock(mutex_);
  return freezes_ && fired_;
}

Result<void> SimFault::count() {
  std::lock_guard lock(mutex_);
  ++calls_;
  if (fail_at_ == 0 || calls_ < fail_at_ || (calls_ > fail_at_ && !sticky_)) return {};
  fired_ = true;
  if (auto at_death = std::exchange(at_death_, nullptr)) at_death();
  return Error(code_);
}

}  // namespace polder
