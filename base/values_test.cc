// SPDX-License-Identifier: GPL-3.0-or-later
// The plain values: Error, Result and its macros, Buffer, Gfid, Random.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <algorithm>
#include <set>
#include <vector>

#include "base/buffer.h"
#include "base/gfid.h"
#include "base/random.h"
#include "base/result.h"

namespace polder {
namespace {

Result<int> half(int number) {
  if (number % 2) return Error(EINVAL).with("half of {}", number);
  return number / 2;
}
Result<int> quarter(int number) {
  TRY(auto once, half(number));
  TRY(half(once).with("second step"));
  TRY(once, half(once));
  return once;
}

TEST(Result, TryBindsTheValueOrLeaves) {
  EXPECT_EQ(quarter(12).value(), 3);
  EXPECT_EQ(quarter(3).error().message(), "half of 3: Invalid argument");
  EXPECT_EQ(quarter(6).error().message(), "second step: half of 3: Invalid argument");
  EXPECT_TRUE(quarter(6).failed_with(EINVAL));
  EXPECT_FALSE(quarter(12).failed_with(EINVAL));
}

Result<std::unique_ptr<int>> boxed(int number) {
  TRY(auto value, half(number));
  return std::make_unique<int>(value);
}

TEST(Result, CarriesWhatCannotBeCopied) {
  auto box = boxed(4).with("box");
  ASSERT_TRUE(box);
  EXPECT_EQ(**box, 2);
}

TEST(Error, KeepsMaybeAppliedThroughContext) {
  Result<void> lost = Error(ECONNRESET).set_maybe_applied();
  auto named = std::move(lost).with("rename {}", "a").with("volume {}", "v");
  EXPECT_TRUE(named.error().maybe_applied());
  EXPECT_EQ(named.error().context(), "volume v: rename a");
  EXPECT_EQ(named.error().message(), "volume v: rename a: Connection reset by peer");
  EXPECT_FALSE(Error(EIO).maybe_applied());
  EXPECT_EQ(Error(ENOENT).message(), "No such file or directory");
  EXPECT_EQ(Error(99999).message(), "error 99999");
}

TEST(Buffer, SlicesShareTheStorage) {
  Buffer buffer = Buffer::copy_of("hello world");
  Buffer word = buffer.slice(6, 5);
  EXPECT_EQ(word.text(), "world");
  EXPECT_EQ(word.data(), buffer.data() + 6);
  EXPECT_EQ(word.slice(1, 3).text(), "orl");
  buffer = Buffer();
  EXPECT_EQ(word.text(), "world");
  word.truncate(2);
  EXPECT_EQ(word.text(), "wo");
  word.truncate(100);
  EXPECT_EQ(word.size(), 2U);
}

TEST(Buffer, MayBeEmpty) {
  EXPECT_TRUE(Buffer().empty());
  EXPECT_TRUE(Buffer::allocate(0).bytes().empty());
  EXPECT_EQ(Buffer::copy_of("").text(), "");
  EXPECT_TRUE(Buffer::copy_of("abc").slice(3, 0).empty());
  Buffer written = Buffer::allocate(3);
  std::ranges::copy(as_bytes("xyz"), written.writable().begin());
  EXPECT_EQ(written.text(), "xyz");
}

TEST(BufferDeathTest, ASliceBeyondTheEndEndsTheProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  Buffer buffer = Buffer::copy_of("abc");
  EXPECT_DEATH((void)buffer.slice(2, 2), "slice\\(2, 2\\) of 3 bytes");
  EXPECT_DEATH((void)buffer.slice(1, SIZE_MAX), "slice");
}

TEST(Gfid, TextRoundTrip) {
  auto random = make_seeded_random(1);
  Gfid gfid = Gfid::random(*random, 0xab01);
  EXPECT_EQ(gfid.slot(), 0xab01);
  EXPECT_EQ(gfid.hex().substr(0, 4), "ab01");
  EXPECT_EQ(Gfid::parse(gfid.hex()).value(), gfid);
  EXPECT_NE(Gfid::random(*random, 0xab01), gfid);
  EXPECT_EQ(Gfid::root().hex(), "00000000000000000000000000000001");
  EXPECT_EQ(Gfid::root().inode(), 1U);
  EXPECT_TRUE(Gfid().is_nil());
  EXPECT_NE(Gfid().inode(), 0U);
}

TEST(Gfid, OtherTextIsRefused) {
  for (std::string text : {"", "0", "0000000000000000000000000000000g", "0000000000000000000000000000000A",
                           "000000000000000000000000000000010", "../../../../../../../../../etc/pas"}) {
    auto parsed = Gfid::parse(text);
    ASSERT_TRUE(parsed.failed_with(EINVAL)) << text;
    EXPECT_THAT(parsed.error().message(), testing::HasSubstr("32 hex digits"));
  }
}

TEST(SeededRandom, IsTheSameEverywhere) {
  // xoshiro256** with its state from SplitMix64(0), as in the authors' code.
  auto random = make_seeded_random(0);
  EXPECT_EQ(random->next(), 0x99ec5f36cb75f2b4U);
  EXPECT_EQ(random->next(), 0xbf6e1f784956452aU);
  auto again = make_seeded_random(7);
  auto other = make_seeded_random(7);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(again->below(1000), other->below(1000));
}

TEST(Random, BelowIsInRangeAndReachesAll) {
  auto random = make_seeded_random(3);
  std::set<std::uint64_t> seen;
  for (int i = 0; i < 300; ++i) seen.insert(random->below(7));
  EXPECT_EQ(seen, (std::set<std::uint64_t>{0, 1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(random->below(1), 0U);
  EXPECT_LT(random->below((1ULL << 63) + 1), (1ULL << 63) + 1);
}

TEST(SystemRandom, FillsAnySize) {
  auto random = make_system_random();
  for (std::size_t size : {1UL, 16UL, 255UL, 256UL, 257UL, 5000UL}) {
    std::set<std::uint8_t> values;
    std::vector<std::uint8_t> bytes(size);
    std::vector<std::uint8_t> all(size);
    // A byte that is never written would stay 0 in all of 20 rounds.
    for (int round = 0; round < 20; ++round) {
      random->fill(bytes);
      for (std::size_t i = 0; i < size; ++i) all[i] |= bytes[i];
    }
    EXPECT_EQ(std::ranges::count(all, 0), 0) << size;
  }
  std::set<std::uint64_t> seen;
  for (int i = 0; i < 1000; ++i) seen.insert(random->next());
  EXPECT_EQ(seen.size(), 1000U);
}

}  // namespace
}  // namespace polder
