// SPDX-License-Identifier: GPL-3.0-or-later
#include "base/crash_point.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <cstdlib>
#include <mutex>
#include <string>

#include "base/log.h"

namespace polder {

namespace {

void kill_this_process() {
  ::kill(::getpid(), SIGKILL);
  for (;;) ::pause();  // the signal may reach another thread first; nothing may go on from here
}

struct Armed {
  std::mutex mutex;
  std::string name;
  unsigned left = 0;
  void (*handler)() = nullptr;
};

/// Never destroyed: workers may pass a point while the process ends.
Armed& armed() {
  static auto* instance = new Armed;
  return *instance;
}

enum class State { kUnread, kDisarmed, kArmed };
std::atomic<State> state{State::kUnread};

/// NAME or NAME:N.
void read_environment() {
  Armed& a = armed();
  std::lock_guard lock(a.mutex);
  if (state != State::kUnread) return;
  const char* text = std::getenv("POLDER_CRASH_POINT");
  if (!text || !*text) {
    state = State::kDisarmed;
    return;
  }
  a.name = text;
  a.left = 1;
  a.handler = kill_this_process;
  auto colon = a.name.rfind(':');
  if (colon != std::string::npos) {
    unsigned count = 0;
    const char* end = a.name.data() + a.name.size();
    auto [stop, error] = std::from_chars(a.name.data() + colon + 1, end, count);
    if (error == std::errc() && stop == end && count > 0) {
      a.left = count;
      a.name.resize(colon);
    }
  }
  log::warning("crash point '{}' is armed: passage {} kills this process", a.name, a.left);
  state = State::kArmed;
}

void passed(std::string_view name) {
  Armed& a = armed();
  void (*handler)() = nullptr;
  {
    std::lock_guard lock(a.mutex);
    if (a.name != name || a.left == 0) return;
    if (--a.left == 0) handler = a.handler;
  }
  if (handler) handler();
}

}  // namespace

void crash_point(std::string_view name) {
  State seen = state.load(std::memory_order_relaxed);
  if (seen == State::kDisarmed) return;
  if (seen == State::kUnread) read_environment();
  if (state.load(std::memory_order_acquire) == State::kArmed) passed(name);
}

void arm_crash_point(std::string_view name, unsigned passage, void (*handler)()) {
  Armed& a = armed();
  std::lock_guard lock(a.mutex);
  a.name = name;
  a.left = passage;
  a.handler = handler;
  state = name.empty() ? State::kDisarmed : State::kArmed;
}

}  // namespace polder
