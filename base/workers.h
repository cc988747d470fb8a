// SPDX-License-Identifier: GPL-3.0-or-later
// Workers: the bounded pool for work that blocks (disk, compression, SQLite). The loop thread never does.
#pragma once
#include <functional>
#include <memory>

namespace polder {

class Workers {
 public:
  virtual ~Workers() = default;
  /// Runs `job` once on some worker thread; jobs start in order of submission. Any thread. The awaitable way
  /// in is on_worker() (base/on_worker.h).
  virtual void submit(std::move_only_function<void()> job) = 0;
  /// Whether jobs run beside the caller. False in the simulation, where nothing may depend on the machine's
  /// time.
  virtual bool are_threads() const { return false; }
};

/// `threads` of the machine; the destructor finishes what was submitted, then joins. Destroy it before the
/// io_context that its jobs report to.
std::unique_ptr<Workers> make_thread_workers(unsigned threads);
/// Runs each job in submit(), on the caller's thread: the simulation and single-threaded tests.
std::unique_ptr<Workers> make_inline_workers();

}  // namespace polder
