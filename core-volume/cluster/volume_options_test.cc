// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/cluster/volume_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core-volume/cluster/nearest.h"
#include "core-volume/cluster/units.h"

namespace polder {
namespace {

using testing::HasSubstr;

TEST(Units, SizesAreReadWithTheirUnits) {
  EXPECT_EQ(parse_size("0").value(), 0U);
  EXPECT_EQ(parse_size("4096").value(), 4096U);
  EXPECT_EQ(parse_size("64KiB").value(), 64U << 10);
  EXPECT_EQ(parse_size("1.5 GiB").value(), 3ull << 29);
  EXPECT_EQ(parse_size("10MB").value(), 10'000'000U);
  EXPECT_EQ(parse_size("2g").value(), 2ull << 30);
  for (const auto* bad :
       {"", "-1", "GiB", "1 2", "1.2.3", "0x10", "1e3", "12 parsecs", "1GiB ", "0.3B", "nan"}) {
    EXPECT_TRUE(parse_size(bad).failed_with(EINVAL)) << bad;
  }
  EXPECT_TRUE(parse_size("9999999TiB").failed_with(ERANGE));
}

TEST(Units, TimesAreReadWithTheirUnits) {
  using namespace std::chrono_literals;
  EXPECT_EQ(parse_duration("60").value(), 60s);
  EXPECT_EQ(parse_duration("500ms").value(), 500ms);
  EXPECT_EQ(parse_duration("1h30m").value(), 90min);
  EXPECT_EQ(parse_duration("7d").value(), 168h);
  EXPECT_EQ(parse_duration("1.001s").value(), 1001ms);
  EXPECT_EQ(parse_duration("4.35ms").value(), 4350us);
  for (const auto* bad : {"", "s", "-5s", "5 s", "1h30", "5y", "1s2", "..s"}) {
    EXPECT_TRUE(parse_duration(bad).failed_with(EINVAL)) << bad;
  }
  EXPECT_TRUE(parse_duration("999999999d").failed_with(ERANGE));
}

TEST(Units, WhatIsWrittenReadsBack) {
  for (std::uint64_t bytes :
       {0ull, 1ull, 1000ull, 1024ull, 64ull << 20, 3ull << 29, 1ull << 40, (1ull << 40) + 1}) {
    EXPECT_EQ(parse_size(format_size(bytes)).value(), bytes);
  }
  for (auto text : {"0s", "1ms", "60s", "90m", "7d"}) {
    auto duration = parse_duration(text).value();
    EXPECT_EQ(parse_duration(format_duration(duration)).value(), duration);
  }
  EXPECT_EQ(format_size(64u << 20), "64MiB");
  EXPECT_EQ(format_size_rounded(3ull << 29), "1.5 GiB");
  EXPECT_EQ(format_time(1'700'000'000'000'000'000), "2023-11-14T22:13:20Z");
}

TEST(VolumeOptions, DefaultsAreNormalAndWithinTheirBounds) {
  for (const auto& option : volume_options()) {
    auto normal = normalize_option(option.name, option.default_value);
    ASSERT_TRUE(normal) << normal.error().message();
    EXPECT_EQ(normalize_option(option.name, *normal).value(), *normal);
    EXPECT_FALSE(option.help.empty());
  }
}

TEST(VolumeOptions, ValuesAreCheckedAndGetOneText) {
  EXPECT_EQ(normalize_option("changelog.segment-size", "65536K").value(), "64MiB");
  EXPECT_EQ(normalize_option("network.session-timeout", "120").value(), "2m");
  for (auto text : {"60.0004s", "60000.3ms", "1.0000001m"})
    EXPECT_EQ(normalize_option("network.session-timeout", text).value(), "1m") << text;
  auto small = normalize_option("changelog.segment-size", "1");
  ASSERT_TRUE(small.failed_with(ERANGE));
  EXPECT_THAT(small.error().message(), HasSubstr("64KiB to 1GiB"));
  EXPECT_TRUE(normalize_option("changelog.segment-size", "big").failed_with(EINVAL));
}

TEST(VolumeOptions, AnUnknownNameGetsTheNearest) {
  auto near = find_volume_option("changelog.segmentsize");
  ASSERT_TRUE(near.failed_with(EINVAL));
  EXPECT_THAT(near.error().message(), HasSubstr("did you mean changelog.segment-size?"));
  EXPECT_THAT(find_volume_option("retention-size").error().message(), HasSubstr("changelog.retention-size"));
  EXPECT_THAT(find_volume_option("performance.cache-refresh").error().message(), HasSubstr("set help"));
}

TEST(VolumeOptions, WhatIsSetWinsOverTheDefault) {
  OptionMap set;
  EXPECT_EQ(option_size(set, "changelog.segment-size"), 64u << 20);
  EXPECT_EQ(option_time(set, "network.session-timeout"), std::chrono::seconds(60));
  set["changelog.segment-size"] = "8MiB";
  EXPECT_EQ(option_size(set, "changelog.segment-size"), 8u << 20);
  set["changelog.segment-size"] = "nonsense";  // a store edited by hand
  EXPECT_EQ(option_size(set, "changelog.segment-size"), 64u << 20);
}

}  // namespace
}  // namespace polder
