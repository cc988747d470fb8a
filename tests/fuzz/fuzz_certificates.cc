// SPDX-License-Identifier: GPL-3.0-or-later
// PEM from strangers: requests for certificates, and certificates. The first byte: 'r' a request.
#include "core-volume/cluster/certificates.h"

#include "tests/fuzz/fuzz.h"

namespace polder::fuzz {
namespace {

constexpr std::int64_t kNow_s = 1'800'000'000;

}  // namespace

POLDER_FUZZ_TARGET(certificates) {
  static const auto ca = make_ca("fuzz", kNow_s).value();
  Input in(input);
  const bool is_request = in.number<char>() == 'r';
  const std::string pem(in.text());
  if (is_request) {
    auto certificate = issue_certificate(ca, pem, CertificateRole::kNode, "alpha", kNow_s);
    if (!certificate) return;
    auto facts = read_certificate(*certificate);
    require(facts && facts->common_name == "node:alpha" && !facts->is_ca, "the CA decides what it certifies");
  } else {
    static_cast<void>(read_certificate(pem));
    static_cast<void>(check_certificate(pem, ca.certificate_pem, ca.key_pem));
    static_cast<void>(check_certificate(ca.certificate_pem, pem, pem));
  }
}

}  // namespace polder::fuzz
