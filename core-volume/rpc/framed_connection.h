// SPDX-License-Identifier: GPL-3.0-or-later
// FramedConnection: frames (header, protobuf message, raw payload) over a Stream. Writes gather everything
// queued since the last wake-up into one Stream::write; reads give every complete frame that has arrived.
// Payloads are never copied to be framed. Serves rpc and geo-replication. Loop thread only.
//
// Owned by shared_ptr: the reading and the writing task each hold one until they have ended.
#pragma once
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/buffer.h"
#include "base/task.h"
#include "base/transport.h"
#include "core-volume/rpc/frame.h"

namespace google::protobuf {
class MessageLite;
}

namespace polder {

struct Frame {
  FrameHeader header;
  ConstBytes message;  // good until the next read()
  Buffer payload;      // shares the memory that was read into; good as long as it is kept
};

class FramedConnection {
 public:
  FramedConnection(std::unique_ptr<Stream> stream, const FrameFormat& format);
  ~FramedConnection();
  FramedConnection(const FramedConnection&) = delete;

  /// At least one frame. ENODATA: the other side closed between two frames; ECONNRESET: within one, or the
  /// connection broke; EPROTO: not our protocol or past a limit; close() is the caller's next call then.
  Task<Result<std::span<const Frame>>> read();

  /// Queues; never waits. Lengths in `header` are filled in here. The message must be within the format's
  /// limits: the receiver drops connections otherwise. Nothing happens after close().
  void send(FrameHeader header, const google::protobuf::MessageLite& message,
            std::span<const Buffer> payload = {});
  void send(FrameHeader header, ConstBytes message, std::span<const Buffer> payload = {});

  /// send(), for what nobody waits for: it goes with the next frame, or at the next flush(), which the caller
  /// sees to.
  void send_along(FrameHeader header, const google::protobuf::MessageLite& message);
  void send_along(FrameHeader header, ConstBytes message);
  void flush();

  /// The writing task: sends what is queued until close() or an error, which closes. Run it exactly once.
  Task<Result<void>> run_writer();
  /// Queued and not yet given to the kernel.
  std::size_t queued_bytes() const { return queued_bytes_; }
  /// Called after each write; must not block. For whoever waits for room.
  void on_written(std::function<void()> listener) { on_written_ = std::move(listener); }

  /// Ends the reading and the writing task. May be called twice.
  void close();
  bool closed() const { return closed_; }
  /// The other side has less to say from now on, or more (before and after a Hello).
  void set_format(const FrameFormat& format) { format_ = format; }
  const PeerIdentity& peer() const { return stream_->peer(); }

 private:
  struct Outgoing;

  std::byte* append_header(FrameHeader header, std::size_t message_bytes, std::span<const Buffer> payload);
  void append_message(FrameHeader header, const google::protobuf::MessageLite& message,
                      std::span<const Buffer> payload);
  void append_message(FrameHeader header, ConstBytes message, std::span<const Buffer> payload);
  void append_payload(std::span<const Buffer> payload);
  Result<void> parse();
  Result<void> make_room();

  std::unique_ptr<Stream> stream_;
  FrameFormat format_;
  bool closed_ = false;

  Buffer chunk_;  // read into; [begin_, end_) is not yet parsed
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  bool chunk_shared_ = false;  // a payload in it was given out: its memory is not ours any more
  std::vector<Frame> frames_;

  std::unique_ptr<Outgoing> outgoing_;
  std::size_t queued_bytes_ = 0;
  std::function<void()> on_written_;
};

}  // namespace polder
