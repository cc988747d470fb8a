// SPDX-License-Identifier: GPL-3.0-or-later
// The three ways to have several tasks at once: fan_out, with_deadline, TaskGroup; and the two ways to wait
// for one another: Event, KeyLocks. Nothing is detached. Loop thread only.
//
// Cancellation: a task started here is cancelled for good, never by an exception:
// this_coro::throw_if_cancelled is false, only terminal cancellation exists, and no code resets the state.
// Every wait of Polder (sleep, Event, KeyLocks, Stream) then returns ECANCELED, at once or when it is
// reached; a lock, a connection or bytes that came just before the cancellation are delivered, not lost.
// on_worker() always waits for its worker. Clean-up after a cancellation can therefore not wait for anything
// but workers, stop() and wait_idle(). Direct Asio operations do not look at what was cancelled before they
// began: check is_cancelled() (base/coro.h) before each.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/task.h"

namespace polder {

struct RunningTask;

/// Background tasks owned by one object. Cancelled and drained in stop(); asserted empty on destruction.
class TaskGroup {
 public:
  explicit TaskGroup(std::string name);  // for logs
  ~TaskGroup();
  TaskGroup(const TaskGroup&) = delete;

  /// One task of the group; expires when the task has ended.
  using Spawned = std::weak_ptr<RunningTask>;

  /// Starts `task` soon, never inside the call. An exception out of it is a bug: logged with the group's
  /// name, then the process ends.
  Spawned spawn(const boost::asio::any_io_executor& executor, Task<void> task);
  /// The same, but inside the call, up to the task's first wait: one turn of the loop less. Only on the loop
  /// thread, where nothing is half done that the task could see.
  Spawned spawn_now(const boost::asio::any_io_executor& executor, Task<void> task);
  /// Cancels that task alone (its waits end with ECANCELED); nothing when it has ended.
  static void cancel(const Spawned& task);
  /// Cancels what still runs (waits end with ECANCELED) and returns when all have ended, even if the caller
  /// is cancelled meanwhile. Not from a task of the group itself. What is spawned from now on is dropped
  /// unstarted.
  Task<void> stop();
  /// Returns when nothing runs, without cancelling.
  Task<void> wait_idle();
  std::size_t size() const;
  bool stopping() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

/// Awaits all, however they end; outcomes in the order given. A straggler that went on after the return would
/// diverge silently, so there is no first-error exit.
Task<std::vector<Result<void>>> fan_out(std::vector<Task<Result<void>>> tasks);

/// Cancels `task` at boot time `deadline`. Returns only after the task has ended: its own result if it
/// succeeded or ended before, else ETIMEDOUT with maybe_applied set (not set when the deadline had passed at
/// the start). Defined for the result types in use in concurrency_impl.h (include in .cc files).
template <typename T>
Task<Result<T>> with_deadline(Clock& clock, nanoseconds deadline, Task<Result<T>> task);

/// Many wait, one wakes. An Event has no memory: whoever waits checks its condition again in a loop.
class Event {
 public:
  Event();
  ~Event();  // wakes the rest with ECANCELED
  Event(const Event&) = delete;
  /// ECANCELED when the waiting task is cancelled.
  Task<Result<void>> wait();
  void notify_all();

 private:
  struct Waiters;
  std::shared_ptr<Waiters> waiters_;
};

/// Shared/exclusive locks on string keys, first come first served. A set of keys is taken in sorted order, so
/// two operations cannot deadlock.
class KeyLocks {
 public:
  enum class Mode { kShared, kExclusive };
  struct Key {
    std::string key;
    Mode mode;
  };
  /// Held locks; released on destruction, on the loop thread.
  class Guard {
   public:
    Guard() = default;
    Guard(Guard&&) noexcept;
    Guard& operator=(Guard&&) noexcept;
    ~Guard();
    void release();

   private:
    friend class KeyLocks;
    KeyLocks* owner_ = nullptr;
    std::vector<Key> keys_;
  };

  KeyLocks();
  ~KeyLocks();
  /// The same key twice counts once, exclusive if either is. ECANCELED when cancelled; then nothing is held.
  Task<Result<Guard>> lock(std::vector<Key> keys);
  bool idle() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace polder
