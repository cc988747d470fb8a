// SPDX-License-Identifier: GPL-3.0-or-later
#include "base/crc32c.h"

#include <isa-l/crc.h>

#include <algorithm>

namespace polder {

std::uint32_t crc32c(std::uint32_t crc, ConstBytes bytes) {
  // ISA-L's function takes and gives the register without the usual inversions.
  auto* data = reinterpret_cast<unsigned char*>(const_cast<std::byte*>(bytes.data()));
  constexpr std::size_t kMaxStep_bytes = 1u << 30;  // its length is an int
  crc = ~crc;
  for (std::size_t done = 0; done < bytes.size(); done += kMaxStep_bytes) {
    const auto step = std::min(bytes.size() - done, kMaxStep_bytes);
    crc = crc32_iscsi(data + done, static_cast<int>(step), crc);
  }
  return ~crc;
}

}  // namespace polder
