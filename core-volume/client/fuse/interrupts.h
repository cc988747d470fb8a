// SPDX-License-Identifier: GPL-3.0-or-later
// Interrupts: what happens when a signal reaches a process that waits for an answer. As with NFS: a signal
// that ends the process ends the wait; one that it handles does not (programs do not expect EINTR from a
// file), except in waits for locks, where POSIX says so. The kernel tells us of the first signal only, so an
// interrupted request is looked at again and again until it is answered. Loop thread only.
#pragma once
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/concurrency.h"
#include "core-volume/client/fuse/askers.h"

namespace polder {

/// A request that has not been answered yet.
struct Pending : std::enable_shared_from_this<Pending> {
  TaskGroup::Spawned task;
  std::uint32_t pid = 0;    // of the waiting thread; 0 when it lives in a pid name space that we cannot see
  bool any_signal = false;  // not only a fatal one ends the wait
  bool interrupted = false;
  std::optional<Askers::Waiting> asker;
};

class Interrupts {
 public:
  Interrupts(Clock& clock, TaskGroup& tasks) : clock_(clock), tasks_(tasks) {}

  /// The kernel says that the waiting thread got a signal. `pending->task` is running.
  void interrupted(const boost::asio::any_io_executor& executor, const std::shared_ptr<Pending>& pending);

 private:
  Task<void> watch();

  Clock& clock_;
  TaskGroup& tasks_;
  std::vector<std::weak_ptr<Pending>> waiting_;
  bool watching_ = false;
};

/// Whether the thread whose /proc/PID/status this is has a signal pending that will end it.
bool has_fatal_signal(std::string_view status);

}  // namespace polder
