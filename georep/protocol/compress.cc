// SPDX-License-Identifier: GPL-3.0-or-later
#include "georep/protocol/compress.h"

#include <zstd.h>

namespace polder::georep {

namespace {
constexpr int kLevel = 3;
constexpr std::size_t kTooSmall_bytes = 64;
}  // namespace

std::optional<Buffer> compress(ConstBytes raw) {
  if (raw.size() < kTooSmall_bytes) return std::nullopt;
  auto out = Buffer::allocate(raw.size() - raw.size() / 10);
  const auto size = ZSTD_compress(out.writable().data(), out.size(), raw.data(), raw.size(), kLevel);
  if (ZSTD_isError(size)) return std::nullopt;  // does not fit: not worth it
  out.truncate(size);
  return out;
}

Result<Buffer> decompress(ConstBytes compressed, std::size_t raw_bytes) {
  const auto declared = ZSTD_getFrameContentSize(compressed.data(), compressed.size());
  if (raw_bytes > kMaxPayload_bytes || declared != raw_bytes) {
    return Error(EPROTO).with("compressed payload of {} bytes does not hold the {} bytes it announces",
                              compressed.size(), raw_bytes);
  }
  auto out = Buffer::allocate(raw_bytes);
  const auto size = ZSTD_decompress(out.writable().data(), out.size(), compressed.data(), compressed.size());
  if (ZSTD_isError(size) || size != raw_bytes) return Error(EPROTO).with("compressed payload is damaged");
  return out;
}

}  // namespace polder::georep
