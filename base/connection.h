// SPDX-License-Identifier: GPL-3.0-or-later
// SocketConnection: one connected socket, with or without TLS, as a Stream. Bytes are sent and taken at once
// where the socket allows it; a task waits in the loop only when it does not.
#pragma once
#include <boost/asio/generic/stream_protocol.hpp>

#include "base/coro.h"
#include "base/tls.h"
#include "base/transport.h"

namespace polder {

using GenericSocket = boost::asio::generic::stream_protocol::socket;

/// Kept alive by its Stream and by the operations that run on it.
class SocketConnection : public std::enable_shared_from_this<SocketConnection> {
 public:
  explicit SocketConnection(GenericSocket socket) : socket_(std::move(socket)) {}

  /// TLS: shakes hands and finds out who is there. `protocol`: what must be agreed on, empty for any.
  Task<Result<void>> handshake(std::shared_ptr<TlsContext> context, std::string protocol);
  /// Unix sockets: the kernel knows who is there.
  Result<void> identify_unix_peer(std::string protocol);
  /// TCP without TLS: nobody knows who is there.
  void accept_stranger(std::string protocol);

  Task<Result<std::size_t>> read_some(Bytes out);
  Task<Result<void>> write(std::span<const ConstBytes> pieces);
  void close();
  const PeerIdentity& peer() const { return peer_; }
  const std::string& protocol() const { return protocol_; }

 private:
  using Wait = GenericSocket::wait_type;
  /// What one attempt came to: so many bytes, or what the socket must be ready for first.
  struct Attempt {
    std::size_t bytes = 0;
    std::optional<Wait> wait;
  };

  Task<Result<void>> wait(Wait what);
  Result<Attempt> try_read(Bytes out);
  Result<Attempt> plain_result(ssize_t count, Wait direction);
  Result<Attempt> tls_result(int outcome, std::size_t bytes);
  Task<Result<void>> write_plain(std::span<const ConstBytes> pieces);
  Task<Result<void>> write_tls(std::span<const ConstBytes> pieces);
  Task<Result<void>> write_records(ConstBytes bytes);

  GenericSocket socket_;
  std::shared_ptr<TlsContext> context_;
  TlsSessionPointer tls_;
  std::vector<std::byte> record_;  // small pieces gathered into one TLS record
  PeerIdentity peer_;
  std::string protocol_;
  int reads_in_a_row_ = 0;
  bool drained_ = false;  // the last read took all there was: wait before the next
  bool established_ = false;
  bool writing_ = false;
  bool closed_ = false;
};

std::unique_ptr<Stream> make_socket_stream(std::shared_ptr<SocketConnection> connection);

}  // namespace polder
