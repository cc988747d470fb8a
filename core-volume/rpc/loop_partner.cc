// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/rpc/loop_partner.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <string_view>

namespace polder {
namespace {

// A look costs some 10 µs, moving 20: neither counts at this rate.
constexpr auto kInterval = std::chrono::milliseconds(5);
// Fields of proc_pid_stat(5), counted from the state, which follows the name.
constexpr int kProcessorField = 36;

/// The CPU of a process that is running, from its /proc/PID/stat; -1: it is not, or the text is not of that
/// kind.
int running_on(std::string_view status) {
  const auto name_end = status.rfind(')');  // a name may have parentheses and spaces
  if (name_end == std::string_view::npos || !status.substr(name_end).starts_with(") R ")) return -1;
  status.remove_prefix(name_end + 2);
  for (int field = 0; field < kProcessorField; ++field) {
    const auto space = status.find(' ');
    if (space == std::string_view::npos) return -1;
    status.remove_prefix(space + 1);
  }
  int cpu = -1;
  std::from_chars(status.data(), status.data() + status.size(), cpu);
  return cpu;
}

/// To any other CPU that the thread may use. False: there is none.
bool leave(int cpu) {
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return false;
  cpu_set_t others = allowed;
  CPU_CLR(static_cast<unsigned>(cpu), &others);
  if (CPU_COUNT(&others) == 0 || sched_setaffinity(0, sizeof others, &others) != 0) return false;
  return sched_setaffinity(0, sizeof allowed, &allowed) == 0;
}

}  // namespace

boost::asio::execution_context::id LoopPartner::id;

LoopPartner::~LoopPartner() {
  set(0);
}

LoopPartner& LoopPartner::of(const boost::asio::any_io_executor& executor) {
  namespace asio = boost::asio;
  return asio::use_service<LoopPartner>(asio::query(executor, asio::execution::context));
}

void LoopPartner::set(pid_t process) {
  if (status_fd_ >= 0) close(status_fd_);
  status_fd_ = -1;
  if (process <= 0 || process == getpid()) return;
  status_fd_ = open(fmt::format("/proc/{}/stat", process).c_str(), O_RDONLY | O_CLOEXEC);
}

bool LoopPartner::shares_cpu(int cpu) const {
  std::array<char, 1024> text;
  const ssize_t size = pread(status_fd_, text.data(), text.size(), 0);
  return size > 0 && running_on({text.data(), static_cast<std::size_t>(size)}) == cpu;
}

bool LoopPartner::keep_apart(Time now) {
  if (status_fd_ < 0 || now < next_) return false;
  next_ = now + kInterval;
  const int cpu = sched_getcpu();
  return cpu >= 0 && shares_cpu(cpu) && leave(cpu);
}

}  // namespace polder
