// SPDX-License-Identifier: GPL-3.0-or-later
// ShortWork: jobs that block, but usually for microseconds only (a look-up in the kernel's caches, a small
// write into its page cache). A hop to a worker and back costs more than such a job, so they run on the loop
// thread itself as long as they are short. When the disk is slow they go to the workers, and come back when
// they have been short there for a while. One for each brick: a slow one slows none but itself.
//
// The way in is on_worker(ShortWork&, function) in base/on_worker.h. Work that is long by its nature (fsync,
// SQLite, compression, large copies) is given to the Workers themselves.
#pragma once
#include <sys/resource.h>

#include <atomic>
#include <chrono>
#include <cstdint>

#include "base/workers.h"

namespace polder {

class ShortWork {
 public:
  struct Limits {
    /// What a job may take on average, and by how much all together may exceed that, before they go to the
    /// workers.
    std::chrono::nanoseconds usual = std::chrono::microseconds(200);
    std::chrono::nanoseconds excess = std::chrono::milliseconds(12);
    /// So many short jobs in a row on the workers end the exile; twice as many each time it begins again
    /// soon.
    std::uint32_t short_in_a_row_min = 256;
    std::uint32_t short_in_a_row_max = 16384;
    std::chrono::nanoseconds short_at_most = std::chrono::milliseconds(1);
  };

  /// With `enabled` false, and when the workers are no threads, every job goes to the workers.
  ShortWork(Workers& workers, bool enabled) : ShortWork(workers, enabled, Limits()) {}
  ShortWork(Workers& workers, bool enabled, const Limits& limits)
      : workers_(workers),
        enabled_(enabled && workers.are_threads()),
        limits_(limits),
        here_(enabled_),
        needed_(limits.short_in_a_row_min) {}

  Workers& workers() { return workers_; }
  /// Whether the next job runs on the calling thread. Loop thread only.
  bool runs_here() const { return here_.load(std::memory_order_relaxed); }
  /// Only of jobs that took so long it matters whether they waited.
  bool is_long(std::chrono::nanoseconds time) const { return time > limits_.usual; }
  /// What a job took that ran on the loop thread; and on a worker. Any number of workers at once. `waited`:
  /// the thread waited for something, it did not merely lose its CPU to others.
  void took_here(std::chrono::nanoseconds time, bool waited);
  void took_there(std::chrono::nanoseconds time, bool waited);
  /// Whether `waited` must be found out for jobs on the loop thread: some of the last took long. It costs
  /// system calls, so it is not done for all.
  bool suspicious() const { return suspicion_ > 0; }

  /// Times that jobs were sent to the workers because they had become slow.
  std::uint64_t exiles() const { return exiles_.load(std::memory_order_relaxed); }

 private:
  Workers& workers_;
  const bool enabled_;
  const Limits limits_;
  std::atomic<bool> here_;
  std::atomic<std::uint64_t> exiles_{0};
  // The loop thread's.
  std::chrono::nanoseconds excess_{0};
  std::uint32_t since_return_ = 0;
  std::uint32_t suspicion_ = 0;  // so many more jobs are looked at closely
  // Written by the loop thread before it gives work away, then by workers.
  std::atomic<std::uint32_t> needed_;
  std::atomic<std::uint32_t> short_in_a_row_{0};
};

/// How often the calling thread has waited for anything but its CPU.
inline long waits_of_this_thread() {
  rusage usage{};
  ::getrusage(RUSAGE_THREAD, &usage);
  return usage.ru_nvcsw;
}

}  // namespace polder
