// SPDX-License-Identifier: GPL-3.0-or-later
// CRC-32C (Castagnoli), by ISA-L: what every record, segment and spool frame on disk carries.
#pragma once
#include <cstdint>

#include "base/buffer.h"

namespace polder {

/// Continues `crc` (0 at the start) over `bytes`: crc32c(crc32c(0, a), b) is the CRC of a and b together.
std::uint32_t crc32c(std::uint32_t crc, ConstBytes bytes);

}  // namespace polder
