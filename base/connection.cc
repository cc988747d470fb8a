// SPDX-License-Identifier: GPL-3.0-or-later
#include "base/connection.h"

#include <netdb.h>
#include <openssl/err.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "base/loop_watch.h"

namespace polder {

namespace {

constexpr std::size_t kRecordSize_bytes = 16384;  // the largest plain text of one TLS record
constexpr std::size_t kMaxPieces = 256;           // of one sendmsg
constexpr int kMaxReadsInARow = 16;

/// Position in a list of pieces.
class Pieces {
 public:
  explicit Pieces(std::span<const ConstBytes> pieces) : pieces_(pieces) { skip(0); }
  bool done() const { return pieces_.empty(); }
  std::size_t gather(std::span<iovec> out) const {
    std::size_t count = 0;
    std::size_t offset = offset_;
    for (auto piece : pieces_.first(std::min(pieces_.size(), out.size()))) {
      out[count++] = {const_cast<std::byte*>(piece.data()) + offset, piece.size() - offset};
      offset = 0;
    }
    return count;
  }
  void skip(std::size_t count) {
    offset_ += count;
    while (!pieces_.empty() && offset_ >= pieces_[0].size()) {
      offset_ -= pieces_[0].size();
      pieces_ = pieces_.subspan(1);
    }
  }

 private:
  std::span<const ConstBytes> pieces_;
  std::size_t offset_ = 0;
};

class SocketStream final : public Stream {
 public:
  explicit SocketStream(std::shared_ptr<SocketConnection> connection) : connection_(std::move(connection)) {}
  ~SocketStream() override { connection_->close(); }

  Task<Result<std::size_t>> read_some(Bytes out) override { return connection_->read_some(out); }
  Task<Result<void>> write(std::span<const ConstBytes> pieces) override { return connection_->write(pieces); }
  void close() override { connection_->close(); }
  const PeerIdentity& peer() const override { return connection_->peer(); }
  const std::string& protocol() const override { return connection_->protocol(); }

 private:
  std::shared_ptr<SocketConnection> connection_;
};

/// "192.0.2.7:40123"; empty when the other side is gone already.
std::string peer_address(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  char host[NI_MAXHOST];
  char port[NI_MAXSERV];
  if (::getpeername(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return "";
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  if (::getnameinfo(generic, size, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV))
    return "";
  if (address.ss_family == AF_INET6) return fmt::format("[{}]:{}", host, port);
  return fmt::format("{}:{}", host, port);
}

}  // namespace

std::unique_ptr<Stream> make_socket_stream(std::shared_ptr<SocketConnection> connection) {
  return std::make_unique<SocketStream>(std::move(connection));
}

Result<void> SocketConnection::identify_unix_peer(std::string protocol) {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (::getsockopt(socket_.native_handle(), SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) {
    return Error(errno).with("credentials of the unix socket's peer");
  }
  peer_.authenticated = true;
  peer_.uid = credentials.uid;
  peer_.pid = credentials.pid;
  protocol_ = std::move(protocol);
  established_ = true;
  return {};
}

void SocketConnection::accept_stranger(std::string protocol) {
  peer_.address = peer_address(socket_.native_handle());
  protocol_ = std::move(protocol);
  established_ = true;
}

Task<Result<void>> SocketConnection::handshake(std::shared_ptr<TlsContext> context, std::string protocol) {
  auto self = shared_from_this();
  context_ = std::move(context);
  CO_TRY(tls_, context_->session(socket_.native_handle()));
  for (;;) {
    if (closed_) co_return Error(ECONNRESET);
    ERR_clear_error();
    int outcome = SSL_do_handshake(tls_.get());
    if (outcome == 1) break;
    int reason = SSL_get_error(tls_.get(), outcome);
    if (reason != SSL_ERROR_WANT_READ && reason != SSL_ERROR_WANT_WRITE) {
      bool refused = SSL_get_verify_result(tls_.get()) != X509_V_OK;
      co_return Error(refused ? EACCES : EPROTO).with("TLS handshake: {}", tls_failure_text(tls_.get()));
    }
    CO_TRY(co_await wait(reason == SSL_ERROR_WANT_READ ? Wait::wait_read : Wait::wait_write));
  }
  CO_TRY(peer_, context_->identify(tls_.get()));
  peer_.address = peer_address(socket_.native_handle());
  const unsigned char* agreed = nullptr;
  unsigned agreed_size = 0;
  SSL_get0_alpn_selected(tls_.get(), &agreed, &agreed_size);
  protocol_.assign(reinterpret_cast<const char*>(agreed), agreed_size);
  if (protocol_.empty() || (!protocol.empty() && protocol_ != protocol)) {
    co_return Error(EPROTO).with("TLS handshake: the two sides agree on no protocol (ALPN)");
  }
  established_ = true;
  co_return Result<void>();
}

Task<Result<void>> SocketConnection::wait(Wait what) {
  if (co_await is_cancelled()) co_return Error(ECANCELED);
  boost::system::error_code failure;
  co_await socket_.async_wait(what, asio::redirect_error(asio::use_awaitable, failure));
  if (closed_) co_return Error(ECONNRESET);
  if (failure == asio::error::operation_aborted) co_return Error(ECANCELED);
  if (failure) co_return Error(ECONNRESET).with("{}", failure.message());
  co_return Result<void>();
}

Result<SocketConnection::Attempt> SocketConnection::plain_result(ssize_t count, Wait direction) {
  if (count >= 0) return Attempt{static_cast<std::size_t>(count), {}};
  if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) return Attempt{0, direction};
  return errno == EPIPE ? Error(EPIPE) : Error(ECONNRESET).with("{}", Error(errno).message());
}

Result<SocketConnection::Attempt> SocketConnection::tls_result(int outcome, std::size_t bytes) {
  if (outcome == 1) return Attempt{bytes, {}};
  switch (SSL_get_error(tls_.get(), outcome)) {
    case SSL_ERROR_WANT_READ:
      return Attempt{0, Wait::wait_read};
    case SSL_ERROR_WANT_WRITE:
      return Attempt{0, Wait::wait_write};
    case SSL_ERROR_ZERO_RETURN:
      return Attempt{};
    default:
      established_ = false;  // OpenSSL forbids any further call, close_notify included
      return Error(ECONNRESET).with("TLS: {}", tls_failure_text(tls_.get()));
  }
}

Result<SocketConnection::Attempt> SocketConnection::try_read(Bytes out) {
  if (!tls_) {
    return plain_result(::recv(socket_.native_handle(), out.data(), out.size(), MSG_DONTWAIT),
                        Wait::wait_read);
  }
  std::size_t count = 0;
  ERR_clear_error();
  int outcome = SSL_read_ex(tls_.get(), out.data(), out.size(), &count);
  return tls_result(outcome, count);
}

Task<Result<std::size_t>> SocketConnection::read_some(Bytes out) {
  auto self = shared_from_this();
  if (out.empty()) co_return Error(EINVAL).with("read of 0 bytes");
  // Else a peer that sends without a pause would keep every other task of the loop from running.
  if (++reads_in_a_row_ > kMaxReadsInARow) {
    reads_in_a_row_ = 0;
    co_await asio::post(socket_.get_executor(), asio::use_awaitable);
  }
  for (;;) {
    if (closed_ || !established_) co_return Error(ECONNRESET);
    Result<Attempt> tried = Attempt{0, Wait::wait_read};
    auto waits = [&] { return tried && tried->wait == Wait::wait_read; };
    if (!std::exchange(drained_, false)) tried = try_read(out);
    if (waits()) {
      reads_in_a_row_ = 0;
      auto look = [&] {
        if (!closed_) tried = try_read(out);
        return closed_ || !waits();
      };
      (void)co_await LoopWatch::of(socket_.get_executor()).found(look);
      if (closed_) co_return Error(ECONNRESET);
    }
    CO_TRY(auto attempt, std::move(tried));
    if (!attempt.wait) {
      drained_ = !tls_ && attempt.bytes > 0 && attempt.bytes < out.size();
      co_return attempt.bytes;
    }
    reads_in_a_row_ = 0;
    CO_TRY(co_await wait(*attempt.wait));
  }
}

Task<Result<void>> SocketConnection::write(std::span<const ConstBytes> pieces) {
  auto self = shared_from_this();
  if (closed_ || !established_) co_return Error(ECONNRESET);
  if (writing_) co_return Error(EBUSY).with("two writes on one stream at a time");
  writing_ = true;
  Result<void> written;
  if (tls_)
    written = co_await write_tls(pieces);
  else
    written = co_await write_plain(pieces);
  // What arrived ends somewhere in the middle: nothing sensible can follow.
  if (!written) close();
  writing_ = false;
  co_return written;
}

Task<Result<void>> SocketConnection::write_plain(std::span<const ConstBytes> pieces) {
  Pieces left(pieces);
  while (!left.done()) {
    std::array<iovec, kMaxPieces> vector;
    msghdr message{};
    message.msg_iov = vector.data();
    message.msg_iovlen = left.gather(vector);
    ssize_t sent = ::sendmsg(socket_.native_handle(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    CO_TRY(auto attempt, plain_result(sent, Wait::wait_write));
    left.skip(attempt.bytes);
    if (attempt.wait) {
      CO_TRY(co_await wait(*attempt.wait));
    }
  }
  co_return Result<void>();
}

Task<Result<void>> SocketConnection::write_tls(std::span<const ConstBytes> pieces) {
  record_.clear();
  record_.reserve(kRecordSize_bytes);
  for (ConstBytes piece : pieces) {
    while (!piece.empty()) {
      std::size_t direct = record_.empty() ? piece.size() / kRecordSize_bytes * kRecordSize_bytes : 0;
      if (direct > 0) {
        CO_TRY(co_await write_records(piece.first(direct)));
        piece = piece.subspan(direct);
        continue;
      }
      auto part = piece.first(std::min(piece.size(), kRecordSize_bytes - record_.size()));
      record_.insert(record_.end(), part.begin(), part.end());
      piece = piece.subspan(part.size());
      if (record_.size() == kRecordSize_bytes) {
        CO_TRY(co_await write_records(record_));
        record_.clear();
      }
    }
  }
  co_return co_await write_records(record_);
}

Task<Result<void>> SocketConnection::write_records(ConstBytes bytes) {
  while (!bytes.empty()) {
    std::size_t count = 0;
    ERR_clear_error();
    int outcome = SSL_write_ex(tls_.get(), bytes.data(), bytes.size(), &count);
    CO_TRY(auto attempt, tls_result(outcome, count));
    bytes = bytes.subspan(attempt.bytes);
    if (attempt.wait) {
      CO_TRY(co_await wait(*attempt.wait));
      if (!established_) co_return Error(ECONNRESET);  // a read found the connection broken meanwhile
    }
  }
  co_return Result<void>();
}

void SocketConnection::close() {
  if (closed_) return;
  closed_ = true;
  // Tells the other side that this end is deliberate, unless it would land in the middle of a record.
  if (tls_ && established_ && !writing_) {
    ERR_clear_error();
    SSL_shutdown(tls_.get());
    ERR_clear_error();
  }
  boost::system::error_code ignored;
  socket_.close(ignored);
}

}  // namespace polder
