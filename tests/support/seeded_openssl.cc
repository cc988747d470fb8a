// SPDX-License-Identifier: GPL-3.0-or-later
#define OPENSSL_SUPPRESS_DEPRECATED  // OpenSSL 3 has no other way in that replaces all of its randomness
#include "tests/support/seeded_openssl.h"

#include <openssl/rand.h>

#include <memory>

#include "base/random.h"

namespace polder {

namespace {

std::unique_ptr<Random>& source() {
  static std::unique_ptr<Random> random;
  return random;
}

int fill(unsigned char* out, int size) {
  source()->fill({out, static_cast<std::size_t>(size)});
  return 1;
}

int always_ready() {
  return 1;
}

}  // namespace

SeededOpenssl::SeededOpenssl(std::uint64_t seed) {
  static const RAND_METHOD method{.seed = nullptr,
                                  .bytes = fill,
                                  .cleanup = nullptr,
                                  .add = nullptr,
                                  .pseudorand = fill,
                                  .status = always_ready};
  source() = make_seeded_random(seed);
  RAND_set_rand_method(&method);
}

SeededOpenssl::~SeededOpenssl() {
  RAND_set_rand_method(nullptr);
}

}  // namespace polder
