// SPDX-License-Identifier: GPL-3.0-or-later
// Transport: the seam for the network: ordered byte streams between named endpoints, with the identity of the
// other side already established (mTLS certificate or unix peer credentials).
//
// Loop thread only. Everything read from a Stream is hostile until checked by the caller.
#pragma once
#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/buffer.h"
#include "base/task.h"

namespace polder {

struct Endpoint {
  /// kClear: TCP without TLS, for listeners only, whose peers are strangers. No text names one: whoever wants
  /// that says so in code.
  enum class Kind { kUnix, kTls, kClear };
  Kind kind = Kind::kTls;
  std::string host;  // name or address (IPv6 without brackets); the path for kUnix
  std::uint16_t port = 0;

  static constexpr std::uint16_t kDefaultPort = 24117;
  static Endpoint unix_socket(std::string path) { return {Kind::kUnix, std::move(path), 0}; }
  /// HOST[:PORT], [V6][:PORT] or unix:/path. EINVAL says what is wrong with the text.
  static Result<Endpoint> parse(std::string_view text);
  std::string text() const;
  auto operator<=>(const Endpoint&) const = default;
};

/// Who is on the other end. Of a certificate: its subject, made by the cluster's CA (cluster/certificates.h);
/// of a unix socket: the peer's uid. `authenticated` false only where the listener allows strangers
/// (pairing).
struct PeerIdentity {
  bool authenticated = false;
  std::string common_name;     // certificate's CN; empty for unix sockets
  std::string ca_fingerprint;  // SHA-256 of the CA that vouches, lower-case hex
  std::optional<uid_t> uid;    // unix sockets
  pid_t pid = 0;               // unix sockets: of the process that connected
  std::string address;         // TCP: numeric, with the port. For people only
};

/// Key, certificate and trusted CAs of one side, PEM. Opaque to everybody but transports and certificates.
struct TlsIdentity {
  std::string certificate_pem;
  std::string key_pem;
  std::string trusted_ca_pem;     // one or several CA certificates
  bool accept_strangers = false;  // listener: also peers without certificate (pairing); connector: any server
  std::string expected_ca_fingerprint;  // connector: the server's CA must be this one, when not empty
};

class Stream {
 public:
  virtual ~Stream() = default;
  /// At least one byte; 0 at the end of the stream. ECONNRESET when the connection broke or was closed here.
  virtual Task<Result<std::size_t>> read_some(Bytes out) = 0;
  /// Everything, in order, without copying. One write at a time. EPIPE/ECONNRESET: some prefix may have
  /// arrived.
  virtual Task<Result<void>> write(std::span<const ConstBytes> pieces) = 0;
  /// Ends pending reads and writes with ECONNRESET. May be called twice.
  virtual void close() = 0;
  virtual const PeerIdentity& peer() const = 0;
  /// What both sides agreed to speak (TLS ALPN); what the connector asked for on unix sockets without ALPN.
  virtual const std::string& protocol() const = 0;
};

class Listener {
 public:
  virtual ~Listener() = default;
  /// Handshakes run inside, several at a time, so one slow stranger cannot block others. ECANCELED after
  /// close().
  virtual Task<Result<std::unique_ptr<Stream>>> accept() = 0;
  virtual void close() = 0;
  /// With the port that was bound when 0 was asked for.
  virtual Endpoint local() const = 0;
};

class Transport {
 public:
  virtual ~Transport() = default;
  /// `protocol` goes into ALPN. `identity` may be null for unix sockets only.
  virtual Task<Result<std::unique_ptr<Stream>>> connect(const Endpoint& endpoint, std::string protocol,
                                                        std::shared_ptr<const TlsIdentity> identity) = 0;
  /// `protocols`: accepted ALPN names (kTls); others speak the first one. A stale unix socket file is
  /// replaced, a live one is EADDRINUSE.
  virtual Task<Result<std::unique_ptr<Listener>>> listen(const Endpoint& endpoint,
                                                         std::vector<std::string> protocols,
                                                         std::shared_ptr<const TlsIdentity> identity) = 0;
};

/// Sockets of the machine on Asio.
std::unique_ptr<Transport> make_socket_transport();

}  // namespace polder
