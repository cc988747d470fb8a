// SPDX-License-Identifier: GPL-3.0-or-later
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/transport.h"

namespace polder {
namespace {

TEST(Endpoint, TextRoundTrip) {
  for (std::string text : {"alpha:1", "alpha.example-1.org:65535", "10.0.0.1:24117", "[fd00::1]:7",
                           "[fe80::1%eth0]:7", "unix:/run/polder/east/data.sock"}) {
    auto parsed = Endpoint::parse(text);
    ASSERT_TRUE(parsed) << parsed.error().message();
    EXPECT_EQ(parsed->text(), text);
  }
  EXPECT_EQ(Endpoint::parse("alpha")->text(), "alpha:24117");
  EXPECT_EQ(Endpoint::parse("[::1]").value(), (Endpoint{Endpoint::Kind::kTls, "::1", 24117}));
}

TEST(Endpoint, MistakesAreNamed) {
  const std::pair<std::string, std::string> cases[] = {
      {"", "HOST:PORT"},          {":7", "HOST:PORT"},         {"alpha:", "not a port"},
      {"alpha:70000", "65535"},   {"alpha:7x", "not a port"},  {"alpha:-1", "not a port"},
      {"fd00::1", "in brackets"}, {"[fd00::1", "in brackets"}, {"[alpha]:7", "IPv6 address"},
      {"[::1]7", "':PORT'"},      {"unix:run/x", "absolute"},  {"unix:", "absolute"},
      {"unix", "HOST:PORT"},      {"al pha:7", "HOST:PORT"},   {"-oProxy:7", "HOST:PORT"},
      {"a/b:7", "HOST:PORT"},     {"a\nb:7", "HOST:PORT"},     {std::string("a\0b", 3), "HOST:PORT"},
  };
  for (const auto& [text, why] : cases) {
    auto parsed = Endpoint::parse(text);
    ASSERT_TRUE(parsed.failed_with(EINVAL)) << text;
    EXPECT_THAT(parsed.error().message(), testing::HasSubstr(why)) << text;
  }
}

}  // namespace
}  // namespace polder
