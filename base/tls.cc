// SPDX-License-Identifier: GPL-3.0-or-later
#include "base/tls.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <algorithm>

namespace polder {

namespace {

struct OpensslFree {
  void operator()(BIO* bio) const { BIO_free(bio); }
  void operator()(X509* certificate) const { X509_free(certificate); }
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
  void operator()(X509_STORE* store) const { X509_STORE_free(store); }
  void operator()(X509_STORE_CTX* context) const { X509_STORE_CTX_free(context); }
};
struct StackFree {
  void operator()(STACK_OF(X509) * stack) const { sk_X509_free(stack); }
};
using StackPointer = std::unique_ptr<STACK_OF(X509), StackFree>;
template <typename T>
using Pointer = std::unique_ptr<T, OpensslFree>;

// OpenSSL's own socket BIO would raise SIGPIPE.
int bio_fd(BIO* bio) {
  return static_cast<int>(reinterpret_cast<std::intptr_t>(BIO_get_data(bio)));
}
bool would_block() {
  return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

int bio_write(BIO* bio, const char* data, int size) {
  BIO_clear_retry_flags(bio);
  ssize_t count = ::send(bio_fd(bio), data, static_cast<std::size_t>(size), MSG_NOSIGNAL | MSG_DONTWAIT);
  if (count < 0 && would_block()) BIO_set_retry_write(bio);
  return static_cast<int>(count);
}

int bio_read(BIO* bio, char* out, int size) {
  BIO_clear_retry_flags(bio);
  ssize_t count = ::recv(bio_fd(bio), out, static_cast<std::size_t>(size), MSG_DONTWAIT);
  if (count < 0 && would_block()) BIO_set_retry_read(bio);
  if (count == 0) BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
  return static_cast<int>(count);
}

long bio_control(BIO* bio, int command, long, void*) {
  if (command == BIO_CTRL_EOF) return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0;
  return command == BIO_CTRL_FLUSH ? 1 : 0;
}

BIO_METHOD* socket_method() {
  static BIO_METHOD* method = [] {
    BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "polder socket");
    BIO_meth_set_write(made, bio_write);
    BIO_meth_set_read(made, bio_read);
    BIO_meth_set_ctrl(made, bio_control);
    return made;
  }();
  return method;
}

Pointer<BIO> bio_of(const std::string& text) {
  return Pointer<BIO>(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

/// Never asks at a terminal: a key with a passphrase is an error here.
int no_passphrase(char*, int, int, void*) {
  return 0;
}

std::vector<Pointer<X509>> certificates_of(const std::string& pem) {
  std::vector<Pointer<X509>> out;
  auto bio = bio_of(pem);
  while (auto* certificate = PEM_read_bio_X509(bio.get(), nullptr, no_passphrase, nullptr)) {
    out.emplace_back(certificate);
  }
  ERR_clear_error();  // the end of the text is reported as an error
  return out;
}

std::string fingerprint(const X509* certificate) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  if (!X509_digest(certificate, EVP_sha256(), digest, &size)) return {};
  std::string text;
  for (unsigned i = 0; i < size; ++i) text += fmt::format("{:02x}", digest[i]);
  return text;
}

/// The one common name; empty when there is none, several, or one with control characters.
std::string common_name(X509* certificate) {
  X509_NAME* subject = X509_get_subject_name(certificate);
  int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (at < 0 || X509_NAME_get_index_by_NID(subject, NID_commonName, at) >= 0) return {};
  unsigned char* utf8 = nullptr;
  int size = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
  if (size < 0) return {};
  std::string name(reinterpret_cast<char*>(utf8), static_cast<std::size_t>(size));
  OPENSSL_free(utf8);
  auto control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
  return std::ranges::any_of(name, control) ? std::string() : name;
}

/// Fingerprint of the trust anchor that the handshake verified against; empty when it did not.
std::string verified_anchor(SSL* session) {
  if (SSL_get_verify_result(session) != X509_V_OK) return {};
  STACK_OF(X509)* chain = SSL_get0_verified_chain(session);
  int size = chain ? sk_X509_num(chain) : 0;
  return size > 0 ? fingerprint(sk_X509_value(chain, size - 1)) : std::string();
}

/// Fingerprint of the anchor in `store` that the leaf leads to, empty when there is none.
std::string verify(X509* leaf, STACK_OF(X509) * untrusted, X509_STORE* store, const char* purpose,
                   unsigned long flags) {
  Pointer<X509_STORE_CTX> check(X509_STORE_CTX_new());
  if (X509_STORE_CTX_init(check.get(), store, leaf, untrusted) != 1) return {};
  X509_STORE_CTX_set_default(check.get(), purpose);
  X509_STORE_CTX_set_flags(check.get(), flags);
  if (X509_verify_cert(check.get()) != 1) return {};
  STACK_OF(X509)* chain = X509_STORE_CTX_get0_chain(check.get());
  return fingerprint(sk_X509_value(chain, sk_X509_num(chain) - 1));
}

/// Whether one of `candidates` is the CA with this fingerprint and vouches for the leaf.
bool verified_by_pinned_ca(X509* leaf, STACK_OF(X509) * candidates, const std::string& expected,
                           unsigned long flags = 0) {
  for (int i = 0; candidates && i < sk_X509_num(candidates); ++i) {
    X509* candidate = sk_X509_value(candidates, i);
    if (fingerprint(candidate) != expected || X509_check_ca(candidate) == 0) continue;
    Pointer<X509_STORE> store(X509_STORE_new());
    X509_STORE_add_cert(store.get(), candidate);
    return !verify(leaf, candidates, store.get(), "ssl_server", flags).empty();
  }
  return false;
}

/// The rules of TlsIdentity about a peer whose certificate (may be null) is vouched for by
/// peer.ca_fingerprint.
Result<PeerIdentity> accept_peer(PeerIdentity peer, X509* certificate, const TlsIdentity& ours,
                                 bool listens) {
  const std::string& expected = ours.expected_ca_fingerprint;
  peer.authenticated = !peer.ca_fingerprint.empty();
  if (!listens && !expected.empty() && peer.ca_fingerprint != expected) {
    return Error(EACCES).with("the server's certificate authority is {}, not {} as expected",
                              peer.authenticated ? peer.ca_fingerprint : "unknown", expected);
  }
  if (!peer.authenticated && !ours.accept_strangers) {
    return Error(EACCES).with("the other side has no valid certificate");
  }
  if (peer.authenticated) peer.common_name = common_name(certificate);
  if (peer.authenticated && peer.common_name.empty()) {
    return Error(EACCES).with("the other side's certificate has no usable common name");
  }
  return peer;
}

int accept_any(int, X509_STORE_CTX*) {
  return 1;
}

Error pem_error(std::string_view what) {
  std::string reason = tls_failure_text(nullptr);
  return Error(EINVAL).with("TLS identity: {} ({})", what, reason);
}

}  // namespace

std::string tls_failure_text(SSL* session) {
  unsigned long code = ERR_peek_last_error();
  const char* reason = code ? ERR_reason_error_string(code) : nullptr;
  std::string text = reason ? reason : "connection closed";
  long verified = session ? SSL_get_verify_result(session) : X509_V_OK;
  if (verified != X509_V_OK) text += fmt::format(": {}", X509_verify_cert_error_string(verified));
  ERR_clear_error();
  return text;
}

TlsContext::TlsContext(std::shared_ptr<const TlsIdentity> identity, bool listens)
    : identity_(std::move(identity)),
      listens_(listens),
      context_(SSL_CTX_new(listens ? TLS_server_method() : TLS_client_method())) {}

Result<void> TlsContext::load() {
  SSL_CTX* context = context_.get();
  auto chain = certificates_of(identity_->certificate_pem);
  if (chain.empty() && (listens_ || !identity_->certificate_pem.empty())) {
    return pem_error("no certificate in certificate_pem");
  }
  for (std::size_t i = 0; i < chain.size(); ++i) {
    int done = i == 0 ? SSL_CTX_use_certificate(context, chain[i].get())
                      : static_cast<int>(SSL_CTX_add1_chain_cert(context, chain[i].get()));
    if (done != 1) return pem_error("the certificate cannot be used");
  }
  if (!chain.empty()) {
    auto bio = bio_of(identity_->key_pem);
    Pointer<EVP_PKEY> key(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_passphrase, nullptr));
    if (!key) return pem_error("no private key (without passphrase) in key_pem");
    if (SSL_CTX_use_PrivateKey(context, key.get()) != 1) return pem_error("key and certificate do not match");
  }
  auto trusted = certificates_of(identity_->trusted_ca_pem);
  if (trusted.empty() && !identity_->accept_strangers) return pem_error("no CA in trusted_ca_pem");
  for (auto& ca : trusted) X509_STORE_add_cert(SSL_CTX_get_cert_store(context), ca.get());
  return {};
}

Result<std::shared_ptr<TlsContext>> TlsContext::connector(std::shared_ptr<const TlsIdentity> identity,
                                                          const std::string& protocol) {
  if (protocol.empty() || protocol.size() > 255) return Error(EINVAL).with("protocol '{}'", protocol);
  std::shared_ptr<TlsContext> made(new TlsContext(std::move(identity), false));
  SSL_CTX* context = made->context_.get();
  SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_read_ahead(context, 1);  // safe: a reader waits for the socket only after SSL_read wants it
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  TRY(made->load());
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, made->identity_->accept_strangers ? accept_any : nullptr);
  std::string wire = static_cast<char>(protocol.size()) + protocol;
  SSL_CTX_set_alpn_protos(context, reinterpret_cast<const unsigned char*>(wire.data()),
                          static_cast<unsigned>(wire.size()));
  return made;
}

Result<std::shared_ptr<TlsContext>> TlsContext::listener(std::shared_ptr<const TlsIdentity> identity,
                                                         std::vector<std::string> protocols) {
  std::shared_ptr<TlsContext> made(new TlsContext(std::move(identity), true));
  SSL_CTX* context = made->context_.get();
  SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(context, 0);  // no resumption: every connection proves itself
  SSL_CTX_set_read_ahead(context, 1);
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  TRY(made->load());
  if (made->identity_->accept_strangers)
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, accept_any);
  else
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  for (const auto& protocol : protocols) {
    if (protocol.empty() || protocol.size() > 255) return Error(EINVAL).with("protocol '{}'", protocol);
    made->protocols_wire_ += static_cast<char>(protocol.size()) + protocol;
  }
  if (protocols.empty()) return Error(EINVAL).with("a TLS listener needs at least one protocol");
  SSL_CTX_set_alpn_select_cb(context, select_protocol, made.get());
  return made;
}

int TlsContext::select_protocol(SSL*, const unsigned char** out, unsigned char* out_size,
                                const unsigned char* in, unsigned in_size, void* self) {
  const std::string& ours = static_cast<TlsContext*>(self)->protocols_wire_;
  int found = SSL_select_next_proto(const_cast<unsigned char**>(out), out_size,
                                    reinterpret_cast<const unsigned char*>(ours.data()),
                                    static_cast<unsigned>(ours.size()), in, in_size);
  return found == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

Result<TlsSessionPointer> TlsContext::session(int fd) const {
  TlsSessionPointer made(SSL_new(context_.get()));
  BIO* bio = made ? BIO_new(socket_method()) : nullptr;
  if (!bio) return Error(ENOMEM).with("TLS session");
  BIO_set_data(bio, reinterpret_cast<void*>(static_cast<std::intptr_t>(fd)));
  BIO_set_init(bio, 1);
  SSL_set_bio(made.get(), bio, bio);
  if (listens_)
    SSL_set_accept_state(made.get());
  else
    SSL_set_connect_state(made.get());
  return made;
}

Result<PeerIdentity> TlsContext::identify(SSL* session) const {
  PeerIdentity peer;
  const std::string& expected = identity_->expected_ca_fingerprint;
  X509* certificate = SSL_get0_peer_certificate(session);
  if (certificate) peer.ca_fingerprint = verified_anchor(session);
  // A connector that knows only the fingerprint of the CA (from a token) takes the CA's certificate from the
  // server's own chain.
  if (certificate && peer.ca_fingerprint.empty() && !listens_ && identity_->accept_strangers &&
      verified_by_pinned_ca(certificate, SSL_get_peer_cert_chain(session), expected)) {
    peer.ca_fingerprint = expected;
  }
  return accept_peer(std::move(peer), certificate, *identity_, listens_);
}

Result<PeerIdentity> judge_identity(const TlsIdentity& theirs, const TlsIdentity& ours, bool we_listen) {
  constexpr unsigned long kFlags = X509_V_FLAG_NO_CHECK_TIME;
  PeerIdentity peer;
  auto sent = certificates_of(theirs.certificate_pem);
  if (sent.empty()) return accept_peer(std::move(peer), nullptr, ours, we_listen);
  auto trusted = certificates_of(ours.trusted_ca_pem);
  Pointer<X509_STORE> store(X509_STORE_new());
  for (auto& ca : trusted) X509_STORE_add_cert(store.get(), ca.get());
  auto completing =
      certificates_of(theirs.trusted_ca_pem);  // OpenSSL completes a lone certificate from these
  StackPointer chain(sk_X509_new_null());
  for (auto& certificate : sent) sk_X509_push(chain.get(), certificate.get());
  if (sent.size() == 1) {
    for (auto& certificate : completing) sk_X509_push(chain.get(), certificate.get());
  }
  X509* leaf = sent[0].get();
  const char* purpose = we_listen ? "ssl_client" : "ssl_server";
  peer.ca_fingerprint = verify(leaf, chain.get(), store.get(), purpose, kFlags);
  if (peer.ca_fingerprint.empty() && !we_listen && ours.accept_strangers &&
      verified_by_pinned_ca(leaf, chain.get(), ours.expected_ca_fingerprint, kFlags)) {
    peer.ca_fingerprint = ours.expected_ca_fingerprint;
  }
  return accept_peer(std::move(peer), leaf, ours, we_listen);
}

}  // namespace polder
