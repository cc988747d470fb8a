// SPDX-License-Identifier: GPL-3.0-or-later
// The cluster's own CA and the certificates it issues (EC P-256, SHA-256). A certificate's common name is a
// role and a name, "node:alpha", "client:web1", "georep:SESSION", "admin:eve": it is all that its holder may
// be. Only nodes' certificates are good for servers, so that no client can pose as a node.
//
// Pure functions of their arguments, but for the keys, which come from OpenSSL's own generator. CPU work of
// about a millisecond.
#pragma once
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace polder {

/// A private key and what belongs to it, PEM.
struct KeyAndCertificate {
  std::string key_pem;
  std::string certificate_pem;
};
struct KeyAndRequest {
  std::string key_pem;
  std::string request_pem;  // PKCS #10
};

struct CertificateFacts {
  std::string common_name;
  std::string fingerprint;  // SHA-256 of the DER form, lower-case hex
  std::int64_t not_before_s = 0;
  std::int64_t not_after_s = 0;
  bool is_ca = false;
};

enum class CertificateRole { kNode, kClient, kGeorep, kAdmin };
std::string_view to_string(CertificateRole role);  // "node", "client", ...
/// "node:alpha" → role and name. EINVAL for anything else.
struct RoleAndName {
  CertificateRole role;
  std::string name;
};
Result<RoleAndName> parse_common_name(std::string_view common_name);

inline constexpr std::chrono::days kCaLifetime{3650};
inline constexpr std::chrono::days kCertificateLifetime{825};

/// A new CA. `now_s`: seconds since the epoch, from the Clock seam. Valid from a day before, since clocks
/// differ.
Result<KeyAndCertificate> make_ca(const std::string& cluster_name, std::int64_t now_s);
/// A key, and the request to certify it. The name in the request means nothing: the CA decides.
Result<KeyAndRequest> make_certificate_request();
/// The certificate for a request, PEM. EINVAL: not a request, a signature that does not fit its key, a key of
/// another kind than P-256.
Result<std::string> issue_certificate(const KeyAndCertificate& ca, const std::string& request_pem,
                                      CertificateRole role, const std::string& name, std::int64_t now_s,
                                      std::chrono::days lifetime = kCertificateLifetime);
/// Of the first certificate in `pem`. EINVAL.
Result<CertificateFacts> read_certificate(const std::string& pem);
/// EACCES unless `certificate_pem` was signed by `ca_pem`, and EINVAL unless `key_pem` fits it.
Result<void> check_certificate(const std::string& certificate_pem, const std::string& ca_pem,
                               const std::string& key_pem);

/// SHA-256, lower-case hex.
std::string sha256_hex(std::string_view bytes);

}  // namespace polder
