// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/support/trace.h"

#include <fmt/core.h>
#include <xxhash.h>

#include <array>

namespace polder {

std::size_t Trace::actor(std::string name) {
  actors_.push_back(std::move(name));
  return actors_.size() - 1;
}

void Trace::add(std::size_t who, std::string_view what, std::uint64_t number) {
  const Event event{clock_.boot_time(), who, what, number};
  const std::array<std::uint64_t, 3> numbers{static_cast<std::uint64_t>(event.when.count()), who, number};
  hash_ = XXH3_64bits_withSeed(numbers.data(), sizeof numbers, hash_);
  hash_ = XXH3_64bits_withSeed(what.data(), what.size(), hash_);
  if (ring_.size() < kLast) ring_.resize(kLast);
  ring_[events_++ % kLast] = event;
}

std::vector<std::string> Trace::last() const {
  std::vector<std::string> texts;
  for (auto at = events_ > kLast ? events_ - kLast : 0; at < events_; ++at) {
    const auto& event = ring_[at % kLast];
    const auto seconds = std::chrono::duration<double>(event.when).count();
    texts.push_back(fmt::format("{:.6f} {}: {} {}", seconds, actors_[event.who], event.what, event.number));
  }
  return texts;
}

}  // namespace polder
