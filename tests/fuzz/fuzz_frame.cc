// SPDX-License-Identifier: GPL-3.0-or-later
// Frames of rpc, as they arrive in pieces. The first two bytes: how many bytes each read gives, and whether
// the other side is a stranger yet.
#include "core-volume/rpc/framed_connection.h"
#include "core-volume/rpc/protocol.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/loop.h"
#include "tests/support/memory_stream.h"

namespace polder::fuzz {
namespace {

void append(std::string& out, const FrameFormat& format, const Frame& frame) {
  std::array<std::byte, FrameHeader::kBytes> header;
  encode_frame_header(format, frame.header, header);
  out += as_text(header);
  out += as_text(frame.message);
  out += frame.payload.text();
}

Task<void> read_all(FramedConnection& connection, const FrameFormat& format, std::string& out) {
  std::vector<Buffer> kept;
  while (auto frames = co_await connection.read()) {
    for (const auto& frame : *frames) {
      append(out, format, frame);
      kept.push_back(frame.payload);  // must not change what is read later
    }
  }
}

}  // namespace

POLDER_FUZZ_TARGET(frame) {
  Input in(input);
  const std::size_t step_bytes = in.number<std::uint8_t>();
  const auto& format = in.number<std::uint8_t>() % 2 == 0 ? kRpcFormat : kRpcStrangerFormat;
  const auto bytes = in.rest();
  SimLoop loop;
  FramedConnection connection(std::make_unique<MemoryStream>(bytes, step_bytes), format);
  std::string again;
  loop.run_until_done(read_all(connection, format, again));
  require(as_text(bytes).starts_with(again), "frames are the bytes that came");
}

}  // namespace polder::fuzz
