// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/cluster/certificates.h"

#include <openssl/asn1.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>

#include <array>
#include <ctime>

#include "core-volume/cluster/openssl_values.h"
#include "core-volume/cluster/records.h"

namespace polder {

namespace {

using openssl::last_error;

constexpr std::int64_t kDay_s = 86'400;
constexpr std::array<std::string_view, 4> kRoles = {"node", "client", "georep", "admin"};

std::string hex(const unsigned char* bytes, std::size_t size) {
  std::string out;
  for (std::size_t i = 0; i < size; ++i) out += fmt::format("{:02x}", bytes[i]);
  return out;
}

Result<std::string> fingerprint_of(const X509* certificate) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  if (X509_digest(certificate, EVP_sha256(), digest.data(), &size) != 1) return last_error("fingerprint");
  return hex(digest.data(), size);
}

Result<void> set_serial(X509* certificate) {
  std::array<unsigned char, 16> bytes{};
  if (RAND_bytes(bytes.data(), bytes.size()) != 1) return last_error("make a serial number");
  bytes[0] &= 0x7f;  // positive
  BIGNUM* number = BN_bin2bn(bytes.data(), bytes.size(), nullptr);
  bool done = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate));
  BN_free(number);
  if (!done) return last_error("make a serial number");
  return {};
}

Result<void> set_name(X509_NAME* name, const std::string& common_name) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(common_name.data());
  if (X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, bytes, static_cast<int>(common_name.size()), -1,
                                 0) != 1) {
    return last_error("set the name");
  }
  return {};
}

Result<void> add_extension(X509* certificate, X509* issuer, int id, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, id, value);
  bool done = extension && X509_add_ext(certificate, extension, -1) == 1;
  X509_EXTENSION_free(extension);
  if (!done) return last_error("add an extension");
  return {};
}

/// All but issuer, extensions and signature.
Result<openssl::Certificate> start_certificate(const std::string& common_name, EVP_PKEY* key,
                                               std::int64_t now_s, std::chrono::days lifetime) {
  openssl::Certificate certificate(X509_new());
  if (!certificate || X509_set_version(certificate.get(), X509_VERSION_3) != 1) {
    return last_error("make a certificate");
  }
  TRY(set_serial(certificate.get()));
  TRY(set_name(X509_get_subject_name(certificate.get()), common_name));
  bool done = ASN1_TIME_set(X509_getm_notBefore(certificate.get()), now_s - kDay_s) &&
              ASN1_TIME_set(X509_getm_notAfter(certificate.get()), now_s + lifetime.count() * kDay_s) &&
              X509_set_pubkey(certificate.get(), key) == 1;
  if (!done) return last_error("make a certificate");
  return certificate;
}

Result<std::string> sign(openssl::Certificate certificate, X509* issuer, EVP_PKEY* issuer_key) {
  bool done = X509_set_issuer_name(certificate.get(), X509_get_subject_name(issuer)) == 1 &&
              X509_sign(certificate.get(), issuer_key, EVP_sha256()) > 0;
  if (!done) return last_error("sign a certificate");
  return openssl::to_pem(certificate.get());
}

std::int64_t seconds_of(const ASN1_TIME* time) {
  std::tm utc{};
  if (ASN1_TIME_to_tm(time, &utc) != 1) return 0;
  return timegm(&utc);
}

}  // namespace

std::string_view to_string(CertificateRole role) {
  return kRoles.at(static_cast<std::size_t>(role));
}

Result<RoleAndName> parse_common_name(std::string_view common_name) {
  auto colon = common_name.find(':');
  for (std::size_t i = 0; i < kRoles.size() && colon != std::string_view::npos; ++i) {
    if (common_name.substr(0, colon) != kRoles[i]) continue;
    auto name = common_name.substr(colon + 1);
    TRY(check_name("name in the certificate", name));
    return RoleAndName{static_cast<CertificateRole>(i), std::string(name)};
  }
  return Error(EINVAL).with("a certificate for '{}' has no role of Polder's", common_name);
}

Result<KeyAndCertificate> make_ca(const std::string& cluster_name, std::int64_t now_s) {
  TRY(check_name("cluster name", cluster_name));
  TRY(auto key, openssl::make_key());
  TRY(auto certificate, start_certificate("polder cluster " + cluster_name, key.get(), now_s, kCaLifetime));
  auto* self = certificate.get();
  TRY(add_extension(self, self, NID_basic_constraints, "critical,CA:TRUE,pathlen:0"));
  TRY(add_extension(self, self, NID_key_usage, "critical,keyCertSign,cRLSign"));
  TRY(add_extension(self, self, NID_subject_key_identifier, "hash"));
  KeyAndCertificate ca;
  TRY(ca.key_pem, openssl::to_pem(key.get()));
  TRY(ca.certificate_pem, sign(std::move(certificate), self, key.get()));
  return ca;
}

Result<KeyAndRequest> make_certificate_request() {
  TRY(auto key, openssl::make_key());
  openssl::Request request(X509_REQ_new());
  bool done = request && X509_REQ_set_version(request.get(), X509_REQ_VERSION_1) == 1 &&
              X509_REQ_set_pubkey(request.get(), key.get()) == 1;
  if (!done) return last_error("make a request");
  TRY(set_name(X509_REQ_get_subject_name(request.get()), "request"));
  if (X509_REQ_sign(request.get(), key.get(), EVP_sha256()) <= 0) return last_error("sign a request");
  KeyAndRequest out;
  TRY(out.key_pem, openssl::to_pem(key.get()));
  TRY(out.request_pem, openssl::to_pem(request.get()));
  return out;
}

Result<std::string> issue_certificate(const KeyAndCertificate& ca, const std::string& request_pem,
                                      CertificateRole role, const std::string& name, std::int64_t now_s,
                                      std::chrono::days lifetime) {
  TRY(check_name("name in the certificate", name));
  TRY(auto ca_key, openssl::key_from_pem(ca.key_pem));
  TRY(auto ca_certificate, openssl::certificate_from_pem(ca.certificate_pem));
  TRY(auto request, openssl::request_from_pem(request_pem));
  EVP_PKEY* key = X509_REQ_get0_pubkey(request.get());
  if (!key || !openssl::is_p256(key))
    return Error(EINVAL).with("the request's key is not of the kind EC P-256");
  if (X509_REQ_verify(request.get(), key) != 1) {
    return Error(EINVAL).with("the request was not signed by the key that it names");
  }
  auto common_name = fmt::format("{}:{}", to_string(role), name);
  TRY(auto certificate, start_certificate(common_name, key, now_s, lifetime));
  auto* self = certificate.get();
  auto* issuer = ca_certificate.get();
  bool server = role == CertificateRole::kNode;
  TRY(add_extension(self, issuer, NID_basic_constraints, "critical,CA:FALSE"));
  TRY(add_extension(self, issuer, NID_key_usage, "critical,digitalSignature"));
  TRY(add_extension(self, issuer, NID_ext_key_usage, server ? "serverAuth,clientAuth" : "clientAuth"));
  TRY(add_extension(self, issuer, NID_subject_key_identifier, "hash"));
  TRY(add_extension(self, issuer, NID_authority_key_identifier, "keyid:always"));
  return sign(std::move(certificate), issuer, ca_key.get());
}

Result<CertificateFacts> read_certificate(const std::string& pem) {
  TRY(auto certificate, openssl::certificate_from_pem(pem));
  CertificateFacts facts;
  TRY(facts.fingerprint, fingerprint_of(certificate.get()));
  std::array<char, 256> name{};
  auto* subject = X509_get_subject_name(certificate.get());
  auto length = X509_NAME_get_text_by_NID(subject, NID_commonName, name.data(), name.size());
  if (length > 0) facts.common_name.assign(name.data(), static_cast<std::size_t>(length));
  facts.not_before_s = seconds_of(X509_get0_notBefore(certificate.get()));
  facts.not_after_s = seconds_of(X509_get0_notAfter(certificate.get()));
  facts.is_ca = X509_check_ca(certificate.get()) == 1;
  return facts;
}

Result<void> check_certificate(const std::string& certificate_pem, const std::string& ca_pem,
                               const std::string& key_pem) {
  TRY(auto certificate, openssl::certificate_from_pem(certificate_pem));
  TRY(auto ca, openssl::certificate_from_pem(ca_pem));
  TRY(auto key, openssl::key_from_pem(key_pem));
  if (X509_verify(certificate.get(), X509_get0_pubkey(ca.get())) != 1) {
    return Error(EACCES).with("the certificate was not issued by this CA");
  }
  if (X509_check_private_key(certificate.get(), key.get()) != 1) {
    return Error(EINVAL).with("the certificate and the private key do not belong together");
  }
  return {};
}

std::string sha256_hex(std::string_view bytes) {
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), digest.data());
  return hex(digest.data(), digest.size());
}

}  // namespace polder
