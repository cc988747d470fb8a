// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/client/cache/nodes.h"

#include <gtest/gtest.h>

namespace polder {
namespace {

using State = CachedName::State;

Gfid gfid(std::uint8_t number) {
  return Gfid{{1, number}};
}
constexpr CachedName kAbsent{.state = State::kAbsent, .gfid = {}};
constexpr CachedName kUnknown{};

TEST(NodesTest, TheLeastRecentlyUsedIsForgotten) {
  Nodes nodes({.nodes_max = 3, .names_max = 10});
  for (std::uint8_t i = 1; i <= 3; ++i) nodes.find_or_make(gfid(i), i);
  nodes.find(gfid(1));
  nodes.find_or_make(gfid(4), 4);
  EXPECT_EQ(nodes.size(), 3u);
  EXPECT_EQ(nodes.find(gfid(2)), nullptr);
  EXPECT_NE(nodes.find(gfid(1)), nullptr);
}

TEST(NodesTest, TooManyNamesCostOtherDirectoriesThenTheirOwn) {
  Nodes nodes({.nodes_max = 10, .names_max = 3});
  nodes.set_name(nodes.find_or_make(gfid(1), 1), "a", kAbsent);
  for (auto name : {"a", "b", "c"}) nodes.set_name(nodes.find_or_make(gfid(2), 2), name, kAbsent);
  EXPECT_EQ(nodes.find(gfid(1)), nullptr);
  EXPECT_EQ(nodes.names(), 3u);
  nodes.set_name(*nodes.find(gfid(2)), "d", kAbsent);
  EXPECT_EQ(nodes.find(gfid(2)), nullptr);
  EXPECT_EQ(nodes.names(), 0u);
}

TEST(NodesTest, AnUnknownNameIsKeptOnlyWhereItMattersThatItIsUnknown) {
  Nodes nodes({});
  auto& directory = nodes.find_or_make(gfid(1), 1);
  nodes.set_name(directory, "a", kAbsent);
  nodes.set_name(directory, "a", kUnknown);
  EXPECT_EQ(directory.name("a"), nullptr);
  EXPECT_EQ(nodes.names(), 0u);
  directory.complete = true;
  nodes.set_name(directory, "a", kUnknown);
  ASSERT_NE(directory.name("a"), nullptr);
  EXPECT_EQ(directory.name("a")->state, State::kUnknown);
}

TEST(NodesTest, AllAttributesAreDoubtedAtOnce) {
  Nodes nodes({});
  FileAttr attr;
  attr.size = 7;
  nodes.set_attributes(nodes.find_or_make(gfid(1), 1), attr);
  ASSERT_NE(nodes.attributes(gfid(1)), nullptr);
  nodes.doubt_all_attributes();
  EXPECT_EQ(nodes.attributes(gfid(1)), nullptr);
  nodes.set_attributes(*nodes.find(gfid(1)), attr);
  EXPECT_EQ(nodes.attributes(gfid(1))->size, 7u);
  EXPECT_EQ(nodes.attributes(gfid(2)), nullptr);
}

}  // namespace
}  // namespace polder
