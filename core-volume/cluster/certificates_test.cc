// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/cluster/certificates.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace polder {
namespace {

constexpr std::int64_t kNow_s = 1'700'000'000;

TEST(Certificates, ARequestBecomesACertificateOfItsRole) {
  auto ca = make_ca("east", kNow_s).value();
  auto request = make_certificate_request().value();
  auto pem = issue_certificate(ca, request.request_pem, CertificateRole::kClient, "web1", kNow_s).value();
  auto facts = read_certificate(pem).value();
  EXPECT_EQ(facts.common_name, "client:web1");
  EXPECT_FALSE(facts.is_ca);
  EXPECT_LT(facts.not_before_s, kNow_s);
  EXPECT_EQ(facts.not_after_s, kNow_s + 825 * 86'400);
  EXPECT_TRUE(check_certificate(pem, ca.certificate_pem, request.key_pem));
  EXPECT_TRUE(read_certificate(ca.certificate_pem)->is_ca);
}

TEST(Certificates, AnotherCaOrKeyDoesNotFit) {
  auto ca = make_ca("east", kNow_s).value();
  auto other = make_ca("east", kNow_s).value();
  auto request = make_certificate_request().value();
  auto pem = issue_certificate(ca, request.request_pem, CertificateRole::kNode, "a", kNow_s).value();
  EXPECT_TRUE(check_certificate(pem, other.certificate_pem, request.key_pem).failed_with(EACCES));
  EXPECT_TRUE(check_certificate(pem, ca.certificate_pem, other.key_pem).failed_with(EINVAL));
  EXPECT_NE(read_certificate(ca.certificate_pem)->fingerprint,
            read_certificate(other.certificate_pem)->fingerprint);
}

TEST(Certificates, HostileRequestsAreRefused) {
  auto ca = make_ca("east", kNow_s).value();
  auto issue = [&](const std::string& request, const std::string& name = "x") {
    return issue_certificate(ca, request, CertificateRole::kClient, name, kNow_s);
  };
  auto good = make_certificate_request().value().request_pem;
  EXPECT_TRUE(issue("").failed_with(EINVAL));
  EXPECT_TRUE(issue("-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n")
                  .failed_with(EINVAL));
  EXPECT_TRUE(issue(ca.certificate_pem).failed_with(EINVAL));
  EXPECT_TRUE(issue(std::string(1u << 20, 'A')).failed_with(EINVAL));
  for (const auto* name : {"", "a:b", "../x", "a b", "-x", "a\n"}) {
    EXPECT_TRUE(issue(good, name).failed_with(EINVAL)) << name;
  }
  // One flipped character anywhere in the signed part.
  for (std::size_t at = 60; at < good.size() - 40; at += 7) {
    auto bad = good;
    if (bad[at] == '\n') continue;
    bad[at] = bad[at] == 'A' ? 'B' : 'A';
    EXPECT_FALSE(issue(bad)) << at;
  }
}

TEST(Certificates, CommonNamesAreRoleAndName) {
  auto parsed = parse_common_name("georep:east-to-west").value();
  EXPECT_EQ(parsed.role, CertificateRole::kGeorep);
  EXPECT_EQ(parsed.name, "east-to-west");
  for (const auto* text : {"", ":", "node", "node:", "root:x", "node:a/b", "NODE:a", "node:a:b"}) {
    EXPECT_TRUE(parse_common_name(text).failed_with(EINVAL)) << text;
  }
}

}  // namespace
}  // namespace polder
