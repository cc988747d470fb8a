// SPDX-License-Identifier: GPL-3.0-or-later
#include "changelog/record/codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/crc32c.h"
#include "base/random.h"

namespace polder {
namespace {

constexpr RecordKind kKinds[] = {RecordKind::kWrite,    RecordKind::kTruncate, RecordKind::kFallocate,
                                 RecordKind::kPunch,    RecordKind::kZero,     RecordKind::kCreate,
                                 RecordKind::kLink,     RecordKind::kUnlink,   RecordKind::kRename,
                                 RecordKind::kSetattr,  RecordKind::kXattr,    RecordKind::kMark,
                                 RecordKind::kRestored, RecordKind::kClosed,   RecordKind::kApplied,
                                 RecordKind::kRemoved,  RecordKind::kMeta};

Gfid gfid(std::uint8_t n) {
  Gfid g;
  g.bytes[0] = 0xab;
  g.bytes[15] = n;
  return g;
}

/// Every field that the kind may use is set, with awkward values.
Record sample(RecordKind kind) {
  Record r;
  r.index = (5ull << 32) + 7;
  r.hlc.ns = 1'700'000'000'000'000'001;
  r.time_ns = r.hlc.ns;
  r.session = 0xfffffffe;
  r.sequence = (1ull << 48) - 2;
  r.kind = kind;
  r.gfid = gfid(1);
  r.offset = 1ull << 62;
  r.length = 4096;
  if (kind == RecordKind::kWrite) return r;
  r.last_link = r.exchange = r.keep_size = true;
  r.time_ns = 5;
  r.name = {gfid(2), std::string("not utf-8 \xff\xfe\0x", 13)};
  r.to = {gfid(3), std::string(255, 'n')};
  r.displaced = gfid(4);
  r.state = {.mode = S_IFLNK | 07777,
             .uid = 0xfffffffe,
             .gid = 3,
             .rdev_major = 4,
             .rdev_minor = 5,
             .atime = {-1, 999'999'999},
             .mtime = {-62'135'596'800, 0},
             .target = "../x",
             .xattrs = {{"user.a", std::string("\0b", 2)}, {"system.posix_acl_access", ""}}};
  r.key = "user.key";
  r.value = "";
  r.text = "mark";
  return r;
}

bool same_state(const ObjectState& a, const ObjectState& b) {
  auto time = [](const timespec& t) { return std::pair(t.tv_sec, t.tv_nsec); };
  return a.mode == b.mode && a.uid == b.uid && a.gid == b.gid && a.rdev_major == b.rdev_major &&
         a.rdev_minor == b.rdev_minor && time(a.atime) == time(b.atime) && time(a.mtime) == time(b.mtime) &&
         a.target == b.target && a.xattrs == b.xattrs;
}

void expect_same(const Record& a, const Record& b) {
  EXPECT_EQ(a.index, b.index);
  EXPECT_EQ(a.hlc, b.hlc);
  EXPECT_EQ(a.session, b.session);
  EXPECT_EQ(a.sequence, b.sequence);
  EXPECT_EQ(a.kind, b.kind);
  EXPECT_EQ(std::tie(a.last_link, a.exchange, a.keep_size), std::tie(b.last_link, b.exchange, b.keep_size));
  EXPECT_EQ(a.time_ns, b.time_ns);
  EXPECT_EQ(a.gfid, b.gfid);
  EXPECT_EQ(a.offset, b.offset);
  EXPECT_EQ(a.length, b.length);
  EXPECT_EQ(a.data.text(), b.data.text());
  EXPECT_EQ(a.name, b.name);
  EXPECT_EQ(a.to, b.to);
  EXPECT_EQ(a.displaced, b.displaced);
  EXPECT_TRUE(same_state(a.state, b.state));
  EXPECT_EQ(a.key, b.key);
  EXPECT_EQ(a.value, b.value);
  EXPECT_EQ(a.text, b.text);
}

Buffer flat(const EncodedRecord& encoded) {
  std::string bytes;
  encoded.append_to(bytes);
  EXPECT_EQ(bytes.size(), encoded.size());
  return Buffer::copy_of(bytes);
}

Buffer segment_bytes(const Record& record) {
  auto encoded = encode_record(record, record.index - 3);
  EXPECT_TRUE(encoded) << encoded.error().message();
  return flat(*encoded);
}

/// `change` edits the bytes; the checksum is then made right again, as an attacker would.
Result<Record> decode_edited(const Record& record, const std::function<void(std::string&)>& change) {
  std::string bytes(segment_bytes(record).text());
  change(bytes);
  auto crc = crc32c(0, as_bytes(bytes).subspan(4));
  std::memcpy(bytes.data(), &crc, 4);
  return decode_record(Buffer::copy_of(bytes), record.index - 3);
}

TEST(Codec, EveryKindComesBackFromASegment) {
  for (RecordKind kind : kKinds) {
    SCOPED_TRACE(to_string(kind));
    Record record = sample(kind);
    auto back = decode_record(segment_bytes(record), record.index - 3);
    ASSERT_TRUE(back) << back.error().message();
    expect_same(record, *back);
  }
}

TEST(Codec, EveryKindComesBackFromMessagesInOneBuffer) {
  std::string all;
  for (RecordKind kind : kKinds) ASSERT_TRUE(append_record_message(all, sample(kind)));
  Buffer bytes = Buffer::copy_of(all);
  std::size_t offset = 0;
  for (RecordKind kind : kKinds) {
    auto back = decode_record_message(bytes, offset);
    ASSERT_TRUE(back) << back.error().message();
    expect_same(sample(kind), *back);
  }
  EXPECT_EQ(offset, bytes.size());
  EXPECT_TRUE(decode_record_message(bytes, offset).failed_with(EPROTO));
}

TEST(Codec, APlainWriteIsTheHeaderAlone) {
  Record record = sample(RecordKind::kWrite);
  EXPECT_EQ(segment_bytes(record).size(), 64u);
  record.time_ns = 1;
  EXPECT_EQ(segment_bytes(record).size(), 72u);
}

// The bytes are a promise to other programs: a change here is a new format version.
TEST(Codec, TheHeaderIsLaidOutAsDocumented) {
  Record r;
  r.index = 0x1112;
  r.session = 0x21222324;
  r.sequence = 0x313233343536;
  r.kind = RecordKind::kPunch;
  r.keep_size = true;
  r.hlc.ns = r.time_ns = 0x4142434445464748;
  for (std::uint8_t i = 0; i < 16; ++i) r.gfid.bytes[i] = static_cast<std::uint8_t>(0x50 + i);
  r.offset = 0x6162636465666768;
  r.length = 0x7172737475767778;
  auto encoded = encode_record(r, 0x1000);
  ASSERT_TRUE(encoded);
  std::string hex;
  Buffer bytes = flat(*encoded);
  for (std::byte b : bytes.bytes().subspan(4)) hex += fmt::format("{:02x}", static_cast<unsigned>(b));
  EXPECT_EQ(hex,
            "00000000"
            "12010000"
            "24232221"
            "04"
            "04"
            "3231"
            "36353433"
            "4847464544434241"
            "505152535455565758595a5b5c5d5e5f"
            "6867666564636261"
            "7877767574737271");
  std::uint32_t stored;
  std::memcpy(&stored, bytes.data(), 4);
  EXPECT_EQ(stored, crc32c(0, bytes.bytes().subspan(4)));
}

TEST(Codec, InlineDataIsNeitherCopiedToBeFramedNorWhenRead) {
  Record record = sample(RecordKind::kWrite);
  record.data = Buffer::copy_of(std::string(4096, 'd'));
  for (std::uint64_t time : {record.hlc.ns, std::uint64_t{9}}) {
    record.time_ns = time;
    auto encoded = encode_record(record, record.index);
    ASSERT_TRUE(encoded);
    EXPECT_EQ(encoded->pieces()[2].data(), record.data.data());
    Buffer bytes = flat(*encoded);
    auto back = decode_record(bytes, record.index);
    ASSERT_TRUE(back) << back.error().message();
    expect_same(record, *back);
    EXPECT_EQ(back->data.data() + 4096, bytes.data() + bytes.size());
  }
}

TEST(Codec, EveryFlippedBitAndEveryCutIsNoticed) {
  for (RecordKind kind : {RecordKind::kWrite, RecordKind::kRename}) {
    Record record = sample(kind);
    if (kind == RecordKind::kWrite) record.data = Buffer::copy_of(std::string(record.length = 100, 'd'));
    auto message = encode_record_message(record);
    ASSERT_TRUE(message);
    for (bool in_segment : {true, false}) {
      const std::string good(in_segment ? segment_bytes(record).text() : flat(*message).text());
      auto decode = [&](const std::string& bytes) {
        std::size_t offset = 0;
        return in_segment ? decode_record(Buffer::copy_of(bytes), record.index - 3)
                          : decode_record_message(Buffer::copy_of(bytes), offset);
      };
      ASSERT_TRUE(decode(good));
      for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
        std::string bad = good;
        bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ 1 << bit % 8);
        EXPECT_TRUE(decode(bad).failed_with(in_segment ? EUCLEAN : EPROTO)) << "bit " << bit;
      }
      for (std::size_t size = 0; size < good.size(); ++size) EXPECT_FALSE(decode(good.substr(0, size)));
    }
  }
}

TEST(Codec, WhatIsUnknownIsNamed) {
  Record record = sample(RecordKind::kTruncate);
  auto kind = decode_edited(record, [](std::string& b) { b[16] = 99; });
  ASSERT_FALSE(kind);
  EXPECT_EQ(kind.error().context(), "record of unknown kind 99");
  auto flags = decode_edited(record, [](std::string& b) { b[17] = static_cast<char>(b[17] | 0x40); });
  ASSERT_FALSE(flags);
  EXPECT_THAT(flags.error().message(), testing::HasSubstr("flags 0x6f without a transaction"));
  auto field = decode_edited(record, [](std::string& b) {
    b += std::string("\xfa\x01\x01z", 4);  // field 31, one byte
    std::uint32_t body_bytes = static_cast<std::uint32_t>(b.size() - 64);
    std::memcpy(b.data() + 4, &body_bytes, 4);
  });
  ASSERT_FALSE(field);
  EXPECT_THAT(field.error().message(), testing::HasSubstr("does not know"));
}

TEST(Codec, ContradictionsAreRefused) {
  Record write = sample(RecordKind::kWrite);
  write.data = Buffer::copy_of(std::string(4096, 'd'));
  EXPECT_FALSE(decode_edited(write, [](std::string& b) { b[56] = 1; }));       // length ≠ data
  EXPECT_FALSE(decode_edited(write, [](std::string& b) { b[16] = 2; }));       // data in a truncate
  EXPECT_FALSE(decode_edited(write, [](std::string& b) { b[17] = 16 | 8; }));  // both bodies
  EXPECT_FALSE(decode_edited(write, [](std::string& b) { b[17] = 0; }));       // neither
  Record plain = sample(RecordKind::kWrite);
  EXPECT_FALSE(decode_edited(plain, [](std::string& b) { b[17] = 8; }));   // body announced, absent
  EXPECT_FALSE(decode_edited(plain, [](std::string& b) { b[17] = 32; }));  // time announced, absent
  std::string huge(segment_bytes(plain).text());
  huge[7] = 0x7f;
  EXPECT_TRUE(record_size(as_bytes(huge)).failed_with(EUCLEAN));
}

TEST(Codec, WhatTheFormatCannotHoldIsRefusedBeforeItIsWritten) {
  auto code = [](const Record& record, std::uint64_t first) {
    auto encoded = encode_record(record, first);
    return encoded ? 0 : encoded.error().code();
  };
  Record record = sample(RecordKind::kWrite);
  EXPECT_EQ(code(record, record.index + 1), EINVAL);
  EXPECT_EQ(code(record, record.index - (1ull << 32)), EINVAL);
  record.data = Buffer::copy_of("short");
  EXPECT_EQ(code(record, record.index), EINVAL);
  record.data = Buffer::allocate(kRecordBodyMaxBytes);
  record.length = record.data.size();
  EXPECT_EQ(code(record, record.index), EFBIG);
  record = sample(RecordKind::kCreate);
  record.sequence = 1ull << 48;
  EXPECT_EQ(code(record, record.index), EINVAL);
  record = sample(RecordKind::kCreate);
  record.state.mtime.tv_nsec = -1;
  EXPECT_EQ(code(record, record.index), EINVAL);
  record = sample(RecordKind::kCreate);
  record.kind = static_cast<RecordKind>(0);
  EXPECT_EQ(code(record, record.index), EINVAL);
}

// With right checksums, so that what comes after them is reached. The sanitizers judge.
TEST(Codec, RandomDamageWithRightChecksumsIsSurvived) {
  auto random = make_seeded_random(7);
  std::size_t refused = 0;
  for (int round = 0; round < 4000; ++round) {
    Record record = sample(kKinds[random->below(std::size(kKinds))]);
    auto result = decode_edited(record, [&](std::string& b) {
      for (auto edits = 1 + random->below(4); edits > 0; --edits)
        b[4 + random->below(b.size() - 4)] = static_cast<char>(random->next());
    });
    if (!result) ++refused;
  }
  EXPECT_GT(refused, 1000u);
}

}  // namespace
}  // namespace polder
