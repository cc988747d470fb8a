// SPDX-License-Identifier: GPL-3.0-or-later
// Little-endian integers at fixed places of a byte array. The caller has checked the bounds.
#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace polder {

static_assert(std::endian::native == std::endian::little, "byte swaps are needed here on other machines");

template <typename T>
T load_le(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

template <typename T>
void store_le(std::byte* at, T value) {
  std::memcpy(at, &value, sizeof value);
}

}  // namespace polder
