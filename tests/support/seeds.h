// SPDX-License-Identifier: GPL-3.0-or-later
// The seeds of a test that does things by chance.
#pragma once
#include <cstdint>
#include <cstdlib>
#include <ranges>

namespace polder {

using Seeds = std::ranges::iota_view<std::uint64_t, std::uint64_t>;

#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

/// From 1 on `usual` many, or `many` with POLDER_LONG_TESTS (tools/check slow). A third of the usual ones
/// with sanitizers: everything takes some times as long there, and what they look for is seldom a matter of
/// the seed. Or those of POLDER_SIM_SEED=FIRST[:COUNT].
inline Seeds seeds(std::uint64_t usual, std::uint64_t many) {
  const char* text = std::getenv("POLDER_SIM_SEED");
  if (!text && std::getenv("POLDER_LONG_TESTS")) return {1, 1 + many};
  if (!text) return {1, 1 + (kSanitized ? (usual + 2) / 3 : usual)};
  char* end = nullptr;
  const auto first = std::strtoull(text, &end, 10);
  return {first, first + (*end == ':' ? std::strtoull(end + 1, nullptr, 10) : 1)};
}

}  // namespace polder
