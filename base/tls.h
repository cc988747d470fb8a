// SPDX-License-Identifier: GPL-3.0-or-later
// TLS of the socket transport: OpenSSL contexts made of a TlsIdentity, and who the other side is. Hosts are
// not checked: certificates of a cluster's CA name roles ("node:alpha"), not DNS names.
#pragma once
#include <openssl/ssl.h>

#include <memory>
#include <string>
#include <vector>

#include "base/transport.h"

namespace polder {

struct TlsFree {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
  void operator()(SSL* session) const { SSL_free(session); }
};
using TlsContextPointer = std::unique_ptr<SSL_CTX, TlsFree>;
using TlsSessionPointer = std::unique_ptr<SSL, TlsFree>;

/// TLS 1.3, both sides with certificates unless `identity` accepts strangers. EINVAL names what is wrong with
/// the PEM texts.
class TlsContext {
 public:
  static Result<std::shared_ptr<TlsContext>> connector(std::shared_ptr<const TlsIdentity> identity,
                                                       const std::string& protocol);
  static Result<std::shared_ptr<TlsContext>> listener(std::shared_ptr<const TlsIdentity> identity,
                                                      std::vector<std::string> protocols);

  /// A session on a connected socket. The socket must outlive the session's last use.
  Result<TlsSessionPointer> session(int fd) const;
  /// After the handshake: EACCES when the other side is not somebody that the identity accepts.
  Result<PeerIdentity> identify(SSL* session) const;

 private:
  TlsContext(std::shared_ptr<const TlsIdentity> identity, bool listens);
  Result<void> load();
  static int select_protocol(SSL*, const unsigned char** out, unsigned char* out_size,
                             const unsigned char* in, unsigned in_size, void* self);

  std::shared_ptr<const TlsIdentity> identity_;
  bool listens_;
  std::string protocols_wire_;  // ALPN: each name after a byte with its length
  TlsContextPointer context_;
};

/// What `ours` would find out about `theirs` in a handshake, without one: for the simulated network. Validity
/// periods are not checked, since time is simulated too.
Result<PeerIdentity> judge_identity(const TlsIdentity& theirs, const TlsIdentity& ours, bool we_listen);

/// What OpenSSL has to say about the last failure of this thread, the peer's certificate included.
std::string tls_failure_text(SSL* session);

}  // namespace polder
