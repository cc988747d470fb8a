// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/rpc/frame.h"

#include <gtest/gtest.h>

#include "base/random.h"
#include "core-volume/rpc/protocol.h"

namespace polder {
namespace {

using HeaderBytes = std::array<std::byte, FrameHeader::kBytes>;

HeaderBytes encode(const FrameHeader& header) {
  HeaderBytes bytes;
  encode_frame_header(kRpcFormat, header, bytes);
  return bytes;
}

FrameHeader example() {
  return {.type = 4,
          .flags = 0,
          .id = 0x1122334455667788,
          .message_bytes = 100,
          .payload_bytes = 4u << 20,
          .hlc = {0x99aabbccddeeff00}};
}

TEST(FrameTest, RoundTrip) {
  const auto header = example();
  auto again = decode_frame_header(kRpcFormat, encode(header));
  ASSERT_TRUE(again) << again.error().message();
  EXPECT_EQ(again->type, header.type);
  EXPECT_EQ(again->id, header.id);
  EXPECT_EQ(again->message_bytes, header.message_bytes);
  EXPECT_EQ(again->payload_bytes, header.payload_bytes);
  EXPECT_EQ(again->hlc, header.hlc);
  EXPECT_EQ(again->frame_bytes(), 32u + 100u + (4u << 20));
}

// docs/formats/wire.md promises these bytes.
TEST(FrameTest, BytesAreThoseOfTheDocument) {
  const auto bytes = encode(example());
  EXPECT_EQ(as_text(std::span(bytes).first(4)), "PDR1");
  EXPECT_EQ(static_cast<int>(bytes[4]), 1);
  EXPECT_EQ(static_cast<int>(bytes[5]), 4);
  EXPECT_EQ(static_cast<int>(bytes[8]), 0x88);
  EXPECT_EQ(static_cast<int>(bytes[16]), 100);
  EXPECT_EQ(static_cast<int>(bytes[22]), 0x40);
  EXPECT_EQ(static_cast<int>(bytes[31]), 0x99);
}

struct Hostile {
  const char* name;
  std::size_t at;
  std::uint8_t value;
  const char* says;
};

TEST(FrameTest, HostileHeadersAreRefused) {
  const Hostile table[] = {
      {"magic", 0, 'X', "not a frame"},
      {"version", 4, 2, "version 2"},
      {"type 0", 5, 0, "type 0"},
      {"type past the last", 5, 11, "type 11"},
      {"flags", 6, 1, "flags"},
      {"flags, high byte", 7, 1, "flags"},
      {"message too long", 18, 2, "message of"},
      {"payload too long", 23, 1, "payload of"},
      {"message of 4 GiB", 19, 255, "message of"},
  };
  for (const auto& row : table) {
    auto bytes = encode(example());
    bytes[row.at] = std::byte{row.value};
    auto decoded = decode_frame_header(kRpcFormat, bytes);
    ASSERT_FALSE(decoded) << row.name;
    EXPECT_TRUE(decoded.failed_with(EPROTO)) << row.name;
    EXPECT_NE(decoded.error().message().find(row.says), std::string::npos) << decoded.error().message();
  }
}

TEST(FrameTest, StrangersSendHelloOnlyAndNoPayload) {
  auto hello = example();
  hello.type = static_cast<std::uint8_t>(RpcFrame::kHello);
  hello.payload_bytes = 0;
  EXPECT_TRUE(decode_frame_header(kRpcStrangerFormat, encode(hello)));
  hello.payload_bytes = 1;
  EXPECT_TRUE(decode_frame_header(kRpcStrangerFormat, encode(hello)).failed_with(EPROTO));
  EXPECT_TRUE(decode_frame_header(kRpcStrangerFormat, encode(example())).failed_with(EPROTO));
}

TEST(FrameTest, WhatIsAcceptedIsWithinTheLimits) {
  auto random = make_seeded_random(1);
  int accepted = 0;
  for (int i = 0; i < 20'000; ++i) {
    auto bytes = encode(example());
    for (auto flips = random->below(3); flips-- > 0;) {
      bytes[4 + random->below(28)] = static_cast<std::byte>(random->below(256));
    }
    auto decoded = decode_frame_header(kRpcFormat, bytes);
    if (!decoded) continue;
    ++accepted;
    ASSERT_LE(decoded->message_bytes, kRpcFormat.message_bytes_max);
    ASSERT_LE(decoded->payload_bytes, kRpcFormat.payload_bytes_max);
    ASSERT_GE(decoded->type, 1);
    ASSERT_LE(decoded->type, kRpcFormat.type_max);
    // Nothing is lost: what was accepted says exactly these bytes again.
    ASSERT_EQ(encode(*decoded), bytes);
  }
  EXPECT_GT(accepted, 1000);
}

}  // namespace
}  // namespace polder
