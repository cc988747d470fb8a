// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/rpc/framed_connection.h"

#include <google/protobuf/message_lite.h>

#include <cassert>
#include <cstring>

#include "core-volume/rpc/wake_up.h"

namespace polder {
namespace {

// Holds some hundred small frames. A frame that does not fit gets a chunk of exactly its own size, so a large
// payload is read straight into the memory that the layers below are given.
constexpr std::size_t kChunk_bytes = 64 * 1024;
constexpr std::size_t kReadMin_bytes = 4096;  // less room is not worth a system call

/// What one Stream::write will carry: heads (headers and messages) in one string, payloads beside it.
struct Batch {
  struct Piece {
    std::size_t head_begin = 0;
    std::size_t head_bytes = 0;  // 0: the payload
    Buffer payload;
  };
  std::string head;
  std::vector<Piece> pieces;
  std::size_t bytes = 0;

  void clear() {
    head.clear();
    pieces.clear();
    bytes = 0;
  }
};

}  // namespace

struct FramedConnection::Outgoing {
  Batch filling;
  Batch writing;
  std::vector<ConstBytes> spans;  // of `writing`; kept for its capacity
  WakeUp writer;

  void gather() {
    std::swap(filling, writing);
    spans.clear();
    for (const auto& piece : writing.pieces)
      spans.push_back(piece.head_bytes == 0
                          ? piece.payload.bytes()
                          : as_bytes(writing.head).subspan(piece.head_begin, piece.head_bytes));
  }
};

FramedConnection::FramedConnection(std::unique_ptr<Stream> stream, const FrameFormat& format)
    : stream_(std::move(stream)), format_(format), outgoing_(std::make_unique<Outgoing>()) {}

FramedConnection::~FramedConnection() = default;

Task<Result<std::span<const Frame>>> FramedConnection::read() {
  frames_.clear();
  while (true) {
    if (closed_) co_return Error(ECONNRESET);
    CO_TRY(parse());
    if (!frames_.empty()) co_return std::span<const Frame>(frames_);
    CO_TRY(make_room());
    CO_TRY(auto count, co_await stream_->read_some(chunk_.writable().subspan(end_)));
    if (count == 0 && begin_ == end_) co_return Error(ENODATA);
    if (count == 0) co_return Error(ECONNRESET).with("closed in the middle of a frame");
    end_ += count;
  }
}

/// Takes every complete frame out of the chunk. A bad frame is reported only when it is the first one: those
/// before it are good.
Result<void> FramedConnection::parse() {
  while (end_ - begin_ >= FrameHeader::kBytes) {
    auto bytes = chunk_.bytes().subspan(begin_, end_ - begin_);
    auto header = decode_frame_header(format_, bytes.first<FrameHeader::kBytes>());
    if (!header) {
      if (!frames_.empty()) return {};
      return std::move(header).error();
    }
    if (bytes.size() < header->frame_bytes()) return {};
    auto& frame = frames_.emplace_back();
    frame.header = *header;
    frame.message = bytes.subspan(FrameHeader::kBytes, header->message_bytes);
    if (header->payload_bytes > 0) {
      frame.payload =
          chunk_.slice(begin_ + FrameHeader::kBytes + header->message_bytes, header->payload_bytes);
      chunk_shared_ = true;
    }
    begin_ += header->frame_bytes();
  }
  return {};
}

/// Room behind end_ for at least the rest of the frame that has begun (or for a header).
Result<void> FramedConnection::make_room() {
  auto pending = chunk_.bytes().subspan(begin_, end_ - begin_);
  std::size_t need_bytes = FrameHeader::kBytes;
  if (pending.size() >= FrameHeader::kBytes) {
    TRY(auto header, decode_frame_header(format_, pending.first<FrameHeader::kBytes>()));
    need_bytes = header.frame_bytes();
  }
  if (begin_ == end_ && !chunk_shared_ && chunk_.size() == kChunk_bytes) begin_ = end_ = 0;
  const bool worth_it = chunk_.size() - end_ >= kReadMin_bytes || chunk_.size() > kChunk_bytes;
  if (chunk_.size() - begin_ >= need_bytes && end_ < chunk_.size() && worth_it) return {};

  if (chunk_shared_ || need_bytes > chunk_.size() || chunk_.size() > kChunk_bytes) {
    auto fresh = Buffer::allocate(std::max(kChunk_bytes, need_bytes));
    if (!pending.empty()) std::memcpy(fresh.writable().data(), pending.data(), pending.size());
    chunk_ = std::move(fresh);
    chunk_shared_ = false;
  } else if (!pending.empty()) {
    std::memmove(chunk_.writable().data(), pending.data(), pending.size());
  }
  begin_ = 0;
  end_ = pending.size();
  return {};
}

std::byte* FramedConnection::append_header(FrameHeader header, std::size_t message_bytes,
                                           std::span<const Buffer> payload) {
  std::size_t payload_bytes = 0;
  for (const auto& piece : payload) payload_bytes += piece.size();
  assert(message_bytes <= format_.message_bytes_max && payload_bytes <= format_.payload_bytes_max);
  header.message_bytes = static_cast<std::uint32_t>(message_bytes);
  header.payload_bytes = static_cast<std::uint32_t>(payload_bytes);

  auto& batch = outgoing_->filling;
  const auto begin = batch.head.size();
  const auto bytes = FrameHeader::kBytes + message_bytes;
  batch.head.resize(begin + bytes);
  auto* at = reinterpret_cast<std::byte*>(batch.head.data() + begin);
  encode_frame_header(format_, header, std::span<std::byte, FrameHeader::kBytes>(at, FrameHeader::kBytes));
  if (!batch.pieces.empty() && batch.pieces.back().head_bytes > 0)
    batch.pieces.back().head_bytes += bytes;
  else
    batch.pieces.push_back({begin, bytes, {}});
  batch.bytes += header.frame_bytes();
  queued_bytes_ += header.frame_bytes();
  return at + FrameHeader::kBytes;
}

void FramedConnection::append_payload(std::span<const Buffer> payload) {
  for (const auto& piece : payload)
    if (!piece.empty()) outgoing_->filling.pieces.push_back({0, 0, piece});
}

void FramedConnection::append_message(FrameHeader header, const google::protobuf::MessageLite& message,
                                      std::span<const Buffer> payload) {
  auto* at = append_header(header, message.ByteSizeLong(), payload);
  message.SerializeWithCachedSizesToArray(reinterpret_cast<std::uint8_t*>(at));
  append_payload(payload);
}

void FramedConnection::append_message(FrameHeader header, ConstBytes message,
                                      std::span<const Buffer> payload) {
  auto* at = append_header(header, message.size(), payload);
  if (!message.empty()) std::memcpy(at, message.data(), message.size());
  append_payload(payload);
}

void FramedConnection::send(FrameHeader header, const google::protobuf::MessageLite& message,
                            std::span<const Buffer> payload) {
  if (closed_) return;
  append_message(header, message, payload);
  outgoing_->writer.wake();
}

void FramedConnection::send(FrameHeader header, ConstBytes message, std::span<const Buffer> payload) {
  if (closed_) return;
  append_message(header, message, payload);
  outgoing_->writer.wake();
}

void FramedConnection::send_along(FrameHeader header, const google::protobuf::MessageLite& message) {
  if (!closed_) append_message(header, message, {});
}

void FramedConnection::send_along(FrameHeader header, ConstBytes message) {
  if (!closed_) append_message(header, message, {});
}

void FramedConnection::flush() {
  if (!outgoing_->filling.pieces.empty()) outgoing_->writer.wake();
}

Task<Result<void>> FramedConnection::run_writer() {
  auto& out = *outgoing_;
  while (!closed_) {
    if (out.filling.pieces.empty()) {
      co_await out.writer.wait([&out] { out.writer.wake(); });
      if ((co_await asio::this_coro::cancellation_state).cancelled() != asio::cancellation_type::none)
        close();
      continue;
    }
    out.gather();
    auto written = co_await stream_->write(out.spans);
    queued_bytes_ -= out.writing.bytes;
    out.writing.clear();
    if (on_written_) on_written_();
    if (!written) {
      close();
      co_return written;
    }
  }
  co_return Error(ECONNRESET);
}

void FramedConnection::close() {
  if (closed_) return;
  closed_ = true;
  stream_->close();
  outgoing_->writer.wake();
}

}  // namespace polder
