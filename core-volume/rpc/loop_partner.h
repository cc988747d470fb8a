// SPDX-License-Identifier: GPL-3.0-or-later
// LoopPartner: the process whose loop answers ours. While both poll, each needs a CPU: where the kernel has
// put them on one, every answer waits for a turn of the other. The kernel does not see that, since both are
// always ready to run, so ours goes to another CPU then. A service of the loop's context, driven by
// run_loop(). Loop thread only. Heavy (Asio): .cc files only.
#pragma once
#include <sys/types.h>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/execution_context.hpp>
#include <chrono>

namespace polder {

class LoopPartner : public boost::asio::execution_context::service {
 public:
  using Time = std::chrono::steady_clock::time_point;

  static boost::asio::execution_context::id id;
  explicit LoopPartner(boost::asio::execution_context& context) : service(context) {}
  ~LoopPartner() override;
  LoopPartner(const LoopPartner&) = delete;
  LoopPartner& operator=(const LoopPartner&) = delete;

  static LoopPartner& of(const boost::asio::any_io_executor& executor);

  /// The process whose main thread runs the other loop; 0: none, or not on this machine.
  void set(pid_t process);
  /// For the loop, while it polls; looks every few milliseconds only. True when the calling thread has gone
  /// to another of the CPUs that it may use, which stay the same.
  bool keep_apart(Time now);

 private:
  void shutdown() noexcept override {}
  bool shares_cpu(int cpu) const;

  int status_fd_ = -1;  // /proc/PID/stat; of a process that has ended it cannot be read any more
  Time next_{};
};

}  // namespace polder
