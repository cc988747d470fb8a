// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/client/fuse/inode_table.h"

#include <gtest/gtest.h>

#include <set>

namespace polder {
namespace {

Gfid gfid_of(std::uint8_t n) {
  Gfid gfid;
  gfid.bytes[0] = 7;
  gfid.bytes[15] = n;
  return gfid;
}

TEST(InodeTable, root_is_always_known_and_never_counted) {
  InodeTable table(Gfid::root());
  EXPECT_EQ(table.node_of(Gfid::root()), kRootNode);
  EXPECT_EQ(table.remember(Gfid::root()), kRootNode);
  table.forget(kRootNode, 5);
  ASSERT_NE(table.find(kRootNode), nullptr);
  EXPECT_EQ(table.size(), 0u);
  EXPECT_EQ(table.lookups(), 0u);
}

TEST(InodeTable, an_object_has_one_node_until_all_its_lookups_are_taken_back) {
  InodeTable table(Gfid::root());
  const NodeId node = table.remember(gfid_of(2));
  EXPECT_EQ(table.remember(gfid_of(2)), node);
  EXPECT_EQ(table.lookups(), 2u);
  table.forget(node, 1);
  ASSERT_NE(table.find(node), nullptr);
  EXPECT_EQ(table.find(node)->gfid, gfid_of(2));
  table.forget(node, 1);
  EXPECT_EQ(table.find(node), nullptr);
  EXPECT_EQ(table.node_of(gfid_of(2)), 0u);
  EXPECT_EQ(table.size(), 0u);
}

TEST(InodeTable, a_used_index_comes_back_as_another_node) {
  InodeTable table(Gfid::root());
  const NodeId first = table.remember(gfid_of(2));
  table.find(first)->open_files = 3;
  table.forget(first, 1);
  const NodeId second = table.remember(gfid_of(3));
  EXPECT_EQ(static_cast<std::uint32_t>(first), static_cast<std::uint32_t>(second));
  EXPECT_NE(first, second);
  EXPECT_EQ(table.find(first), nullptr);
  EXPECT_EQ(table.find(second)->open_files, 0u) << "state of the former use leaked";
}

TEST(InodeTable, a_table_that_shrank_gives_no_node_twice) {
  InodeTable table(Gfid::root());
  std::set<NodeId> given;
  for (int round = 0; round < 3; ++round) {
    for (std::uint8_t n = 2; n < 50; ++n) EXPECT_TRUE(given.insert(table.remember(gfid_of(n))).second);
    const NodeId kept = table.node_of(gfid_of(20));
    for (NodeId node : table.all())
      if (node != kept) table.forget(node, 1);
    table.shrink();
    ASSERT_NE(table.find(kept), nullptr);
    EXPECT_EQ(table.find(kept)->gfid, gfid_of(20));
    for (NodeId node : given)
      if (node != kept && node != kRootNode) EXPECT_EQ(table.find(node), nullptr);
    table.forget(kept, 1);
    table.shrink();
  }
}

TEST(InodeTable, too_many_forgets_and_unknown_nodes_do_no_harm) {
  InodeTable table(Gfid::root());
  const NodeId node = table.remember(gfid_of(2));
  table.forget(node, 100);
  table.forget(node, 1);
  table.forget(0, 1);
  table.forget(12345, 1);
  EXPECT_EQ(table.lookups(), 0u);
  EXPECT_EQ(table.find(0), nullptr);
  EXPECT_EQ(table.find(UINT64_MAX), nullptr);
}

TEST(InodeTable, a_retired_directory_is_told_under_another_node) {
  InodeTable table(Gfid::root());
  const NodeId node = table.remember(gfid_of(2));
  table.place(node, kRootNode, "d");
  EXPECT_EQ(table.directory_at(kRootNode, "d"), node);
  table.retire(table.directory_at(kRootNode, "d"));
  EXPECT_EQ(table.directory_at(kRootNode, "d"), 0u);
  const NodeId again = table.remember(gfid_of(2));
  EXPECT_NE(again, node);
  ASSERT_NE(table.find(node), nullptr) << "the kernel still has it open, perhaps";
  EXPECT_EQ(table.find(node)->gfid, gfid_of(2));
  table.forget(node, 1);
  EXPECT_EQ(table.node_of(gfid_of(2)), again) << "the former node's end is not the object's";
  table.forget(again, 1);
  EXPECT_EQ(table.size(), 0u);
  EXPECT_EQ(table.lookups(), 0u);
}

TEST(InodeTable, directories_are_where_the_kernel_has_moved_them) {
  InodeTable table(Gfid::root());
  const NodeId first = table.remember(gfid_of(2)), second = table.remember(gfid_of(3));
  table.place(first, kRootNode, "a");
  table.place(second, first, "b");
  table.moved(kRootNode, "a", first, "b", true);
  EXPECT_EQ(table.directory_at(kRootNode, "a"), second);
  EXPECT_EQ(table.directory_at(first, "b"), first);
  table.moved(first, "b", kRootNode, "a", false);
  EXPECT_EQ(table.directory_at(kRootNode, "a"), first);
  EXPECT_EQ(table.directory_at(first, "b"), 0u);
  table.moved(kRootNode, "file", kRootNode, "a", false);
  EXPECT_EQ(table.directory_at(kRootNode, "a"), 0u) << "a file is there now";
  table.place(first, kRootNode, "x");
  table.place(first, kRootNode, "y");
  EXPECT_EQ(table.directory_at(kRootNode, "x"), 0u);
  table.forget(first, 1);
  EXPECT_EQ(table.directory_at(kRootNode, "y"), 0u);
}

TEST(InodeTable, all_lists_the_root_and_every_known_object) {
  InodeTable table(Gfid::root());
  for (std::uint8_t n = 2; n < 10; ++n) table.remember(gfid_of(n));
  table.forget(table.node_of(gfid_of(4)), 1);
  EXPECT_EQ(table.all().size(), 8u);
  for (NodeId node : table.all()) EXPECT_NE(table.find(node), nullptr);
}

}  // namespace
}  // namespace polder
