// SPDX-License-Identifier: GPL-3.0-or-later
// zstd for payloads: only where it helps. Blocks: call on a worker for large ones.
#pragma once
#include <optional>

#include "base/buffer.h"
#include "base/result.h"

namespace polder::georep {

/// nullopt when the bytes would not shrink by at least a tenth.
std::optional<Buffer> compress(ConstBytes raw);
/// EPROTO unless the result has exactly `raw_bytes` bytes (checked before they are allocated).
Result<Buffer> decompress(ConstBytes compressed, std::size_t raw_bytes);

inline constexpr std::size_t kMaxPayload_bytes = 8u << 20;

}  // namespace polder::georep
