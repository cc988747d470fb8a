// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/polderd/readable.h"

#include <fmt/format.h>

namespace polder {

namespace {

unsigned byte_at(std::string_view bytes, std::size_t at) {
  return static_cast<unsigned char>(bytes[at]);
}

/// Length of the sequence of several bytes that `bytes` begins with; 0: none.
std::size_t utf8_length(std::string_view bytes) {
  const auto lead = byte_at(bytes, 0);
  if (lead < 0xc2 || lead > 0xf4) return 0;
  const std::size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (bytes.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte_at(bytes, i) & 0xc0) != 0x80) return 0;
  }
  // What could be written shorter, surrogates, and what is past U+10FFFF.
  const auto second = byte_at(bytes, 1);
  if ((lead == 0xe0 && second < 0xa0) || (lead == 0xed && second >= 0xa0)) return 0;
  if ((lead == 0xf0 && second < 0x90) || (lead == 0xf4 && second >= 0x90)) return 0;
  return length;
}

}  // namespace

std::string readable(std::string_view bytes) {
  std::string out;
  while (!bytes.empty()) {
    const auto byte = byte_at(bytes, 0);
    const bool plain = byte >= 0x20 && byte < 0x7f && byte != '\\';
    const auto length = plain ? 1 : utf8_length(bytes);
    if (length == 0) out += fmt::format("\\x{:02x}", byte);
    out += bytes.substr(0, length);
    bytes.remove_prefix(std::max<std::size_t>(length, 1));
  }
  return out;
}

}  // namespace polder
