// SPDX-License-Identifier: GPL-3.0-or-later
// The numbers that both ends of the rpc agree on: frame types, version, limits. docs/formats/wire.md.
#pragma once
#include <chrono>
#include <cstdint>

#include "core-volume/rpc/frame.h"

namespace polder {

constexpr const char* kRpcProtocol = "polder-rpc/1";  // ALPN
constexpr std::uint32_t kRpcVersion = 1;

enum class RpcFrame : std::uint8_t {
  kHello = 1,    // client, first
  kWelcome = 2,  // server's answer, or
  kRefusal = 3,  // this, and the connection is closed
  kRequest = 4,
  kReply = 5,
  kCancel = 6,  // client: the request with this id need not be waited for; no message
  kNotify = 7,  // server: invalidations
  kPing = 8,    // either: answer with kPong and the same id; no message
  kPong = 9,
  kRecalled = 10,  // client: every recall up to the one with this id is obeyed; no message
};

constexpr std::uint32_t kRpcData_bytes_max = 4u << 20;  // of one read or write
constexpr std::uint32_t kRpcDirectoryPage_bytes_max = 1u << 20;
/// What a record counts for at least when a replay is cut into requests, and so the most records of one.
constexpr std::uint32_t kRpcRecord_bytes_min = 192;
constexpr std::uint32_t kRpcRecordsMax = kRpcData_bytes_max / kRpcRecord_bytes_min;
/// The same for the extended attributes of all its records. One record has no more than a file may have.
constexpr std::uint32_t kRpcRecordXattr_bytes_min = 256;
constexpr std::uint32_t kRpcRecordXattrsMax = kRpcData_bytes_max / kRpcRecordXattr_bytes_min;
constexpr std::uint32_t kRpcXattrList_bytes_max = 1u << 20;
constexpr std::uint32_t kRpcInFlightMax = 1024;  // requests of one session without a reply
constexpr std::uint32_t kRpcErrorContext_bytes_max = 1024;
constexpr std::size_t kRpcToken_bytes = 16;
/// What nobody waits for (releases and their replies) goes with the next frame, at the latest after this.
constexpr std::chrono::milliseconds kRpcAlongMax(5);

/// 64 KiB of slack over the data: room for the description of replayed records.
constexpr FrameFormat kRpcFormat{.magic = 0x31524450,  // "PDR1"
                                 .version = 1,
                                 .type_max = static_cast<std::uint8_t>(RpcFrame::kRecalled),
                                 .message_bytes_max = 64u << 10,
                                 .payload_bytes_max = kRpcData_bytes_max + (64u << 10)};
/// Before a Hello was accepted nobody may make us hold a payload.
constexpr FrameFormat kRpcStrangerFormat{.magic = kRpcFormat.magic,
                                         .version = 1,
                                         .type_max = static_cast<std::uint8_t>(RpcFrame::kHello),
                                         .message_bytes_max = 64u << 10,
                                         .payload_bytes_max = 0};

}  // namespace polder
