// SPDX-License-Identifier: GPL-3.0-or-later
#include "changelog/record/listed.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace polder {
namespace {

using testing::ElementsAre;

TEST(Listed, SaysAllNamesOnce) {
  std::vector<std::string> names;
  for (int i = 0; i < 20'000; ++i) names.push_back(fmt::format("name-{:05}", i));
  const auto records = listed_records(Gfid::root(), {names.rbegin(), names.rend()});
  EXPECT_GT(records.size(), 1U);
  std::vector<std::string> found;
  std::string last;
  for (const auto& record : records) {
    auto listed = listed_of(record).value();
    EXPECT_EQ(listed.after, last) << "the ranges follow one another";
    last = listed.upto;
    found.insert(found.end(), listed.names.begin(), listed.names.end());
  }
  EXPECT_EQ(last, "") << "up to the end of all names";
  EXPECT_EQ(found, names);
}

TEST(Listed, AnEmptyDirectoryHasNoneOfAllNames) {
  const auto records = listed_records(Gfid::root(), {});
  ASSERT_EQ(records.size(), 1U);
  auto listed = listed_of(records.front()).value();
  EXPECT_THAT(listed.names, ElementsAre());
  EXPECT_TRUE(listed.covers("a"));
}

TEST(Listed, WhatComesFromElsewhereIsChecked) {
  auto record = listed_records(Gfid::root(), {"a", "b"}).front();
  EXPECT_TRUE(listed_of(record));
  for (const std::string& bad :
       {std::string("a"), std::string("b\0a\0", 4), std::string("a\0a\0", 4), std::string("\0", 1),
        std::string("a/b\0", 4), std::string("..\0", 3), std::string(256, 'x') + '\0'}) {
    record.value = bad;
    EXPECT_TRUE(listed_of(record).failed_with(EINVAL)) << bad;
  }
  record.value = std::string("a\0", 2);
  record.key = "a";
  EXPECT_TRUE(listed_of(record).failed_with(EINVAL)) << "outside of the range";
  record.key = "";
  record.value.reset();
  EXPECT_TRUE(listed_of(record).failed_with(EINVAL));
}

}  // namespace
}  // namespace polder
