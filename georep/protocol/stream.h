// SPDX-License-Identifier: GPL-3.0-or-later
// GeorepStream: the messages of proto/georep.proto over a FramedConnection, payloads compressed where it
// helps. Loop thread only.
#pragma once
#include <memory>
#include <string>

#include "base/buffer.h"
#include "base/concurrency.h"
#include "base/seams.h"
#include "base/transport.h"

namespace polder {
class FramedConnection;
}

namespace polder::georep {

class StreamMessage;

inline constexpr const char* kGeorepProtocol = "polder-georep/1";  // ALPN
inline constexpr std::uint32_t kStreamVersion = 2;
inline constexpr std::size_t kMaxSignature_bytes = 8u << 20;
inline constexpr std::size_t kPiece_bytes = 256u << 10;  // of data in one frame

struct StreamFrame {
  std::shared_ptr<const StreamMessage> message;
  Buffer payload;  // as received; see unpack()
};

class GeorepStream {
 public:
  GeorepStream(Seams& seams, std::unique_ptr<Stream> stream);
  ~GeorepStream();

  /// The next frame. ENODATA at an orderly end, ECONNRESET, EPROTO when the bytes are no stream of ours,
  /// ETIMEDOUT when nothing came for `silence`.
  Task<Result<StreamFrame>> receive(nanoseconds silence);
  /// Queues; sent by run().
  void send(const StreamMessage& message, const Buffer& payload = {});
  /// Waits until little is queued. ECONNRESET once closed.
  Task<Result<void>> wait_for_room();
  /// Waits until everything queued was given to the kernel, or the connection closed.
  Task<void> drain();
  /// The writing task; run it exactly once, until close().
  Task<void> run();
  void close();
  bool closed() const;

  const PeerIdentity& peer() const;
  std::uint64_t sent_bytes() const { return sent_bytes_; }
  std::uint64_t received_bytes() const { return received_bytes_; }

 private:
  Seams& seams_;
  std::shared_ptr<FramedConnection> connection_;
  Event room_;
  std::vector<StreamFrame> pending_;  // parsed and not yet given out, last first
  std::uint64_t sent_bytes_ = 0;
  std::uint64_t received_bytes_ = 0;
};

/// Compressed when that makes it smaller, else itself. Blocks for some milliseconds at most (kPiece_bytes).
Buffer pack(Buffer raw);
/// EPROTO unless it gives exactly `raw_bytes`.
Result<Buffer> unpack(const Buffer& payload, std::uint64_t raw_bytes);

}  // namespace polder::georep
