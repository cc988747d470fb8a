// SPDX-License-Identifier: GPL-3.0-or-later
// OpenSSL's objects with owners, and PEM. Internal to certificates.
#pragma once
#include <openssl/evp.h>
#include <openssl/x509.h>

#include <memory>
#include <string>

#include "base/result.h"

namespace polder::openssl {

struct Free {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
  void operator()(X509* certificate) const { X509_free(certificate); }
  void operator()(X509_REQ* request) const { X509_REQ_free(request); }
  void operator()(BIO* bio) const { BIO_free_all(bio); }
};
using Key = std::unique_ptr<EVP_PKEY, Free>;
using Certificate = std::unique_ptr<X509, Free>;
using Request = std::unique_ptr<X509_REQ, Free>;

/// What OpenSSL has to say about its last failure; empties its queue.
Error last_error(std::string_view what);

Result<Key> make_key();  // P-256
bool is_p256(EVP_PKEY* key);

Result<std::string> to_pem(EVP_PKEY* key);
Result<std::string> to_pem(X509* certificate);
Result<std::string> to_pem(X509_REQ* request);
/// EINVAL; texts longer than 64 KiB are not looked at.
Result<Key> key_from_pem(const std::string& pem);
Result<Certificate> certificate_from_pem(const std::string& pem);
Result<Request> request_from_pem(const std::string& pem);

}  // namespace polder::openssl
