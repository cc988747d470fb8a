// SPDX-License-Identifier: GPL-3.0-or-later
#include "base/gfid.h"

#include "base/random.h"

namespace polder {

namespace {
constexpr std::string_view kDigits = "0123456789abcdef";
}

Gfid Gfid::random(Random& random, std::uint16_t slot) {
  Gfid g;
  random.fill(g.bytes);
  g.bytes[0] = static_cast<std::uint8_t>(slot >> 8);
  g.bytes[1] = static_cast<std::uint8_t>(slot);
  return g;
}

Result<Gfid> Gfid::parse(std::string_view hex) {
  Gfid g;
  if (hex.size() != 2 * g.bytes.size()) return Error(EINVAL).with("gfid '{}': 32 hex digits expected", hex);
  for (std::size_t i = 0; i < hex.size(); ++i) {
    auto digit = kDigits.find(hex[i]);
    if (digit == std::string_view::npos) return Error(EINVAL).with("gfid '{}': 32 hex digits expected", hex);
    g.bytes[i / 2] = static_cast<std::uint8_t>(g.bytes[i / 2] << 4 | digit);
  }
  return g;
}

std::string Gfid::hex() const {
  std::string text(2 * bytes.size(), '0');
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    text[2 * i] = kDigits[bytes[i] >> 4];
    text[2 * i + 1] = kDigits[bytes[i] & 15];
  }
  return text;
}

std::uint64_t Gfid::inode() const {
  std::uint64_t n = 0;
  for (std::size_t i = 8; i < bytes.size(); ++i) n = n << 8 | bytes[i];
  return n ? n : 2;
}

}  // namespace polder
