// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/support/sim_fault.h"

#include <utility>

namespace polder {

namespace {

bool is_sync(std::string_view call) {
  return call == "fsync" || call == "fdatasync" || call == "syncfs";
}

}  // namespace

void SimFault::fail_nth(std::uint64_t n, int code, bool sticky) {
  std::lock_guard lock(mutex_);
  fail_at(calls_ + n, 0, code, sticky);
}

void SimFault::fail_nth_sync(std::uint64_t n, int code, bool sticky) {
  std::lock_guard lock(mutex_);
  fail_at(0, syncs_ + n, code, sticky);
}

void SimFault::fail_at(std::uint64_t call, std::uint64_t sync, int code, bool sticky) {
  fail_at_ = call;
  fail_sync_ = sync;
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
  fail_at_ = fail_sync_ = 0;
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

Result<void> SimFault::count(std::string_view name) {
  std::lock_guard lock(mutex_);
  ++calls_;
  if (is_sync(name) && ++syncs_ == fail_sync_) fail_at_ = calls_;
  if (fail_at_ == 0 || calls_ < fail_at_ || (calls_ > fail_at_ && !sticky_)) return {};
  fired_ = true;
  if (auto at_death = std::exchange(at_death_, nullptr)) at_death();
  return Error(code_);
}

}  // namespace polder
