// SPDX-License-Identifier: GPL-3.0-or-later
// LoopWatch: what a busy loop looks at by itself. Waiting for a descriptor costs an epoll_ctl, an epoll_wait
// and a trip through the reactor; while the loop polls anyway, asking the descriptor itself is cheaper. A
// service of the loop's context, driven by run_loop(); a context that nothing drives never looks. Loop thread
// only. Heavy (Asio): .cc files only.
#pragma once
#include <boost/asio/execution_context.hpp>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "base/coro.h"

namespace polder {

class Waiter;

class LoopWatch : public asio::execution_context::service {
 public:
  static asio::execution_context::id id;
  explicit LoopWatch(asio::execution_context& context) : service(context) {}

  static LoopWatch& of(const asio::any_io_executor& executor);

  /// Waits until `look` returns true: it is called again and again, must not block, and has done the work
  /// itself then. False at once when the loop does not look, and false later when it is about to sleep or the
  /// task was cancelled: then the caller waits in the usual way.
  Task<bool> found(std::function<bool()> look);
  /// The same for what comes about in the order in which it was asked for: of all that wait in one `line`
  /// (any address) only the first is looked at. Such a look starts no tasks.
  Task<bool> found_in_line(const void* line, std::function<bool()> look);

  /// While `others_first` returns true the loop sleeps rather than polls. Must be good as long as the context
  /// is; called often.
  void rest_while(std::function<bool()> others_first) { others_first_ = std::move(others_first); }

  // For the loop.
  bool is_to_rest() const { return others_first_ && others_first_(); }
  void set_busy(bool busy) { busy_ = busy; }
  bool empty() const { return looks_.empty() && lines_.empty(); }
  /// Whether somebody found something. Inside a handler of the context.
  bool look();
  /// Sends everybody away; they continue at the next poll.
  void give_up();

 private:
  struct Look {
    std::function<bool()> look;
    std::shared_ptr<Waiter> waiter;
  };

  void shutdown() noexcept override {
    looks_.clear();
    lines_.clear();
    others_first_ = {};
  }
  bool look_at_lines();

  bool busy_ = false;
  std::function<bool()> others_first_;
  std::vector<Look> looks_;
  std::map<const void*, std::deque<Look>> lines_;  // none is empty
};

}  // namespace polder
