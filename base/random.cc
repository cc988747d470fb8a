// SPDX-License-Identifier: GPL-3.0-or-later
#include "base/random.h"

#include <sys/random.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <mutex>

#include "base/log.h"

namespace polder {

namespace {

/// One system call per block, not per gfid. Bytes handed out are wiped from the block.
class SystemRandom final : public Random {
 public:
  void fill(std::span<std::uint8_t> out) override {
    if (out.size() > block_.size() / 4) return from_kernel(out);
    std::lock_guard lock(mutex_);
    if (out.size() > block_.size() - used_) {
      from_kernel(block_);
      used_ = 0;
    }
    std::uint8_t* from = block_.data() + used_;
    std::copy_n(from, out.size(), out.data());
    explicit_bzero(from, out.size());
    used_ += out.size();
  }

 private:
  static void from_kernel(std::span<std::uint8_t> out) {
    while (!out.empty()) {
      ssize_t count = ::getrandom(out.data(), out.size(), 0);
      if (count < 0 && errno != EINTR) log::fatal("getrandom failed: no identities or keys can be made");
      if (count > 0) out = out.subspan(static_cast<std::size_t>(count));
    }
  }

  std::mutex mutex_;
  std::array<std::uint8_t, 1024> block_{};
  std::size_t used_ = block_.size();
};

/// xoshiro256** (Blackman and Vigna, public domain), seeded by SplitMix64 as its authors advise.
class SeededRandom final : public Random {
 public:
  explicit SeededRandom(std::uint64_t seed) {
    for (auto& word : state_) {
      std::uint64_t z = (seed += 0x9e3779b97f4a7c15);
      z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
      z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
      word = z ^ (z >> 31);
    }
  }

  void fill(std::span<std::uint8_t> out) override {
    std::lock_guard lock(mutex_);
    while (!out.empty()) {
      std::uint64_t word = step();
      std::size_t count = std::min(out.size(), sizeof word);
      for (std::size_t i = 0; i < count; ++i) out[i] = static_cast<std::uint8_t>(word >> (8 * i));
      out = out.subspan(count);
    }
  }

 private:
  std::uint64_t step() {
    std::uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
    std::uint64_t t = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= t;
    state_[3] = std::rotl(state_[3], 45);
    return result;
  }

  std::mutex mutex_;
  std::array<std::uint64_t, 4> state_{};
};

}  // namespace

std::uint64_t Random::next() {
  std::array<std::uint8_t, 8> bytes;
  fill(bytes);
  std::uint64_t value = 0;
  for (std::size_t i = bytes.size(); i-- > 0;) value = value << 8 | bytes[i];
  return value;
}

std::uint64_t Random::below(std::uint64_t bound) {
  // Values under 2^64 mod bound would make small results more likely.
  std::uint64_t least = (0 - bound) % bound;
  std::uint64_t value;
  do {
    value = next();
  } while (value < least);
  return value % bound;
}

std::unique_ptr<Random> make_system_random() {
  return std::make_unique<SystemRandom>();
}
std::unique_ptr<Random> make_seeded_random(std::uint64_t seed) {
  return std::make_unique<SeededRandom>(seed);
}

}  // namespace polder
