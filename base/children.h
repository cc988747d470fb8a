// SPDX-License-Identifier: GPL-3.0-or-later
// Children: the running tasks behind TaskGroup, fan_out and with_deadline. For .cc files of base: unlike
// TaskGroup it may be left behind while its cancelled tasks end, which close() of a listener needs.
#pragma once
#include <boost/asio/cancellation_signal.hpp>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "base/coro.h"

namespace polder {

class Waiter;

struct RunningTask {
  boost::asio::cancellation_signal signal;
  void cancel() { signal.emit(boost::asio::cancellation_type::all); }
};

/// Lives as long as a task of it runs.
class Children : public std::enable_shared_from_this<Children> {
 public:
  explicit Children(std::string name) : name_(std::move(name)) {}

  std::weak_ptr<RunningTask> spawn(const asio::any_io_executor& executor, Task<void> task);
  std::weak_ptr<RunningTask> spawn_now(const asio::any_io_executor& executor, Task<void> task);
  void cancel_all();
  /// Not cancellable.
  Task<void> wait_idle();
  /// Passes the caller's cancellation on to the tasks, then still waits for them.
  Task<void> join();
  std::size_t size() const { return running_.size(); }
  const std::string& name() const { return name_; }

 private:
  using RunningList = std::list<std::shared_ptr<RunningTask>>;
  std::weak_ptr<RunningTask> start(const asio::any_io_executor& executor, Task<void> root);
  void ended(RunningList::iterator at);

  std::string name_;
  RunningList running_;
  std::vector<std::shared_ptr<Waiter>> waiters_;
};

}  // namespace polder
