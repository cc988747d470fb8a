// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/rpc/messages.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/random.h"
#include "core-volume/rpc/protocol.h"

namespace polder {
namespace {

Gfid gfid_of(int n) {
  Gfid gfid;
  for (std::size_t i = 0; i < 16; ++i) gfid.bytes[i] = static_cast<std::uint8_t>(n + static_cast<int>(i));
  return gfid;
}

FileAttr example_attr() {
  FileAttr attr;
  attr.gfid = gfid_of(7);
  attr.mode = S_IFREG | 07777;
  attr.uid = UINT32_MAX;
  attr.gid = 5;
  attr.nlink = 65000;
  attr.rdev_major = 8;
  attr.rdev_minor = 17;
  attr.size = INT64_MAX;
  attr.blocks_512 = 12345;
  attr.atime = {-2'000'000'000, 1};
  attr.mtime = {17'000'000'000, 999'999'999};
  attr.ctime = {0, 0};
  return attr;
}

bool same(timespec a, timespec b) {
  return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

TEST(MessagesTest, GfidKeepsItsBytesAndShowsItsSlot) {
  wire::Gfid wire;
  put(&wire, gfid_of(1));
  EXPECT_EQ(wire.high() >> 48, gfid_of(1).slot());
  EXPECT_EQ(gfid_from(wire), gfid_of(1));
}

TEST(MessagesTest, AttrRoundTrip) {
  const auto attr = example_attr();
  wire::Attr wire;
  put(&wire, attr);
  auto again = attr_from(wire);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->gfid, attr.gfid);
  EXPECT_EQ(again->mode, attr.mode);
  EXPECT_EQ(again->uid, attr.uid);
  EXPECT_EQ(again->gid, attr.gid);
  EXPECT_EQ(again->nlink, attr.nlink);
  EXPECT_EQ(again->rdev_major, attr.rdev_major);
  EXPECT_EQ(again->rdev_minor, attr.rdev_minor);
  EXPECT_EQ(again->size, attr.size);
  EXPECT_EQ(again->blocks_512, attr.blocks_512);
  EXPECT_TRUE(same(again->atime, attr.atime));
  EXPECT_TRUE(same(again->mtime, attr.mtime));
  EXPECT_TRUE(same(again->ctime, attr.ctime));
  wire.set_mtime_ns(1'000'000'000);
  EXPECT_TRUE(attr_from(wire).failed_with(EPROTO));
}

TEST(MessagesTest, ErrorsKeepCodeDoubtAndReason) {
  wire::Reply reply;
  put(&reply, Error(ENOSPC).with("create {}", "a").set_maybe_applied());
  auto error = error_from(reply);
  EXPECT_TRUE(error.is(ENOSPC));
  EXPECT_TRUE(error.maybe_applied());
  EXPECT_EQ(error.context(), "create a");
  reply.set_error(1'000'000);
  EXPECT_TRUE(error_from(reply).is(EPROTO));
}

DirectoryPage page_of(std::size_t entries) {
  DirectoryPage page;
  for (std::size_t i = 0; i < entries; ++i)
    page.entries.push_back({fmt::format("{:0>100}", i), example_attr(), 3 + i / 2});  // cookies in pairs
  page.end = true;
  return page;
}

TEST(MessagesTest, DirectoryPageRoundTrip) {
  auto again = decode_page(encode_page(page_of(10), 1 << 20).bytes());
  ASSERT_TRUE(again);
  ASSERT_EQ(again->entries.size(), 10u);
  EXPECT_TRUE(again->end);
  EXPECT_EQ(again->entries[9].name, page_of(10).entries[9].name);
  EXPECT_EQ(again->entries[9].cookie, 7u);
  EXPECT_EQ(again->entries[9].attr.size, example_attr().size);
}

TEST(MessagesTest, LongDirectoryPageIsCutBetweenCookies) {
  for (std::size_t limit = 1000; limit < 1400; limit += 7) {
    auto again = decode_page(encode_page(page_of(100), limit).bytes());
    ASSERT_TRUE(again);
    EXPECT_FALSE(again->end);
    EXPECT_GT(again->entries.size(), 0u);
    EXPECT_EQ(again->entries.size() % 2, 0u) << "limit " << limit;
  }
  const auto limit = encode_page(page_of(1), 1000).size() - 1;
  EXPECT_LE(encode_page(page_of(1), limit).size(), limit);
}

TEST(MessagesTest, XattrNames) {
  std::vector<std::string> names = {"user.a", "system.posix_acl_access", std::string(255, 'x')};
  auto bytes = encode_names(names);
  ASSERT_TRUE(bytes);
  EXPECT_EQ(decode_names(bytes->bytes()).value(), names);
  EXPECT_TRUE(decode_names(as_bytes("no end")).failed_with(EPROTO));
  EXPECT_TRUE(decode_names(as_bytes(std::string_view("\0a\0", 3))).failed_with(EPROTO));
  EXPECT_TRUE(encode_names(std::vector<std::string>(5000, std::string(255, 'x'))).failed_with(E2BIG));
}

Record example_record() {
  Record record;
  record.kind = RecordKind::kRename;
  record.index = 5;
  record.hlc = {17};
  record.session = 3;
  record.sequence = 9;
  record.last_link = true;
  record.time_ns = 1ull << 62;
  record.gfid = gfid_of(1);
  record.name = {gfid_of(2), "from"};
  record.to = {gfid_of(3), std::string("t\xff", 2)};
  record.displaced = gfid_of(4);
  record.state.mode = S_IFLNK | 0777;
  record.state.mtime = {-5, 7};
  record.state.target = "target";
  record.state.xattrs = {{"user.a", std::string("\0b", 2)}};
  record.key = "key";
  record.text = "text";
  return record;
}

Buffer joined(const std::vector<Buffer>& pieces) {
  std::string all;
  for (const auto& piece : pieces) all += piece.text();
  return Buffer::copy_of(all);
}

TEST(MessagesTest, RecordsRoundTrip) {
  Record write;
  write.kind = RecordKind::kWrite;
  write.gfid = gfid_of(9);
  write.data = Buffer::copy_of("hello");
  write.length = 5;
  write.value = "";
  std::vector<Record> records = {example_record(), write, write};
  std::uint32_t description_bytes = 0;
  auto payload = joined(encode_records(records, description_bytes));
  auto again = decode_records(payload, description_bytes);
  ASSERT_TRUE(again) << again.error().message();
  ASSERT_EQ(again->size(), 3u);
  const auto& a = (*again)[0];
  const auto b = example_record();
  EXPECT_EQ(a.kind, b.kind);
  EXPECT_EQ(std::tuple(a.index, a.hlc, a.session, a.sequence, a.last_link, a.exchange, a.time_ns),
            std::tuple(b.index, b.hlc, b.session, b.sequence, b.last_link, b.exchange, b.time_ns));
  EXPECT_EQ(std::tuple(a.gfid, a.name, a.to, a.displaced), std::tuple(b.gfid, b.name, b.to, b.displaced));
  EXPECT_EQ(a.state.xattrs, b.state.xattrs);
  EXPECT_EQ(a.state.target, b.state.target);
  EXPECT_TRUE(same(a.state.mtime, b.state.mtime));
  EXPECT_EQ(std::tuple(a.key, a.value, a.text), std::tuple(b.key, b.value, b.text));
  EXPECT_EQ((*again)[2].data.text(), "hello");
  EXPECT_EQ((*again)[2].value, std::optional<std::string>(""));
  // Uncopied: the data are slices of the payload.
  EXPECT_EQ((*again)[2].data.data() + 5, payload.data() + payload.size());
}

TEST(MessagesTest, RecordsWithLengthsThatLieAreRefused) {
  Record write;
  write.kind = RecordKind::kWrite;
  write.data = Buffer::copy_of("hello");
  std::uint32_t description_bytes = 0;
  auto payload = joined(encode_records({&write, 1}, description_bytes));
  const auto size = static_cast<std::uint32_t>(payload.size());
  EXPECT_TRUE(decode_records(payload, description_bytes));
  EXPECT_TRUE(decode_records(payload, size + 1).failed_with(EPROTO));
  EXPECT_TRUE(decode_records(payload, UINT32_MAX).failed_with(EPROTO));
  EXPECT_TRUE(decode_records(payload.slice(0, size - 1), description_bytes).failed_with(EPROTO));
  EXPECT_TRUE(decode_records(payload, 0).failed_with(EPROTO));
}

/// Two bytes a record: they would take gigabytes.
TEST(MessagesTest, RecordsBeyondNumberAreNotEvenMade) {
  std::string description;
  for (std::uint32_t i = 0; i <= kRpcRecordsMax; ++i) description += std::string("\x0a\0", 2);
  auto decode = [](const std::string& bytes) {
    return decode_records(Buffer::copy_of(bytes), static_cast<std::uint32_t>(bytes.size()));
  };
  auto refused = decode(description);
  ASSERT_TRUE(refused.failed_with(EPROTO));
  EXPECT_THAT(refused.error().message(), testing::HasSubstr("more than 21845 records"));
  EXPECT_EQ(decode(description.substr(2))->size(), kRpcRecordsMax);
  // A number that nobody knows is in front of them.
  EXPECT_TRUE(decode("\x10\xff\xff\xff\xff\x07" + description).failed_with(EPROTO));
}

/// Two bytes an attribute, likewise, whatever record they are of.
TEST(MessagesTest, XattrsOfRecordsBeyondNumberAreNotEvenMade) {
  const auto with_xattrs = [](std::uint32_t records, std::uint32_t each) {
    wire::RecordState state;
    for (std::uint32_t i = 0; i < each; ++i) state.add_xattrs();
    wire::Records all;
    for (std::uint32_t i = 0; i < records; ++i) *all.add_records()->mutable_state() = state;
    const auto bytes = all.SerializeAsString();
    return decode_records(Buffer::copy_of(bytes), static_cast<std::uint32_t>(bytes.size()));
  };
  EXPECT_TRUE(with_xattrs(1, kRpcRecordXattrsMax));
  auto refused = with_xattrs(1, kRpcRecordXattrsMax + 1);
  ASSERT_TRUE(refused.failed_with(EPROTO));
  EXPECT_THAT(refused.error().message(), testing::HasSubstr("extended attributes"));
  EXPECT_TRUE(with_xattrs(2, kRpcRecordXattrsMax / 2));
  EXPECT_TRUE(with_xattrs(2, kRpcRecordXattrsMax / 2 + 1).failed_with(EPROTO));
}

/// What a replay is cut by keeps each request below both limits.
TEST(MessagesTest, ARequestIsCutBeforeItHasTooManyXattrs) {
  Record record;
  record.kind = RecordKind::kCreate;
  for (int i = 0; i < 1000; ++i) record.state.xattrs[fmt::format("user.{}", i)] = "";
  EXPECT_GE(encoded_bytes(record), 1000u * kRpcRecordXattr_bytes_min);
}

TEST(MessagesTest, ADirectoryPageHasALimit) {
  const auto page = encode_page(page_of(20'000), kRpcDirectoryPage_bytes_max);
  EXPECT_LE(page.size(), kRpcDirectoryPage_bytes_max);
  EXPECT_TRUE(decode_page(page.bytes()));
  EXPECT_TRUE(
      decode_page(encode_page(page_of(20'000), 2 * kRpcDirectoryPage_bytes_max).bytes()).failed_with(EPROTO));
}

struct BadRequest {
  const char* name;
  std::function<void(wire::Request&)> make;
  std::size_t payload_bytes = 0;
};

TEST(MessagesTest, HostileRequestsAreRefused) {
  const std::string long_name(256, 'n');
  const BadRequest table[] = {
      {"no operation", [](auto&) {}},
      {"name with a slash", [](auto& r) { r.mutable_lookup()->set_name("a/b"); }},
      {"empty name", [](auto& r) { r.mutable_lookup(); }},
      {"dot dot", [](auto& r) { r.set_sequence(1), r.mutable_rmdir()->set_name(".."); }},
      {"long name", [&](auto& r) { r.set_sequence(1), r.mutable_create()->set_name(long_name); }},
      {"bad second name of rename",
       [](auto& r) { r.set_sequence(1), r.mutable_rename()->set_from_name("a"); }},
      {"change without sequence", [](auto& r) { r.mutable_mkdir()->set_name("a"); }},
      {"look-up with sequence", [](auto& r) { r.set_sequence(1), r.mutable_lookup()->set_name("a"); }},
      {"sequence past 48 bits",
       [](auto& r) { r.set_sequence(1ull << 48), r.mutable_mkdir()->set_name("a"); }},
      {"payload on a look-up", [](auto& r) { r.mutable_lookup()->set_name("a"); }, 1},
      {"write of too much", [](auto& r) { r.set_sequence(1), r.mutable_write(); }, kRpcData_bytes_max + 1},
      {"read of too much", [](auto& r) { r.mutable_read()->set_length(kRpcData_bytes_max + 1); }},
      {"xattr too large", [](auto& r) { r.set_sequence(1), r.mutable_setxattr()->set_key("user.a"); }, 65537},
      {"xattr key with NUL", [](auto& r) { r.mutable_getxattr()->set_key(std::string("user.\0a", 7)); }},
      {"empty xattr key", [](auto& r) { r.mutable_getxattr(); }},
      {"symlink target too long",
       [](auto& r) {
         r.set_sequence(1);
         r.mutable_symlink()->set_name("a");
         r.mutable_symlink()->set_target(std::string(4096, 't'));
       }},
      {"unknown setattr field", [](auto& r) { r.set_sequence(1), r.mutable_setattr()->set_fields(512); }},
      {"time with too many ns",
       [](auto& r) { r.set_sequence(1), r.mutable_setattr()->mutable_mtime()->set_ns(1'000'000'000); }},
      {"lock kind", [](auto& r) { r.mutable_test_lock()->mutable_lock()->set_kind(2); }},
      {"lock type", [](auto& r) { r.mutable_test_lock()->mutable_lock()->set_type(3); }},
      {"lock that ends before it starts",
       [](auto& r) { r.mutable_test_lock()->mutable_lock()->set_start(1); }},
  };
  for (const auto& row : table) {
    wire::Request request;
    row.make(request);
    EXPECT_TRUE(check_request(request, row.payload_bytes).failed_with(EPROTO)) << row.name;
  }
}

TEST(MessagesTest, ReadOnlyVolumesRefuseExactlyChanges) {
  wire::Request request;
  request.mutable_open()->set_flags(O_RDONLY);
  EXPECT_FALSE(is_change(request));
  request.mutable_open()->set_flags(O_RDONLY | O_TRUNC);
  EXPECT_TRUE(is_change(request));
  request.mutable_open()->set_flags(O_RDWR);
  EXPECT_TRUE(is_change(request));
  request.mutable_create();
  EXPECT_TRUE(is_change(request));
  request.mutable_setxattr();
  EXPECT_TRUE(is_change(request));
  request.mutable_release();
  EXPECT_FALSE(is_change(request));
  request.mutable_set_lock();
  EXPECT_FALSE(is_change(request));
  request.mutable_fsync();
  EXPECT_FALSE(is_change(request));
}

/// Whatever the bytes, a decoder returns, and what it accepts keeps the bounds.
TEST(MessagesTest, RandomDamage) {
  auto random = make_seeded_random(2);
  wire::Request request;
  request.set_sequence(1);
  request.mutable_rename()->set_from_name("from");
  request.mutable_rename()->set_to_name("to");
  const auto good_request = request.SerializeAsString();
  const auto good_page = std::string(encode_page(page_of(4), 1 << 20).text());
  std::uint32_t description_bytes = 0;
  auto record = example_record();
  const auto good_records = std::string(joined(encode_records({&record, 1}, description_bytes)).text());
  for (int i = 0; i < 5000; ++i) {
    auto damage = [&](std::string bytes) {
      for (auto flips = 1 + random->below(4); flips-- > 0;)
        bytes[random->below(bytes.size())] = static_cast<char>(random->below(256));
      bytes.resize(bytes.size() - random->below(3));
      return bytes;
    };
    if (wire::Request in; in.ParseFromString(damage(good_request)) && check_request(in, 0) && in.has_rename())
      ASSERT_LE(in.rename().from_name().size(), 255u);
    if (auto page = decode_page(as_bytes(damage(good_page))); page)
      for (const auto& entry : page->entries) ASSERT_LE(entry.name.size(), 255u);
    auto payload = Buffer::copy_of(damage(good_records));
    if (auto records = decode_records(payload, description_bytes); records)
      for (const auto& one : *records) ASSERT_LE(one.data.size(), payload.size());
  }
}

}  // namespace
}  // namespace polder
