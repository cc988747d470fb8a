// SPDX-License-Identifier: GPL-3.0-or-later
// Random: the seam for chance. Any thread.
#pragma once
#include <cstdint>
#include <memory>
#include <span>

namespace polder {

class Random {
 public:
  virtual ~Random() = default;
  virtual void fill(std::span<std::uint8_t> out) = 0;

  std::uint64_t next();
  /// Uniform in [0, bound); bound > 0. Not std::uniform_int_distribution: its results differ by library.
  std::uint64_t below(std::uint64_t bound);
};

/// The kernel's generator; fit for keys and tokens.
std::unique_ptr<Random> make_system_random();
/// Deterministic (xoshiro256**), for tests and the simulation.
std::unique_ptr<Random> make_seeded_random(std::uint64_t seed);

}  // namespace polder
