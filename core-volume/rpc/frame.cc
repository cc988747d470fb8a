// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/rpc/frame.h"

#include <bit>
#include <cstring>

namespace polder {
namespace {

static_assert(std::endian::native == std::endian::little, "the wire is little-endian: add byte swaps");

template <typename T>
void put(std::byte* at, T value) {
  std::memcpy(at, &value, sizeof value);
}

template <typename T>
T get(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

}  // namespace

void encode_frame_header(const FrameFormat& format, const FrameHeader& header,
                         std::span<std::byte, FrameHeader::kBytes> out) {
  put(&out[0], format.magic);
  put(&out[4], format.version);
  put(&out[5], header.type);
  put(&out[6], header.flags);
  put(&out[8], header.id);
  put(&out[16], header.message_bytes);
  put(&out[20], header.payload_bytes);
  put(&out[24], header.hlc.ns);
}

Result<FrameHeader> decode_frame_header(const FrameFormat& format,
                                        std::span<const std::byte, FrameHeader::kBytes> in) {
  if (auto magic = get<std::uint32_t>(&in[0]); magic != format.magic)
    return Error(EPROTO).with("not a frame of this protocol (starts with {:08x})", magic);
  if (auto version = get<std::uint8_t>(&in[4]); version != format.version)
    return Error(EPROTO).with("frame version {}, only {} is spoken here", version, format.version);
  FrameHeader header;
  header.type = get<std::uint8_t>(&in[5]);
  header.flags = get<std::uint16_t>(&in[6]);
  header.id = get<std::uint64_t>(&in[8]);
  header.message_bytes = get<std::uint32_t>(&in[16]);
  header.payload_bytes = get<std::uint32_t>(&in[20]);
  header.hlc.ns = get<std::uint64_t>(&in[24]);
  if (header.type == 0 || header.type > format.type_max)
    return Error(EPROTO).with("unknown frame type {}", header.type);
  if (header.flags != 0) return Error(EPROTO).with("unknown frame flags {:04x}", header.flags);
  if (header.message_bytes > format.message_bytes_max)
    return Error(EPROTO).with("message of {} bytes, limit {}", header.message_bytes,
                              format.message_bytes_max);
  if (header.payload_bytes > format.payload_bytes_max)
    return Error(EPROTO).with("payload of {} bytes, limit {}", header.payload_bytes,
                              format.payload_bytes_max);
  return header;
}

}  // namespace polder
