// SPDX-License-Identifier: GPL-3.0-or-later
// Gfid: the 128-bit identity of a file or directory, the same on every replica and every site.
#pragma once
#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace polder {

class Random;

/// The first 16 bits are the slot: which set of bricks has the object is a table look-up, never a question
/// to ask (distribution, architecture.md). The rest is random.
struct Gfid {
  std::array<std::uint8_t, 16> bytes{};

  static Gfid random(Random& random, std::uint16_t slot);
  /// 32 lower-case hex digits, as names on bricks and in output.
  static Result<Gfid> parse(std::string_view hex);
  /// The volume's root directory: slot 0, then 1.
  static constexpr Gfid root() {
    Gfid g;
    g.bytes[15] = 1;
    return g;
  }

  std::uint16_t slot() const { return static_cast<std::uint16_t>(bytes[0] << 8 | bytes[1]); }
  std::string hex() const;
  bool is_nil() const { return *this == Gfid{}; }
  /// st_ino: a function of the gfid alone, so it is the same whichever brick or site answers. Never 0;
  /// the root's is 1.
  std::uint64_t inode() const;

  auto operator<=>(const Gfid&) const = default;
};

}  // namespace polder

template <>
struct std::hash<polder::Gfid> {  // in-memory tables only; nothing persisted depends on it
  std::size_t operator()(const polder::Gfid& g) const noexcept {
    std::size_t h;
    static_assert(sizeof h <= 8);
    __builtin_memcpy(&h, g.bytes.data() + 8, sizeof h);
    return h;
  }
};
