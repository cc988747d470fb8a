// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/layers/store/meta_cache.h"

#include <gtest/gtest.h>

namespace polder {
namespace {

Gfid gfid_of(std::uint64_t number) {
  Gfid gfid;
  __builtin_memcpy(gfid.bytes.data() + 8, &number, sizeof number);
  return gfid;
}

layout::Meta meta_of(std::uint64_t number, std::uint64_t ctime_ns = 1) {
  return {.gfid = gfid_of(number), .ctime_ns = ctime_ns};
}

TEST(MetaCache, KnowsWhatWasPut) {
  MetaCache cache;
  EXPECT_FALSE(cache.find(7));
  cache.put(cache.now(), 7, meta_of(1));
  ASSERT_TRUE(cache.find(7));
  EXPECT_EQ(cache.find(7)->gfid, gfid_of(1));
  EXPECT_FALSE(cache.find(8));
  EXPECT_FALSE(cache.find(0));  // who does not know the number
}

TEST(MetaCache, AChangeIsSeenAndAnEndForgets) {
  MetaCache cache;
  cache.put(cache.now(), 7, meta_of(1));
  cache.put(cache.now(), 8, meta_of(2));
  cache.changed(7, meta_of(1, 55));
  EXPECT_EQ(cache.find(7)->ctime_ns, 55u);
  cache.ended(gfid_of(1));
  EXPECT_FALSE(cache.find(7));
  EXPECT_TRUE(cache.find(8));
  cache.changed(9, meta_of(3));  // of an inode that nobody has looked at
  EXPECT_FALSE(cache.find(9));
}

TEST(MetaCache, ALookThatBeganBeforeAChangeDoesNotCount) {
  MetaCache cache;
  const auto began = cache.now();
  cache.changed(7, meta_of(1, 55));
  cache.put(began, 7, meta_of(1));
  EXPECT_FALSE(cache.find(7));
}

/// A record that is folded again makes a second inode of the object, and drops it when it finds the first.
TEST(MetaCache, AMetaThatWasSetInAnotherInodeIsNotTheFirstOnes) {
  for (ino_t inode : {ino_t{8}, ino_t{0}}) {
    MetaCache cache;
    cache.put(cache.now(), 7, meta_of(1));
    cache.changed(inode, meta_of(1, 55));
    EXPECT_FALSE(cache.find(7));
  }
}

TEST(MetaCache, AnInodeIsOneObjectsAndAnObjectOneInode) {
  MetaCache cache;
  cache.put(cache.now(), 7, meta_of(1));
  cache.put(cache.now(), 7, meta_of(2));
  EXPECT_EQ(cache.find(7)->gfid, gfid_of(2));
  cache.ended(gfid_of(1));
  EXPECT_TRUE(cache.find(7));
  cache.put(cache.now(), 9, meta_of(2));
  EXPECT_FALSE(cache.find(7));
  cache.ended(gfid_of(2));
  EXPECT_FALSE(cache.find(9));
}

TEST(MetaCache, StaysBoundedAndRightWhenItOverflows) {
  constexpr std::uint64_t kMany = 100'000;
  MetaCache cache;
  for (std::uint64_t i = 1; i <= kMany; ++i) cache.put(cache.now(), i, meta_of(i));
  std::uint64_t known = 0;
  for (std::uint64_t i = 1; i <= kMany; ++i) {
    auto found = cache.find(i);
    if (!found) continue;
    EXPECT_EQ(found->gfid, gfid_of(i));
    ++known;
  }
  EXPECT_GT(known, 2000u);
  EXPECT_LE(known, 8192u);
  // Whatever has pushed out what: an end always reaches what is left.
  for (std::uint64_t i = 1; i <= kMany; ++i) cache.ended(gfid_of(i));
  for (std::uint64_t i = 1; i <= kMany; ++i) EXPECT_FALSE(cache.find(i));
}

}  // namespace
}  // namespace polder
