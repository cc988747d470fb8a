// SPDX-License-Identifier: GPL-3.0-or-later
// SimFault: which of the calls that it counts fails. Each SimDisk has one; the disks of a machine (SimDisks)
// share another one beside it, for faults at the n-th call of any of them. Any thread.
#pragma once
#include <cstdint>
#include <functional>
#include <mutex>
#include <string_view>

#include "base/result.h"

namespace polder {

class SimFault {
 public:
  /// The n-th call from now (1 = the next one) fails without effect; when sticky, so do all that follow.
  void fail_nth(std::uint64_t n, int code, bool sticky = false);
  /// The n-th of the calls that sync from now; when sticky, also all calls that follow, of any kind.
  void fail_nth_sync(std::uint64_t n, int code, bool sticky = false);
  /// From the n-th call on the process is dead: all calls fail. `at_death` is called in the first of them,
  /// and must not use the disk.
  void freeze_at(std::uint64_t n, std::function<void()> at_death = {});
  void heal();

  std::uint64_t calls() const;
  /// Whether the call named by fail_nth() or freeze_at() was made.
  bool fired() const;
  /// The process is ending: a sync that it still tries did not happen at all.
  bool is_dead() const;

  /// One call more; what it fails with.
  Result<void> count(std::string_view name);

 private:
  void fail_at(std::uint64_t call, std::uint64_t sync, int code, bool sticky);

  mutable std::mutex mutex_;
  std::uint64_t calls_ = 0;
  std::uint64_t syncs_ = 0;      // of them
  std::uint64_t fail_at_ = 0;    // a value of calls_; 0: none
  std::uint64_t fail_sync_ = 0;  // a value of syncs_, whose call will be fail_at_; 0: none
  int code_ = 0;
  bool sticky_ = false;
  bool freezes_ = false;
  bool fired_ = false;
  std::function<void()> at_death_;
};

}  // namespace polder
