// SPDX-License-Identifier: GPL-3.0-or-later
// Frame: the fixed 32-byte header in front of every message, and the limits that a receiver enforces before
// it believes any of it. Pure functions. Format: docs/formats/wire.md.
#pragma once
#include <cstdint>
#include <span>

#include "base/buffer.h"
#include "base/hlc.h"
#include "base/result.h"

namespace polder {

/// What a receiver accepts. Another protocol over the same framing has its own magic and types.
struct FrameFormat {
  std::uint32_t magic = 0;
  std::uint8_t version = 1;
  std::uint8_t type_max = 0;  // types are 1..type_max
  std::uint32_t message_bytes_max = 0;
  std::uint32_t payload_bytes_max = 0;
};

struct FrameHeader {
  // No checksum: TLS authenticates every byte, a unix socket is memory; against a hostile peer it is useless.
  static constexpr std::size_t kBytes = 32;

  std::uint8_t type = 0;
  std::uint16_t flags = 0;  // none defined yet: must be 0
  std::uint64_t id = 0;     // of the request; the reply's is the same
  std::uint32_t message_bytes = 0;
  std::uint32_t payload_bytes = 0;
  Hlc hlc{};  // highest stamp that the sender has seen

  std::size_t frame_bytes() const { return kBytes + std::size_t{message_bytes} + payload_bytes; }
};

void encode_frame_header(const FrameFormat& format, const FrameHeader& header,
                         std::span<std::byte, FrameHeader::kBytes> out);
/// EPROTO names what is wrong: magic, version, type, flags, or a length past its limit.
Result<FrameHeader> decode_frame_header(const FrameFormat& format,
                                        std::span<const std::byte, FrameHeader::kBytes> in);

}  // namespace polder
