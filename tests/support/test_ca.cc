// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/support/test_ca.h"

#include <fmt/core.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <stdexcept>

namespace polder {

namespace {

struct Free {
  void operator()(BIO* bio) const { BIO_free(bio); }
  void operator()(X509* certificate) const { X509_free(certificate); }
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
using KeyPointer = std::unique_ptr<EVP_PKEY, Free>;
using CertificatePointer = std::unique_ptr<X509, Free>;

void check(bool done, const char* what) {
  if (!done) throw std::runtime_error(fmt::format("test CA: {} failed", what));
}

std::string text_of(BIO* bio) {
  char* data = nullptr;
  long size = BIO_get_mem_data(bio, &data);
  return std::string(data, static_cast<std::size_t>(size));
}

std::string pem_of(X509* certificate) {
  std::unique_ptr<BIO, Free> bio(BIO_new(BIO_s_mem()));
  check(PEM_write_bio_X509(bio.get(), certificate) == 1, "PEM of the certificate");
  return text_of(bio.get());
}

std::string pem_of(EVP_PKEY* key) {
  std::unique_ptr<BIO, Free> bio(BIO_new(BIO_s_mem()));
  check(PEM_write_bio_PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr) == 1,
        "PEM of the key");
  return text_of(bio.get());
}

void set_name(X509_NAME* name, const std::string& common_name) {
  if (common_name.empty()) return;
  check(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                                   reinterpret_cast<const unsigned char*>(common_name.data()),
                                   static_cast<int>(common_name.size()), -1, 0) == 1,
        "name");
}

CertificatePointer certify(const std::string& subject, const std::string& issuer, EVP_PKEY* key,
                           EVP_PKEY* issuer_key, bool is_ca, int valid_days) {
  static long serial = 1;
  CertificatePointer made(X509_new());
  X509_set_version(made.get(), 2);
  ASN1_INTEGER_set(X509_get_serialNumber(made.get()), serial++);
  X509_gmtime_adj(X509_getm_notBefore(made.get()), -86400L * 30);
  X509_gmtime_adj(X509_getm_notAfter(made.get()), 86400L * valid_days);
  set_name(X509_get_subject_name(made.get()), subject);
  set_name(X509_get_issuer_name(made.get()), issuer);
  X509_set_pubkey(made.get(), key);
  X509_EXTENSION* constraints =
      X509V3_EXT_conf_nid(nullptr, nullptr, NID_basic_constraints, is_ca ? "critical,CA:TRUE" : "CA:FALSE");
  X509_add_ext(made.get(), constraints, -1);
  X509_EXTENSION_free(constraints);
  check(X509_sign(made.get(), issuer_key, EVP_sha256()) > 0, "signature");
  return made;
}

}  // namespace

struct TestCa::Key {
  KeyPointer key;
};

TestCa::TestCa(std::string name)
    : name_(std::move(name)), key_(std::make_unique<Key>(Key{KeyPointer(EVP_EC_gen("P-256"))})) {
  auto certificate = certify(name_, name_, key_->key.get(), key_->key.get(), true, 1);
  certificate_pem_ = pem_of(certificate.get());
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  check(X509_digest(certificate.get(), EVP_sha256(), digest, &size) == 1, "digest");
  for (unsigned i = 0; i < size; ++i) fingerprint_ += fmt::format("{:02x}", digest[i]);
}

TestCa::~TestCa() = default;

TlsIdentity TestCa::issue(const std::string& common_name, int valid_days) const {
  KeyPointer key(EVP_EC_gen("P-256"));
  auto certificate = certify(common_name, name_, key.get(), key_->key.get(), false, valid_days);
  TlsIdentity identity;
  identity.certificate_pem = pem_of(certificate.get()) + certificate_pem_;
  identity.key_pem = pem_of(key.get());
  identity.trusted_ca_pem = certificate_pem_;
  return identity;
}

}  // namespace polder
