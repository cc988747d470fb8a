// SPDX-License-Identifier: GPL-3.0-or-later
// KeyLocks. Whoever releases a key hands it to the next in its queue before that one runs, so nobody who
// comes meanwhile can overtake. A key that nobody holds or wants has no entry.
#include <algorithm>
#include <deque>
#include <unordered_map>

#include "base/concurrency.h"
#include "base/log.h"
#include "base/suspend.h"

namespace polder {

struct KeyLocks::State {
  struct Request {
    Mode mode;
    std::shared_ptr<Waiter> waiter;
  };
  struct Entry {
    std::size_t sharers = 0;
    bool exclusive = false;
    std::deque<Request> queue;

    bool admits(Mode mode) const { return !exclusive && (mode == Mode::kShared || sharers == 0); }
    void take(Mode mode) {
      if (mode == Mode::kShared)
        ++sharers;
      else
        exclusive = true;
    }
  };
  using Entries = std::unordered_map<std::string, Entry>;
  Entries entries;

  /// Hands the key on as far as it goes, in order.
  void advance(Entries::iterator at) {
    Entry& entry = at->second;
    while (!entry.queue.empty()) {
      Request& first = entry.queue.front();
      bool waiting = first.waiter->waiting();  // else it was cancelled and has not run yet
      if (waiting && !entry.admits(first.mode)) return;
      if (waiting) {
        entry.take(first.mode);
        first.waiter->wake(0);
      }
      entry.queue.pop_front();
    }
    if (entry.sharers == 0 && !entry.exclusive) entries.erase(at);
  }

  void release(const Key& key) {
    auto at = entries.find(key.key);
    if (key.mode == Mode::kShared)
      --at->second.sharers;
    else
      at->second.exclusive = false;
    advance(at);
  }

  /// After a cancelled wait: those behind it may fit now.
  void forget_cancelled(const std::string& key) {
    auto at = entries.find(key);
    if (at == entries.end()) return;
    std::erase_if(at->second.queue, [](const Request& request) { return !request.waiter->waiting(); });
    advance(at);
  }
};

namespace {

/// Sorted, each key once, in the stronger of its modes.
void normalise(std::vector<KeyLocks::Key>& keys) {
  std::sort(keys.begin(), keys.end(), [](const auto& a, const auto& b) {
    return a.key != b.key ? a.key < b.key : a.mode > b.mode;  // exclusive first: unique() keeps it
  });
  static_assert(KeyLocks::Mode::kExclusive > KeyLocks::Mode::kShared);
  auto same = [](const auto& a, const auto& b) { return a.key == b.key; };
  keys.erase(std::unique(keys.begin(), keys.end(), same), keys.end());
}

}  // namespace

KeyLocks::KeyLocks() : state_(std::make_unique<State>()) {}
KeyLocks::~KeyLocks() {
  if (!idle()) log::fatal("KeyLocks destroyed while keys are held or wanted");
}
bool KeyLocks::idle() const {
  return state_->entries.empty();
}

Task<Result<KeyLocks::Guard>> KeyLocks::lock(std::vector<Key> keys) {
  normalise(keys);
  Guard guard;
  guard.owner_ = this;
  guard.keys_.reserve(keys.size());
  for (auto& key : keys) {
    State::Entry& entry = state_->entries[key.key];
    if (entry.queue.empty() && entry.admits(key.mode)) {
      entry.take(key.mode);
    } else {
      int code = co_await suspend(
          [&](std::shared_ptr<Waiter> waiter) { entry.queue.push_back({key.mode, std::move(waiter)}); });
      if (code != 0) {
        state_->forget_cancelled(key.key);
        co_return Error(code);  // the guard gives back what it has
      }
    }
    guard.keys_.push_back(std::move(key));
  }
  co_return std::move(guard);
}

KeyLocks::Guard::Guard(Guard&& other) noexcept
    : owner_(std::exchange(other.owner_, nullptr)), keys_(std::move(other.keys_)) {}

KeyLocks::Guard& KeyLocks::Guard::operator=(Guard&& other) noexcept {
  if (this != &other) {
    release();
    owner_ = std::exchange(other.owner_, nullptr);
    keys_ = std::move(other.keys_);
  }
  return *this;
}

KeyLocks::Guard::~Guard() {
  release();
}

void KeyLocks::Guard::release() {
  KeyLocks* owner = std::exchange(owner_, nullptr);
  if (!owner) return;
  for (const auto& key : keys_) owner->state_->release(key);
  keys_.clear();
}

}  // namespace polder
