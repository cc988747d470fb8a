// SPDX-License-Identifier: GPL-3.0-or-later
#include "georep/protocol/stream.h"

#include <algorithm>
#include <array>

#include "base/clock.h"
#include "base/concurrency_impl.h"
#include "base/coro.h"
#include "base/hlc.h"
#include "core-volume/rpc/framed_connection.h"
#include "georep/protocol/compress.h"
#include "proto/georep.pb.h"

namespace polder::georep {

namespace {

constexpr FrameFormat kFormat{.magic = 0x31474450,  // "PDG1"
                              .version = 1,
                              .type_max = 1,
                              .message_bytes_max = 1u << 20,
                              .payload_bytes_max = kMaxPayload_bytes};
constexpr std::size_t kQueue_bytes = 4u << 20;

Task<Result<std::span<const Frame>>> read_frames(std::shared_ptr<FramedConnection> connection) {
  co_return co_await connection->read();
}

}  // namespace

GeorepStream::GeorepStream(Seams& seams, std::unique_ptr<Stream> stream)
    : seams_(seams), connection_(std::make_shared<FramedConnection>(std::move(stream), kFormat)) {
  connection_->on_written([this] { room_.notify_all(); });
}

GeorepStream::~GeorepStream() {
  connection_->on_written({});
  connection_->close();
}

Task<Result<StreamFrame>> GeorepStream::receive(nanoseconds silence) {
  if (pending_.empty()) {
    const auto deadline = seams_.clock.boot_time() + silence;
    CO_TRY(auto frames, co_await with_deadline(seams_.clock, deadline, read_frames(connection_)));
    for (const auto& frame : frames) {
      CO_TRY(seams_.hlc.observe(frame.header.hlc));
      received_bytes_ += frame.header.frame_bytes();
      auto message = std::make_shared<StreamMessage>();
      if (!message->ParseFromArray(frame.message.data(), static_cast<int>(frame.message.size()))) {
        co_return Error(EPROTO).with("geo-replication message that cannot be parsed");
      }
      pending_.push_back({std::move(message), frame.payload});
    }
    std::reverse(pending_.begin(), pending_.end());
  }
  auto frame = std::move(pending_.back());
  pending_.pop_back();
  co_return frame;
}

void GeorepStream::send(const StreamMessage& message, const Buffer& payload) {
  FrameHeader header;
  header.type = 1;
  header.hlc = seams_.hlc.last();
  const std::array<Buffer, 1> pieces{payload};
  connection_->send(header, message, payload.empty() ? std::span<const Buffer>() : pieces);
  sent_bytes_ += FrameHeader::kBytes + message.ByteSizeLong() + payload.size();
}

Task<Result<void>> GeorepStream::wait_for_room() {
  while (!connection_->closed() && connection_->queued_bytes() > kQueue_bytes) {
    CO_TRY(co_await room_.wait());
  }
  if (connection_->closed()) co_return Error(ECONNRESET);
  co_return Result<void>();
}

Task<void> GeorepStream::drain() {
  while (!connection_->closed() && connection_->queued_bytes() > 0) {
    if (!co_await room_.wait()) co_return;
  }
}

Task<void> GeorepStream::run() {
  auto connection = connection_;
  (void)co_await connection->run_writer();
  connection->close();
}

void GeorepStream::close() {
  connection_->close();
  room_.notify_all();
}

bool GeorepStream::closed() const {
  return connection_->closed();
}

const PeerIdentity& GeorepStream::peer() const {
  return connection_->peer();
}

Buffer pack(Buffer raw) {
  auto packed = compress(raw.bytes());
  return packed ? std::move(*packed) : std::move(raw);
}

Result<Buffer> unpack(const Buffer& payload, std::uint64_t raw_bytes) {
  if (payload.size() == raw_bytes) return payload;
  return decompress(payload.bytes(), raw_bytes);
}

}  // namespace polder::georep
