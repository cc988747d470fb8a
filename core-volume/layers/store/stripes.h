// SPDX-License-Identifier: GPL-3.0-or-later
// Stripes: make each applied record one step for readers. Names and objects hash on to a fixed number of
// reader/writer locks; apply() takes those of everything that it changes, readers those of what they read.
//
// Deadlock: all stripes of one writer are taken at once in ascending order, names (lower numbers) before
// objects; a reader holds at most one name and one object stripe, in that order.
#pragma once
#include <algorithm>
#include <array>
#include <atomic>
#include <mutex>
#include <shared_mutex>
#include <string_view>
#include <vector>

#include "base/gfid.h"

namespace polder {

class Stripes {
 public:
  static unsigned name(const Gfid& parent, std::string_view name) {
    return static_cast<unsigned>((std::hash<std::string_view>()(name) ^ std::hash<Gfid>()(parent)) % kHalf);
  }
  static unsigned object(const Gfid& gfid) {
    return static_cast<unsigned>(kHalf + std::hash<Gfid>()(gfid) % kHalf);
  }

  /// What a writer holds; released on destruction.
  class Exclusive {
   public:
    Exclusive(Stripes& owner, std::vector<unsigned> stripes) : owner_(owner) {
      std::ranges::sort(stripes);
      stripes.erase(std::ranges::unique(stripes).begin(), stripes.end());
      held_.reserve(stripes.size());
      for (auto i : stripes) {
        owner_.stripes_[i].mutex.lock();
        held_.push_back({i, owner_.stripes_[i].changed.exchange(UINT64_MAX)});
      }
    }
    Exclusive(const Exclusive&) = delete;
    ~Exclusive() {
      auto now = ++owner_.ticks_;
      for (const auto& held : held_) {
        owner_.stripes_[held.stripe].changed = now;
        owner_.stripes_[held.stripe].mutex.unlock();
      }
    }
    /// Whether the last change of the stripe before this writer ended at `tick` or earlier. For who knows
    /// that he has changed nothing yet.
    bool unchanged_since(std::uint64_t tick, unsigned stripe) const {
      for (const auto& held : held_)
        if (held.stripe == stripe) return held.changed <= tick;
      return owner_.unchanged_since(tick, stripe);
    }

   private:
    struct Held {
      unsigned stripe;
      std::uint64_t changed;  // the stripe's, before it was locked
    };
    Stripes& owner_;
    std::vector<Held> held_;
  };

  Exclusive exclusive(std::vector<unsigned> stripes) { return Exclusive(*this, std::move(stripes)); }
  std::shared_lock<std::shared_mutex> shared(unsigned stripe) {
    return std::shared_lock(stripes_[stripe].mutex);
  }

  /// For readers who learn only by reading what they read: read without a lock between now() and
  /// unchanged_since(); if that is false, read again under locks.
  std::uint64_t now() const { return ticks_; }
  bool unchanged_since(std::uint64_t tick, unsigned stripe) const { return stripes_[stripe].changed <= tick; }

 private:
  static constexpr unsigned kHalf = 1024;
  struct Stripe {
    std::shared_mutex mutex;
    std::atomic<std::uint64_t> changed{0};  // tick at which the last change ended; all ones during one
  };
  std::atomic<std::uint64_t> ticks_{0};
  std::array<Stripe, 2 * kHalf> stripes_;
};

}  // namespace polder
