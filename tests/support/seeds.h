// SPDX-License-Identifier: GPL-3.0-or-later
// The seeds of a test that does things by chance.
#pragma once
#include <cstdint>
#include <cstdlib>
#include <ranges>

namespace polder {

using Seeds = std::ranges::iota_view<std::uint64_t, std::uint64_t>;

/// From 1 on `usual` many, or `many` with POLDER_LONG_TESTS (tools/check slow). Or those of
/// POLDER_SIM_SEED=FIRST[:COUNT].
inline Seeds seeds(std::uint64_t usual, std::uint64_t many) {
  const char* text = std::getenv("POLDER_SIM_SEED");
  if (!text) return {1, 1 + (std::getenv("POLDER_LONG_TESTS") ? many : usual)};
  char* end = nullptr;
  const auto first = std::strtoull(text, &end, 10);
  return {first, first + (*end == ':' ? std::strtoull(end + 1, nullptr, 10) : 1)};
}

}  // namespace polder
