// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/cluster/openssl_values.h"

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include <array>

namespace polder::openssl {

namespace {

using Bio = std::unique_ptr<BIO, Free>;

constexpr std::size_t kPem_bytes_max = 64u << 10;

/// No prompt for a pass phrase on the daemon's terminal: an encrypted key is an error.
int no_pass_phrase(char*, int, int, void*) {
  return -1;
}

template <typename Write>
Result<std::string> write_pem(Write write) {
  Bio bio(BIO_new(BIO_s_mem()));
  if (!bio || write(bio.get()) != 1) return last_error("write PEM");
  char* data = nullptr;
  auto size = BIO_get_mem_data(bio.get(), &data);
  return std::string(data, static_cast<std::size_t>(size));
}

template <typename Owner, typename Read>
Result<Owner> read_pem(const std::string& pem, std::string_view what, Read read) {
  if (pem.size() > kPem_bytes_max) return Error(EINVAL).with("the {} has {} bytes", what, pem.size());
  Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  if (!bio) return last_error("read PEM");
  Owner owner(read(bio.get()));
  if (!owner) {
    ERR_clear_error();
    return Error(EINVAL).with("not a {} in PEM form", what);
  }
  return owner;
}

}  // namespace

Error last_error(std::string_view what) {
  std::array<char, 256> text{};
  auto code = ERR_get_error();
  ERR_error_string_n(code, text.data(), text.size());
  ERR_clear_error();
  return Error(EIO).with("OpenSSL, {}: {}", what, text.data());
}

Result<Key> make_key() {
  Key key(EVP_EC_gen("P-256"));
  if (!key) return last_error("make a key");
  return key;
}

bool is_p256(EVP_PKEY* key) {
  std::array<char, 64> group{};
  std::size_t length = 0;
  return EVP_PKEY_get_base_id(key) == EVP_PKEY_EC &&
         EVP_PKEY_get_group_name(key, group.data(), group.size(), &length) == 1 &&
         std::string_view(group.data(), length) == "prime256v1";
}

Result<std::string> to_pem(EVP_PKEY* key) {
  return write_pem(
      [&](BIO* bio) { return PEM_write_bio_PrivateKey(bio, key, nullptr, nullptr, 0, nullptr, nullptr); });
}
Result<std::string> to_pem(X509* certificate) {
  return write_pem([&](BIO* bio) { return PEM_write_bio_X509(bio, certificate); });
}
Result<std::string> to_pem(X509_REQ* request) {
  return write_pem([&](BIO* bio) { return PEM_write_bio_X509_REQ(bio, request); });
}

Result<Key> key_from_pem(const std::string& pem) {
  return read_pem<Key>(pem, "private key", [](BIO* bio) {
    return PEM_read_bio_PrivateKey(bio, nullptr, &no_pass_phrase, nullptr);
  });
}
Result<Certificate> certificate_from_pem(const std::string& pem) {
  return read_pem<Certificate>(
      pem, "certificate", [](BIO* bio) { return PEM_read_bio_X509(bio, nullptr, &no_pass_phrase, nullptr); });
}
Result<Request> request_from_pem(const std::string& pem) {
  return read_pem<Request>(pem, "certificate request", [](BIO* bio) {
    return PEM_read_bio_X509_REQ(bio, nullptr, &no_pass_phrase, nullptr);
  });
}

}  // namespace polder::openssl
