// SPDX-License-Identifier: GPL-3.0-or-later
// A server and a hostile client: after a good Hello (or none), frames with any type, message and payload. The
// first byte says how; each frame is its type, two lengths, message and payload.
#include "core-volume/rpc/rpc_test_support.h"
#include "proto/wire.pb.h"
#include "tests/fuzz/fuzz.h"

namespace polder::fuzz {
namespace {

enum How : std::uint8_t { kNoHello = 1, kRaw = 2, kGeorep = 4, kStops = 8 };

std::string frame(RpcFrame type, std::uint64_t id, ConstBytes message, ConstBytes payload) {
  FrameHeader header;
  header.type = static_cast<std::uint8_t>(type);
  header.id = id;
  header.message_bytes = static_cast<std::uint32_t>(message.size());
  header.payload_bytes = static_cast<std::uint32_t>(payload.size());
  std::array<std::byte, FrameHeader::kBytes> bytes;
  encode_frame_header(kRpcFormat, header, bytes);
  return std::string(as_text(bytes)) + std::string(as_text(message)) + std::string(as_text(payload));
}

std::string hello() {
  wire::Hello message;
  message.set_version_min(kRpcVersion);
  message.set_version_max(kRpcVersion);
  message.set_volume("vol");
  return frame(RpcFrame::kHello, 1, as_bytes(message.SerializeAsString()), {});
}

std::string frames(Input in) {
  std::string bytes;
  for (std::uint64_t id = 2; !in.empty(); ++id) {
    const auto type = static_cast<RpcFrame>(in.number<std::uint8_t>());
    const auto message = in.take(in.number<std::uint16_t>());
    const auto payload = in.take(in.number<std::uint16_t>());
    bytes += frame(type, id, message, payload);
  }
  return bytes;
}

Task<void> read_until_end(Stream& stream) {
  std::array<std::byte, 4096> bytes;
  while (true) {
    auto count = co_await stream.read_some(bytes);
    if (!count || *count == 0) co_return;
  }
}

}  // namespace

POLDER_FUZZ_TARGET(rpc_server) {
  Input in(input);
  const auto how = in.number<std::uint8_t>();
  RpcWorld world;
  if (how & kGeorep) world.role = RpcRole::kGeorep;
  auto stream = world.run(world.net.connect(RpcWorld::endpoint(), kRpcProtocol, nullptr)).value();
  std::string bytes = how & kNoHello ? "" : hello();
  bytes += how & kRaw ? std::string(in.text()) : frames(in);
  const std::array<ConstBytes, 1> pieces{as_bytes(bytes)};
  world.group.spawn(world.loop.executor(), read_until_end(*stream));
  static_cast<void>(world.run(stream->write(pieces)));
  world.loop.settle();
  if ((how & kStops) == 0) world.loop.run_for(std::chrono::seconds(90));  // past every time-out
  stream->close();
  world.loop.settle();
}

}  // namespace polder::fuzz
