// SPDX-License-Identifier: GPL-3.0-or-later
// The machine's sockets behind the Transport seam: unix sockets, and TLS over TCP. Handshakes run beside each
// other, bounded in number and time, so that strangers can neither block the listener nor exhaust it.
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <deque>

#include "base/children.h"
#include "base/concurrency_impl.h"
#include "base/connection.h"
#include "base/log.h"

namespace polder {

namespace {

using namespace std::chrono_literals;
using GenericEndpoint = asio::generic::stream_protocol::endpoint;

constexpr auto kConnectLimit = 5s;  // for each address
constexpr auto kHandshakeLimit = 10s;
constexpr std::size_t kMaxPending = 128;  // handshakes that run and streams that nobody took yet
constexpr int kBacklog = 1024;

Clock& real_clock() {
  static auto* clock = make_system_clock().release();
  return *clock;
}

void set_option(int fd, int level, int name, int value) {
  ::setsockopt(fd, level, name, &value, sizeof value);  // best effort: each only makes things better
}

/// A peer that vanished without a word is noticed after about half a minute.
void tune_tcp(int fd) {
  set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, 10);
  set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, 5);
  set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 4);
  set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, 30000);
}

/// A unix socket's buffer does not grow by itself, and a large request that does not fit wakes the two sides
/// in turn for each part.
void tune_unix(int fd) {
  constexpr int kBuffer_bytes = 4 << 20;
  set_option(fd, SOL_SOCKET, SO_SNDBUF, kBuffer_bytes);
  set_option(fd, SOL_SOCKET, SO_SNDBUFFORCE, kBuffer_bytes);  // beyond the system's limit, if we may
}

Result<GenericEndpoint> unix_address(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.find('\0') != std::string::npos)
    return Error(EINVAL).with("unix socket '{}'", path);
  if (path.size() >= sizeof address.sun_path) {
    return Error(ENAMETOOLONG)
        .with("unix socket {}: the path has {} bytes, Linux allows {}; use a shorter directory", path,
              path.size(), sizeof address.sun_path - 1);
  }
  path.copy(address.sun_path, path.size());
  return GenericEndpoint(&address, sizeof address);
}

Task<Result<std::vector<GenericEndpoint>>> resolve(const Endpoint& endpoint) {
  std::vector<GenericEndpoint> addresses;
  boost::system::error_code failure;
  auto address = asio::ip::make_address(endpoint.host, failure);
  if (!failure) {
    addresses.emplace_back(asio::ip::tcp::endpoint(address, endpoint.port));
    co_return addresses;
  }
  asio::ip::tcp::resolver resolver(co_await asio::this_coro::executor);
  auto found = co_await resolver.async_resolve(endpoint.host, std::to_string(endpoint.port),
                                               asio::redirect_error(asio::use_awaitable, failure));
  if (failure) {
    co_return Error(EHOSTUNREACH).with("the name {} does not resolve: {}", endpoint.host, failure.message());
  }
  for (const auto& entry : found) addresses.emplace_back(entry.endpoint());
  co_return addresses;
}

Task<Result<GenericSocket>> connect_to(GenericEndpoint address) {
  if (co_await is_cancelled()) co_return Error(ECANCELED);
  GenericSocket socket(co_await asio::this_coro::executor);
  boost::system::error_code failure;
  socket.open(address.protocol(), failure);
  if (!failure) co_await socket.async_connect(address, asio::redirect_error(asio::use_awaitable, failure));
  if (failure) co_return Error(failure.value());
  co_return std::move(socket);
}

/// One address after the other; the last one's error, when none answers.
Task<Result<GenericSocket>> connect_tcp(const Endpoint& endpoint) {
  CO_TRY(auto addresses, co_await resolve(endpoint));
  Result<GenericSocket> socket = Error(EHOSTUNREACH);
  for (const auto& address : addresses) {
    nanoseconds deadline = real_clock().boot_time() + kConnectLimit;
    socket = co_await with_deadline(real_clock(), deadline, connect_to(address));
    if (socket) {
      tune_tcp(socket->native_handle());
      co_return std::move(socket);
    }
    if (socket.failed_with(ECANCELED)) break;
  }
  co_return Error(socket.error().code());  // nothing was sent: no maybe_applied
}

std::string peer_text(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  char text[INET6_ADDRSTRLEN] = "?";
  if (::getpeername(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return "?";
  if (address.ss_family == AF_INET)
    ::inet_ntop(AF_INET, &reinterpret_cast<sockaddr_in&>(address).sin_addr, text, sizeof text);
  else if (address.ss_family == AF_INET6)
    ::inet_ntop(AF_INET6, &reinterpret_cast<sockaddr_in6&>(address).sin6_addr, text, sizeof text);
  else
    return "a unix socket";
  return text;
}

/// Shared by the Listener and the tasks that accept and shake hands; after close() these end by themselves.
struct ListenerState {
  ListenerState(const asio::any_io_executor& loop, int fd) : executor(loop), socket(loop, fd) {}

  asio::any_io_executor executor;
  asio::posix::stream_descriptor socket;
  Endpoint local;
  std::vector<std::string> protocols;
  std::shared_ptr<TlsContext> tls;  // kTls
  struct stat file{};               // of a unix socket
  std::deque<std::unique_ptr<Stream>> ready;
  std::size_t pending = 0;  // handshakes and ready streams
  Event changed;
  std::shared_ptr<Children> tasks = std::make_shared<Children>("listener");
  bool closed = false;

  void close() {
    if (closed) return;
    closed = true;
    struct stat now{};
    // Not the socket of somebody who took the name over.
    if (local.kind == Endpoint::Kind::kUnix && ::lstat(local.host.c_str(), &now) == 0 &&
        now.st_ino == file.st_ino && now.st_dev == file.st_dev) {
      ::unlink(local.host.c_str());
    }
    boost::system::error_code ignored;
    socket.close(ignored);
    ready.clear();
    changed.notify_all();
    tasks->cancel_all();
  }
};

Task<Result<void>> establish(ListenerState& state, SocketConnection& connection) {
  if (state.local.kind == Endpoint::Kind::kClear) {
    connection.accept_stranger(state.protocols[0]);
    co_return Result<void>();
  }
  if (!state.tls) co_return connection.identify_unix_peer(state.protocols[0]);
  nanoseconds deadline = real_clock().boot_time() + kHandshakeLimit;
  co_return co_await with_deadline(real_clock(), deadline, connection.handshake(state.tls, {}));
}

Task<void> welcome(std::shared_ptr<ListenerState> state, GenericSocket socket) {
  std::string from = peer_text(socket.native_handle());
  auto connection = std::make_shared<SocketConnection>(std::move(socket));
  auto established = co_await establish(*state, *connection);
  if (established && !state->closed) {
    state->ready.push_back(make_socket_stream(std::move(connection)));
    state->changed.notify_all();
    co_return;
  }
  --state->pending;
  state->changed.notify_all();
  connection->close();
  if (!state->closed) {
    log::info("{}: connection from {} refused: {}", state->local.text(), from, established.error().message());
  }
}

Task<void> accept_all(std::shared_ptr<ListenerState> state) {
  while (!state->closed) {
    if (state->pending >= kMaxPending) {
      (void)co_await state->changed.wait();
      continue;
    }
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    int fd = ::accept4(state->socket.native_handle(), reinterpret_cast<sockaddr*>(&address), &size,
                       SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) {
      state->local.kind == Endpoint::Kind::kUnix ? tune_unix(fd) : tune_tcp(fd);
      GenericSocket socket(state->executor, asio::generic::stream_protocol(address.ss_family, 0), fd);
      ++state->pending;
      state->tasks->spawn(state->executor, welcome(state, std::move(socket)));
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      boost::system::error_code ignored;
      co_await state->socket.async_wait(asio::posix::stream_descriptor::wait_read,
                                        asio::redirect_error(asio::use_awaitable, ignored));
    } else if (errno != EINTR && errno != ECONNABORTED && errno != EPROTO) {
      // EMFILE and the like: better soon than never.
      log::error("{}: accept: {}", state->local.text(), Error(errno).message());
      (void)co_await real_clock().sleep_for(100ms);
    }
  }
}

class SocketListener final : public Listener {
 public:
  explicit SocketListener(std::shared_ptr<ListenerState> state) : state_(std::move(state)) {
    state_->tasks->spawn(state_->executor, accept_all(state_));
  }
  ~SocketListener() override { state_->close(); }

  Task<Result<std::unique_ptr<Stream>>> accept() override {
    auto state = state_;
    for (;;) {
      if (state->closed) co_return Error(ECANCELED);
      if (!state->ready.empty()) break;
      CO_TRY(co_await state->changed.wait());
    }
    auto stream = std::move(state->ready.front());
    state->ready.pop_front();
    --state->pending;
    state->changed.notify_all();
    co_return std::move(stream);
  }
  void close() override { state_->close(); }
  Endpoint local() const override { return state_->local; }

 private:
  std::shared_ptr<ListenerState> state_;
};

/// Removes a socket file that nobody listens on any more.
Task<Result<void>> clear_unix_path(const std::string& path, const GenericEndpoint& address) {
  struct stat found{};
  if (::lstat(path.c_str(), &found) != 0) {
    if (errno == ENOENT) co_return Result<void>();
    co_return Error(errno).with("{}", path);
  }
  if (!S_ISSOCK(found.st_mode)) co_return Error(EADDRINUSE).with("{} exists and is not a socket", path);
  auto probe = co_await connect_to(address);
  if (probe) co_return Error(EADDRINUSE).with("{}: another process listens there", path);
  if (!probe.failed_with(ECONNREFUSED)) co_return Error(probe.error()).with("{}: is it in use?", path);
  if (::unlink(path.c_str()) != 0) co_return Error(errno).with("remove the stale socket {}", path);
  co_return Result<void>();
}

Result<std::shared_ptr<ListenerState>> bind_to(const asio::any_io_executor& executor,
                                               const GenericEndpoint& address, const Endpoint& endpoint) {
  int fd = ::socket(address.protocol().family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return Error(errno).with("socket for {}", endpoint.text());
  auto state = std::make_shared<ListenerState>(executor, fd);
  state->local = endpoint;
  bool is_unix = endpoint.kind == Endpoint::Kind::kUnix;
  if (!is_unix) set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  if (::bind(fd, address.data(), static_cast<socklen_t>(address.size())) != 0) {
    return Error(errno).with("listen on {}", endpoint.text());
  }
  // Nobody can connect before listen(), so the mode is in force for the first one already.
  if (is_unix &&
      (::chmod(endpoint.host.c_str(), 0600) != 0 || ::lstat(endpoint.host.c_str(), &state->file) != 0)) {
    return Error(errno).with("{}", endpoint.host);
  }
  if (::listen(fd, kBacklog) != 0) return Error(errno).with("listen on {}", endpoint.text());
  if (!is_unix) {
    sockaddr_in6 bound{};  // the port is at the same place for both families
    socklen_t size = sizeof bound;
    ::getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &size);
    state->local.port = ntohs(bound.sin6_port);
  }
  return state;
}

class SocketTransport final : public Transport {
 public:
  Task<Result<std::unique_ptr<Stream>>> connect(const Endpoint& endpoint, std::string protocol,
                                                std::shared_ptr<const TlsIdentity> identity) override {
    Endpoint to = endpoint;
    Result<std::unique_ptr<Stream>> connected;
    if (to.kind == Endpoint::Kind::kUnix)
      connected = co_await connect_unix(to, std::move(protocol));
    else if (to.kind == Endpoint::Kind::kClear)
      connected = Error(EINVAL).with("connections without TLS are for scrapers only");
    else
      connected = co_await connect_tls(to, std::move(protocol), std::move(identity));
    co_return std::move(connected).with("connect to {}", to.text());
  }

  Task<Result<std::unique_ptr<Listener>>> listen(const Endpoint& endpoint, std::vector<std::string> protocols,
                                                 std::shared_ptr<const TlsIdentity> identity) override {
    Endpoint at = endpoint;
    if (protocols.empty()) co_return Error(EINVAL).with("listen on {}: no protocols", at.text());
    auto executor = co_await asio::this_coro::executor;
    std::shared_ptr<TlsContext> tls;
    Result<GenericEndpoint> address = GenericEndpoint();
    if (at.kind == Endpoint::Kind::kUnix) {
      CO_TRY(address, unix_address(at.host));
      CO_TRY(co_await clear_unix_path(at.host, *address));
    } else {
      if (at.kind == Endpoint::Kind::kTls) {
        if (!identity) co_return Error(EINVAL).with("listen on {}: TLS needs an identity", at.text());
        CO_TRY(tls, TlsContext::listener(std::move(identity), protocols));
      }
      CO_TRY(auto addresses, co_await resolve(at));
      address = addresses.at(0);
    }
    CO_TRY(auto state, bind_to(executor, *address, at));
    state->protocols = std::move(protocols);
    state->tls = std::move(tls);
    co_return std::make_unique<SocketListener>(std::move(state));
  }

 private:
  static Task<Result<std::unique_ptr<Stream>>> connect_unix(const Endpoint& to, std::string protocol) {
    CO_TRY(auto address, unix_address(to.host));
    CO_TRY(auto socket, co_await connect_to(address));
    tune_unix(socket.native_handle());
    auto connection = std::make_shared<SocketConnection>(std::move(socket));
    CO_TRY(connection->identify_unix_peer(std::move(protocol)));
    co_return make_socket_stream(std::move(connection));
  }

  static Task<Result<std::unique_ptr<Stream>>> connect_tls(const Endpoint& to, std::string protocol,
                                                           std::shared_ptr<const TlsIdentity> identity) {
    if (!identity) co_return Error(EINVAL).with("TLS needs an identity");
    CO_TRY(auto tls, TlsContext::connector(std::move(identity), protocol));
    CO_TRY(auto socket, co_await connect_tcp(to));
    auto connection = std::make_shared<SocketConnection>(std::move(socket));
    nanoseconds deadline = real_clock().boot_time() + kHandshakeLimit;
    auto done =
        co_await with_deadline(real_clock(), deadline, connection->handshake(tls, std::move(protocol)));
    if (done.failed_with(ETIMEDOUT)) co_return Error(ETIMEDOUT).with("TLS handshake");
    CO_TRY(std::move(done));
    co_return make_socket_stream(std::move(connection));
  }
};

}  // namespace

std::unique_ptr<Transport> make_socket_transport() {
  return std::make_unique<SocketTransport>();
}

}  // namespace polder
