// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/cluster/tokens.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core-volume/cluster/cluster_test_support.h"
#include "core-volume/cluster/json_fields.h"

namespace polder {
namespace {

using testing::HasSubstr;

struct TokensTest : testing::Test {
  ClusterWorld world;
  std::unique_ptr<ClusterStore> store = world.open_store();

  TokenRequest request() {
    return {.role = TokenRole::kSite,
            .volume = "data",
            .addresses = {"10.0.0.1:24117", "[fd00::1]:24117"},
            .ca_fingerprint = std::string(64, 'a')};
  }
  JoinToken create(TokenRequest request) {
    return world.run(create_token(world.seams, *store, std::move(request))).value();
  }
  Result<TokenGrant> redeem(const std::string& secret) {
    return world.run(redeem_token(world.seams, *store, secret));
  }
};

TEST_F(TokensTest, TheTextSaysAll) {
  auto token = create(request());
  auto text = token.text();
  EXPECT_TRUE(text.starts_with("polder1-"));
  auto parsed = JoinToken::parse("  " + text + "\n").value();
  EXPECT_EQ(parsed.role, TokenRole::kSite);
  EXPECT_EQ(parsed.volume, "data");
  EXPECT_EQ(parsed.addresses, token.addresses);
  EXPECT_EQ(parsed.ca_fingerprint, token.ca_fingerprint);
  EXPECT_EQ(parsed.secret, token.secret);
  EXPECT_EQ(parsed.expires_s, token.expires_s);
}

TEST_F(TokensTest, AnExpiryThatIsNoTimeIsRefused) {
  auto token = create(request());
  token.expires_s = INT64_MAX;
  EXPECT_TRUE(JoinToken::parse(token.text()).failed_with(EINVAL));
  token.expires_s = -1;
  EXPECT_TRUE(JoinToken::parse(token.text()).failed_with(EINVAL));
}

TEST_F(TokensTest, ATokenWorksOnce) {
  auto token = create(request());
  auto grant = redeem(token.secret);
  ASSERT_TRUE(grant) << grant.error().message();
  EXPECT_EQ(grant->role, TokenRole::kSite);
  EXPECT_EQ(grant->volume, "data");
  auto again = redeem(token.secret);
  ASSERT_TRUE(again.failed_with(EACCES));
  EXPECT_THAT(again.error().message(), HasSubstr("used already"));
}

TEST_F(TokensTest, ATokenExpires) {
  auto wanted = request();
  wanted.ttl = std::chrono::seconds(60);
  auto token = create(wanted);
  world.loop.run_for(std::chrono::seconds(61));
  auto late = redeem(token.secret);
  ASSERT_TRUE(late.failed_with(EACCES));
  EXPECT_THAT(late.error().message(), HasSubstr("expired"));
}

TEST_F(TokensTest, UnknownSecretsAndSillyLifetimesAreRefused) {
  create(request());
  EXPECT_TRUE(redeem("guess").failed_with(EACCES));
  EXPECT_TRUE(redeem("").failed_with(EACCES));
  for (auto ttl :
       {std::chrono::seconds(0), std::chrono::seconds(-5), kTokenTtlMax + std::chrono::seconds(1)}) {
    auto wanted = request();
    wanted.ttl = ttl;
    EXPECT_TRUE(world.run(create_token(world.seams, *store, wanted)).failed_with(EINVAL));
  }
}

TEST_F(TokensTest, TheSecretIsNotInTheStore) {
  auto token = create(request());
  auto entries = world.run(store->list("")).value();
  ASSERT_FALSE(entries.empty());
  for (const auto& entry : entries) {
    EXPECT_THAT(entry.key, testing::Not(HasSubstr(token.secret)));
    EXPECT_THAT(entry.value, testing::Not(HasSubstr(token.secret)));
  }
}

TEST_F(TokensTest, OldTokensAreForgotten) {
  create(request());
  world.loop.run_for(std::chrono::hours(48));
  create(request());
  EXPECT_EQ(world.run(store->list("token/")).value().size(), 1U);
}

TEST_F(TokensTest, HostileTextsAreRefused) {
  auto text = create(request()).text();
  auto with = [](const json::object& fields) { return "polder1-" + encode_base64url(json::text(fields)); };
  for (const auto& bad :
       {std::string(), std::string("polder1-"), std::string("polder2-AAAA"), text.substr(0, 40), text + "=",
        text + "A", "polder1-" + std::string(100'000, 'A'), with({}), with({{"role", "root"}}),
        with({{"role", 7}}), std::string("polder1-\0A", 10)}) {
    auto parsed = JoinToken::parse(bad);
    ASSERT_TRUE(parsed.failed_with(EINVAL)) << bad.substr(0, 60);
    EXPECT_THAT(parsed.error().message(), HasSubstr("not a join token"));
  }
  auto fields = json::parse(decode_base64url(text.substr(8)).value())->get_object();
  for (const auto* name : {"ca", "secret", "addresses", "expires", "role"}) {
    auto missing = fields;
    missing.erase(name);
    EXPECT_FALSE(JoinToken::parse(with(missing))) << name;
    missing[name] = "x";
    EXPECT_FALSE(JoinToken::parse(with(missing))) << name;
  }
  fields["volume"] = "../../etc";
  EXPECT_FALSE(JoinToken::parse(with(fields)));
}

TEST(Base64Url, RoundTripsAndHasOneTextPerValue) {
  for (std::size_t size = 0; size < 40; ++size) {
    std::string bytes;
    for (std::size_t i = 0; i < size; ++i) bytes += static_cast<char>(i * 37 + size);
    EXPECT_EQ(decode_base64url(encode_base64url(bytes)).value(), bytes);
  }
  EXPECT_FALSE(decode_base64url("A"));
  EXPECT_FALSE(decode_base64url("AB"));  // the last bits are not zero
  EXPECT_FALSE(decode_base64url("A+=="));
}

}  // namespace
}  // namespace polder
