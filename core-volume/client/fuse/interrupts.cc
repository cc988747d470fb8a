// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/client/fuse/interrupts.h"

#include <charconv>
#include <csignal>
#include <fstream>
#include <sstream>

#include "base/coro.h"

namespace polder {

namespace {

constexpr std::chrono::milliseconds kLookAgain(200);

/// The hexadecimal set of signals after `key` ("SigPnd:"); signal N is bit N-1.
std::uint64_t signal_set(std::string_view status, std::string_view key) {
  const auto at = status.find(key);
  if (at == std::string_view::npos) return 0;
  const auto digits = status.find_first_not_of(" \t", at + key.size());
  if (digits == std::string_view::npos) return 0;
  std::uint64_t set = 0;
  std::from_chars(status.data() + digits, status.data() + status.size(), set, 16);
  return set;
}

/// Without a handler these do not end a process.
constexpr std::uint64_t harmless_signals() {
  std::uint64_t set = 0;
  for (int signal : {SIGCHLD, SIGCONT, SIGURG, SIGWINCH, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU})
    set |= std::uint64_t{1} << (signal - 1);
  return set;
}

bool wait_is_over(const Pending& pending) {
  if (pending.any_signal || pending.pid == 0) return true;
  std::ifstream file("/proc/" + std::to_string(pending.pid) + "/status");
  std::ostringstream status;
  status << file.rdbuf();
  // Not there any more: nobody waits.
  return status.view().empty() || has_fatal_signal(status.view());
}

}  // namespace

bool has_fatal_signal(std::string_view status) {
  const std::uint64_t pending = signal_set(status, "SigPnd:") | signal_set(status, "ShdPnd:");
  const std::uint64_t survived = signal_set(status, "SigBlk:") | signal_set(status, "SigIgn:") |
                                 signal_set(status, "SigCgt:") | harmless_signals();
  return (pending & ~survived) != 0;
}

void Interrupts::interrupted(const asio::any_io_executor& executor, const std::shared_ptr<Pending>& pending) {
  if (wait_is_over(*pending)) {
    TaskGroup::cancel(pending->task);
    return;
  }
  waiting_.push_back(pending);
  if (watching_ || tasks_.stopping()) return;
  watching_ = true;
  tasks_.spawn(executor, watch());
}

Task<void> Interrupts::watch() {
  while (!waiting_.empty()) {
    auto slept = co_await clock_.sleep_for(kLookAgain);
    if (!slept) break;
    std::erase_if(waiting_, [](const std::weak_ptr<Pending>& weak) {
      const auto pending = weak.lock();
      if (pending == nullptr) return true;
      if (!wait_is_over(*pending)) return false;
      TaskGroup::cancel(pending->task);
      return true;
    });
  }
  watching_ = false;
}

}  // namespace polder
