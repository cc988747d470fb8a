// SPDX-License-Identifier: GPL-3.0-or-later
#include "georep/protocol/delta.h"

#include <gtest/gtest.h>

#include "base/random.h"
#include "georep/protocol/compress.h"

namespace polder::georep {
namespace {

ReadAt reader(const std::string& text) {
  return [&text](Bytes out, std::uint64_t offset) -> Result<std::size_t> {
    if (offset >= text.size()) return std::size_t{0};
    const auto count = std::min<std::size_t>(out.size(), text.size() - offset);
    std::memcpy(out.data(), text.data() + offset, count);
    return count;
  };
}
Sink appender(std::string& text) {
  return [&text](ConstBytes bytes) -> Result<void> {
    text += as_text(bytes);
    return {};
  };
}
std::string random_text(std::size_t size, std::uint64_t seed) {
  auto random = make_seeded_random(seed);
  std::string text(size, '\0');
  random->fill({reinterpret_cast<std::uint8_t*>(text.data()), text.size()});
  return text;
}

std::string rebuild(const std::string& basis, const std::string& content,
                    std::size_t* delta_bytes = nullptr) {
  auto signature = make_signature(reader(basis), basis.size());
  EXPECT_TRUE(signature) << signature.error().message();
  std::string delta, result;
  auto made = make_delta(as_bytes(*signature), reader(content), appender(delta));
  EXPECT_TRUE(made) << made.error().message();
  auto applied = apply_delta(reader(basis), reader(delta), appender(result));
  EXPECT_TRUE(applied) << applied.error().message();
  if (delta_bytes) *delta_bytes = delta.size();
  return result;
}

TEST(DeltaTest, RebuildsContentOfAnyRelation) {
  const auto basis = random_text(3'000'000, 1);
  for (const auto& content :
       {basis, std::string(), std::string("short"), random_text(700'001, 2), basis.substr(1) + "tail",
        basis.substr(0, 1'000'000) + "inserted" + basis.substr(1'000'000)}) {
    EXPECT_TRUE(rebuild(basis, content) == content) << content.size();
  }
  EXPECT_EQ(rebuild("", "from nothing"), "from nothing");
}

TEST(DeltaTest, ASmallChangeMakesASmallDelta) {
  const auto basis = random_text(8'000'000, 3);
  auto content = basis;
  content.replace(4'000'000, 4096, random_text(4096, 4));
  std::size_t delta_bytes = 0;
  EXPECT_TRUE(rebuild(basis, content, &delta_bytes) == content);
  EXPECT_LT(delta_bytes, 40'000u);
}

TEST(DeltaTest, HostileInputIsAnErrorNotACrash) {
  const auto basis = random_text(100'000, 5);
  auto signature = make_signature(reader(basis), basis.size());
  ASSERT_TRUE(signature);
  std::string delta;
  ASSERT_TRUE(make_delta(as_bytes(*signature), reader(basis), appender(delta)));
  std::string ignored;
  EXPECT_TRUE(make_delta(as_bytes("no signature"), reader(basis), appender(ignored)).failed_with(EPROTO));
  EXPECT_TRUE(apply_delta(reader(basis), reader("no delta"), appender(ignored)).failed_with(EPROTO));
  const std::string cut_short = delta.substr(0, delta.size() / 2);
  EXPECT_FALSE(apply_delta(reader(basis), reader(cut_short), appender(ignored)));
}

std::string big_endian(std::uint32_t value) {
  value = __builtin_bswap32(value);
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

std::string signature_of(std::uint32_t magic, std::uint32_t block_bytes, std::uint32_t strong_bytes) {
  return big_endian(magic) + big_endian(block_bytes) + big_endian(strong_bytes);
}

/// A block of gigabytes would be held in memory; a tiny one makes a delta larger than the content.
TEST(DeltaTest, ASignatureWithBlocksOfAnySizeIsRefused) {
  constexpr std::uint32_t kMagic = 0x72730147;
  const auto content = random_text(10'000, 8);
  std::string ignored;
  EXPECT_TRUE(make_delta(as_bytes(signature_of(kMagic, 2048, 8)), reader(content), appender(ignored)));
  for (const auto& header :
       {signature_of(kMagic, 0, 8), signature_of(kMagic, 1, 8), signature_of(kMagic, 1u << 31, 8),
        signature_of(kMagic, 2048, 0), signature_of(kMagic, 2048, 33), signature_of(0x72730136, 2048, 8),
        signature_of(kMagic, 2048, 8).substr(1)}) {
    EXPECT_TRUE(make_delta(as_bytes(header), reader(content), appender(ignored)).failed_with(EPROTO));
  }
}

/// Blocks of zeros are all the same; blocks that only look the same cost a comparison each, at every byte.
TEST(DeltaTest, ASignatureOfManyBlocksThatLookTheSameIsRefused) {
  auto same = signature_of(0x72730147, 2048, 8), alike = same;
  for (std::uint32_t i = 0; i < 500'000; ++i) {
    same += std::string(12, '\0');
    alike += std::string(8, '\0') + big_endian(i);
  }
  const auto content = random_text(10'000, 9);
  std::string ignored;
  EXPECT_TRUE(make_delta(as_bytes(same), reader(content), appender(ignored)));
  EXPECT_TRUE(make_delta(as_bytes(alike), reader(content), appender(ignored)).failed_with(EPROTO));
}

TEST(DeltaTest, AnErrorOfTheBasisIsReportedAsItself) {
  const auto basis = random_text(100'000, 6);
  auto signature = make_signature(reader(basis), basis.size());
  std::string delta, ignored;
  ASSERT_TRUE(make_delta(as_bytes(*signature), reader(basis), appender(delta)));
  ReadAt broken = [](Bytes, std::uint64_t) -> Result<std::size_t> { return Error(EIO); };
  EXPECT_TRUE(apply_delta(broken, reader(delta), appender(ignored)).failed_with(EIO));
}

TEST(CompressTest, RoundTripAndRefusals) {
  const std::string text(100'000, 'x');
  auto packed = compress(as_bytes(text));
  ASSERT_TRUE(packed);
  EXPECT_LT(packed->size(), 1000u);
  EXPECT_EQ(decompress(packed->bytes(), text.size())->text(), text);
  EXPECT_TRUE(decompress(packed->bytes(), text.size() - 1).failed_with(EPROTO));
  EXPECT_TRUE(decompress(as_bytes("rubbish"), 7).failed_with(EPROTO));
  EXPECT_FALSE(compress(as_bytes(random_text(10'000, 7))));
}

}  // namespace
}  // namespace polder::georep
