// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/fuzz/seeds.h"

#include <fcntl.h>

#include <functional>
#include <map>

#include "changelog/journal/segment_format.h"
#include "changelog/record/codec.h"
#include "core-volume/cluster/certificates.h"
#include "core-volume/layer/posix_acl.h"
#include "core-volume/layers/store/layout.h"
#include "core-volume/rpc/messages.h"
#include "core-volume/rpc/protocol.h"
#include "georep/protocol/delta.h"
#include "georep/protocol/record_block.h"
#include "georep/protocol/stream.h"
#include "georep/secondary/spool.h"
#include "proto/georep.pb.h"
#include "tests/support/sim_disk.h"

namespace polder::fuzz {
namespace {

using Seeds = std::vector<std::pair<std::string, std::string>>;

template <typename Number>
std::string bytes_of(Number number) {
  return {reinterpret_cast<const char*>(&number), sizeof number};
}

Gfid gfid_of(std::uint8_t n) {
  Gfid gfid;
  gfid.bytes[15] = n;
  return gfid;
}

std::string joined(const std::vector<Buffer>& pieces) {
  std::string all;
  for (const auto& piece : pieces) all += piece.text();
  return all;
}

// ---- Records ----

Record base_record(RecordKind kind, std::uint64_t index) {
  Record record;
  record.kind = kind;
  record.index = index;
  record.hlc = {1000 + index};
  record.time_ns = record.hlc.ns;
  record.session = 3;
  record.sequence = index;
  record.gfid = gfid_of(7);
  return record;
}

/// One of each shape that the encoding has. Indexes rise from `first`.
std::vector<Record> example_records(std::uint64_t first) {
  auto write = base_record(RecordKind::kWrite, first);
  write.offset = 4096;
  write.data = Buffer::copy_of("hello");
  write.length = 5;
  auto truncate = base_record(RecordKind::kTruncate, first + 1);
  truncate.time_ns = 5;  // another site's
  auto create = base_record(RecordKind::kCreate, first + 2);
  create.name = {Gfid::root(), "name"};
  create.state.mode = S_IFLNK | 0777;
  create.state.mtime = {-5, 7};
  create.state.target = "target";
  create.state.xattrs = {{"user.a", "b"}};
  auto rename = base_record(RecordKind::kRename, first + 3);
  rename.name = {Gfid::root(), "from"};
  rename.to = {gfid_of(9), "to"};
  rename.displaced = gfid_of(8);
  rename.tx.id = {2, 77};
  rename.tx.phase = TxPhase::kDecided;
  rename.tx.sets = {1, 2};
  auto xattr = base_record(RecordKind::kXattr, first + 4);
  xattr.key = "user.k";
  xattr.value = "v";
  xattr.state.mode = S_IFREG | 0644;
  auto mark = base_record(RecordKind::kMark, first + 5);
  mark.text = "snap";
  return {write, truncate, create, rename, xattr, mark};
}

std::string messages() {
  return std::string(georep::encode_block(example_records(5)).value().text());
}

Seeds record_seeds() {
  Seeds seeds{{"messages", messages()}};
  for (const auto& record : example_records(1000)) {
    std::string bytes;
    encode_record(record, 1000).value().append_to(bytes);
    seeds.emplace_back(to_string(record.kind), bytes);
  }
  return seeds;
}

std::string segment(std::uint64_t first, const JournalIdentity& identity) {
  SegmentHeader header;
  header.identity = identity;
  header.first_index = first;
  header.created = {1000};
  header.boot_id = SimDisk().boot_id().value();
  std::string bytes(as_text(encode_segment_header(header)));
  for (const auto& record : example_records(first)) encode_record(record, first).value().append_to(bytes);
  return bytes;
}

/// How a file begins with a byte for each way to look at it: the bits of `how` in fuzz_segment.cc and so on.
Seeds in_ways(const std::string& content, std::initializer_list<int> ways) {
  Seeds seeds;
  for (int how : ways) seeds.emplace_back(fmt::format("way-{}", how), static_cast<char>(how) + content);
  return seeds;
}

Seeds segment_seeds() {
  auto seeds = in_ways(segment(5, {.lineage = gfid_of(1), .set = 3, .term = 1}), {0, 1, 3, 4, 7, 17, 19});
  seeds.emplace_back("torn", seeds[2].second.substr(0, seeds[2].second.size() - 30));
  return seeds;
}

Seeds journal_seeds() {
  const JournalIdentity identity{.lineage = Gfid{{9}}, .set = 3, .term = 1};  // JournalWorld's
  auto seeds = in_ways(segment(1, identity), {1, 3, 5, 7});
  for (auto& [name, seed] : in_ways(segment(4, identity), {9, 11})) seeds.emplace_back(name, seed);
  seeds.emplace_back("torn", seeds[1].second.substr(0, seeds[1].second.size() - 30));
  return seeds;
}

// ---- rpc ----

std::string rpc_frame(RpcFrame type, std::string_view message, std::string_view payload) {
  FrameHeader header;
  header.type = static_cast<std::uint8_t>(type);
  header.id = 7;
  header.message_bytes = static_cast<std::uint32_t>(message.size());
  header.payload_bytes = static_cast<std::uint32_t>(payload.size());
  std::array<std::byte, FrameHeader::kBytes> bytes;
  encode_frame_header(kRpcFormat, header, bytes);
  return fmt::format("{}{}{}", as_text(bytes), message, payload);
}

/// As fuzz_rpc_server.cc takes them.
std::string rpc_call(const wire::Request& request, std::string_view payload = {}) {
  const auto message = request.SerializeAsString();
  return bytes_of(static_cast<std::uint8_t>(RpcFrame::kRequest)) +
         bytes_of(static_cast<std::uint16_t>(message.size())) +
         bytes_of(static_cast<std::uint16_t>(payload.size())) + message + std::string(payload);
}

wire::Request request(std::uint64_t sequence, const std::function<void(wire::Request&)>& fill) {
  wire::Request request;
  request.set_sequence(sequence);
  fill(request);
  return request;
}

std::vector<std::pair<std::string, wire::Request>> example_requests() {
  auto root = [](wire::Gfid* gfid) { put(gfid, Gfid::root()); };
  return {
      {"mkdir", request(1,
                        [&](auto& r) {
                          root(r.mutable_mkdir()->mutable_parent());
                          r.mutable_mkdir()->set_name("d");
                          r.mutable_mkdir()->mutable_object()->set_mode(S_IFDIR | 0755);
                        })},
      {"create", request(2,
                         [&](auto& r) {
                           root(r.mutable_create()->mutable_parent());
                           r.mutable_create()->set_name("f");
                           r.mutable_create()->mutable_object()->set_mode(S_IFREG | 0644);
                           r.mutable_create()->set_flags(O_RDWR);
                           r.set_wants_lease(true);
                         })},
      {"rename", request(3,
                         [&](auto& r) {
                           root(r.mutable_rename()->mutable_from_parent());
                           r.mutable_rename()->set_from_name("f");
                           root(r.mutable_rename()->mutable_to_parent());
                           r.mutable_rename()->set_to_name("g");
                         })},
      {"setattr", request(4,
                          [&](auto& r) {
                            root(r.mutable_setattr()->mutable_gfid());
                            r.mutable_setattr()->set_fields(SetAttr::kMode | SetAttr::kMtime);
                            r.mutable_setattr()->set_mode(0700);
                            r.mutable_setattr()->mutable_mtime()->set_s(-7);
                          })},
      {"set_lock", request(5,
                           [&](auto& r) {
                             root(r.mutable_set_lock()->mutable_gfid());
                             r.mutable_set_lock()->mutable_lock()->set_end(9);
                             r.mutable_set_lock()->set_wait(true);
                           })},
      {"readdir", request(0,
                          [&](auto& r) {
                            root(r.mutable_readdir()->mutable_gfid());
                            r.mutable_readdir()->set_max_entries(10);
                            r.mutable_readdir()->set_with_attributes(true);
                          })},
      {"end", request(0, [](auto& r) { r.mutable_end_session(); })},
  };
}

FileAttr example_attr() {
  FileAttr attr;
  attr.gfid = gfid_of(7);
  attr.mode = S_IFREG | 0644;
  attr.nlink = 1;
  attr.size = 5;
  attr.mtime = {-2, 999'999'999};
  return attr;
}

Seeds rpc_message_seeds() {
  Seeds seeds;
  for (const auto& [name, request] : example_requests())
    seeds.emplace_back(
        name, bytes_of(RpcFrame::kRequest) + bytes_of(std::uint32_t{0}) + request.SerializeAsString());
  wire::Reply reply;
  put(reply.mutable_attr(), example_attr());
  put(reply.mutable_lock(), FileLock{});
  reply.set_handle(5);
  seeds.emplace_back("reply", bytes_of(RpcFrame::kReply) + reply.SerializeAsString());
  put(&reply, Error(ENOSPC).with("create {}", "a").set_maybe_applied());
  seeds.emplace_back("error", bytes_of(RpcFrame::kReply) + reply.SerializeAsString());
  wire::Notify notify;
  put(notify.add_changes(), Invalidation{gfid_of(7), EntryName{Gfid::root(), "f"}, 0});
  put(notify.add_recalls()->mutable_gfid(), gfid_of(7));
  seeds.emplace_back("notify", bytes_of(RpcFrame::kNotify) + notify.SerializeAsString());
  return seeds;
}

Seeds rpc_payload_seeds() {
  DirectoryPage page;
  for (std::uint64_t i = 0; i < 3; ++i)
    page.entries.push_back({fmt::format("name-{}", i), example_attr(), 3 + i / 2});
  page.end = true;
  const std::string names("user.a\0system.posix_acl_access\0", 31);
  std::uint32_t description_bytes = 0;
  const auto records = joined(encode_records(example_records(5), description_bytes));
  return {{"page", "d" + std::string(encode_page(page, 1 << 20).text())},
          {"names", "x" + names},
          {"records", "r" + bytes_of(static_cast<std::uint16_t>(description_bytes)) + records}};
}

Seeds frame_seeds() {
  std::string bytes = rpc_frame(RpcFrame::kPing, "", "");
  for (const auto& [name, request] : example_requests())
    bytes += rpc_frame(RpcFrame::kRequest, request.SerializeAsString(), name);
  return {{"whole", std::string("\0\0", 2) + bytes}, {"bytewise", std::string("\1\0", 2) + bytes}};
}

Seeds rpc_server_seeds() {
  Seeds seeds;
  std::string all(1, '\0');
  for (const auto& [name, request] : example_requests()) {
    seeds.emplace_back(name, std::string(1, '\0') + rpc_call(request));
    all += rpc_call(request);
  }
  seeds.emplace_back("all", all);
  std::uint32_t description_bytes = 0;
  const auto records = joined(encode_records(example_records(5), description_bytes));
  wire::Request replay;
  replay.set_sequence(1);
  replay.mutable_replay()->set_records_bytes(description_bytes);
  seeds.emplace_back("replay", "\4" + rpc_call(replay, records));
  return seeds;
}

// ---- Geo-replication ----

std::vector<std::pair<georep::StreamMessage, std::string>> example_cut() {
  std::vector<std::pair<georep::StreamMessage, std::string>> cut(5);
  cut[0].first.mutable_cut_begin()->set_cut(1);
  const auto block = messages();
  auto& records = *cut[1].first.mutable_records();
  records.set_cut(1);
  records.set_count(static_cast<std::uint32_t>(example_records(5).size()));
  records.set_raw_bytes(block.size());
  cut[1].second = georep::pack(Buffer::copy_of(block)).text();
  auto& extent = *cut[2].first.mutable_extent();
  extent.set_cut(1);
  extent.set_gfid(georep::gfid_bytes(gfid_of(7)));
  extent.set_offset(100);
  extent.set_raw_bytes(5);
  cut[2].second = "hello";
  cut[3].first = cut[2].first;
  cut[3].first.mutable_extent()->set_hole_bytes(4096);
  cut[3].first.mutable_extent()->set_raw_bytes(0);
  cut[3].first.mutable_extent()->set_ends_file(true);
  auto& end = *cut[4].first.mutable_cut_end();
  end.set_cut(1);
  end.mutable_state()->set_cut(1);
  georep::set_position(end.mutable_state()->add_positions(), {});
  return cut;
}

Seeds georep_frame_seeds() {
  Seeds seeds;
  for (const auto& [message, payload] : example_cut()) {
    const auto bytes = message.SerializeAsString();
    seeds.emplace_back(fmt::format("frame-{}", seeds.size()),
                       bytes_of(static_cast<std::uint16_t>(bytes.size())) + bytes + payload);
  }
  auto unpacked = example_cut()[1].first.SerializeAsString();
  seeds.emplace_back("unpacked",
                     bytes_of(static_cast<std::uint16_t>(unpacked.size())) + unpacked + messages());
  return seeds;
}

Seeds georep_stream_seeds() {
  constexpr FrameFormat kFormat{.magic = 0x31474450, .version = 1};  // georep/protocol/stream.cc
  std::string bytes;
  for (const auto& [message, payload] : example_cut()) {
    const auto text = message.SerializeAsString();
    FrameHeader header{.type = 1};
    header.message_bytes = static_cast<std::uint32_t>(text.size());
    header.payload_bytes = static_cast<std::uint32_t>(payload.size());
    std::array<std::byte, FrameHeader::kBytes> head;
    encode_frame_header(kFormat, header, head);
    bytes += fmt::format("{}{}{}", as_text(head), text, payload);
  }
  return {{"whole", std::string(1, '\0') + bytes}, {"in-sevens", "\7" + bytes}};
}

Seeds spool_seeds() {
  SimDisk disk;
  auto spool = georep::Spool::open(disk, "/spool", "boot").value();
  spool->begin(1).value();
  for (const auto& [message, payload] : example_cut())
    spool->append(as_bytes(message.SerializeAsString()), as_bytes(payload)).value();
  auto file = disk.open(Disk::kNoDir, "/spool/00000000000000000001.part", O_RDONLY).value();
  std::string content(spool->bytes(), '\0');
  disk.pread(file.fd(), std::as_writable_bytes(std::span(content)), 0).value();
  auto seeds = in_ways(content, {0, 1, 2, 3});
  seeds.emplace_back("torn", seeds[0].second.substr(0, content.size() - 3));
  return seeds;
}

georep::ReadAt reader(const std::string& text) {
  return [&text](Bytes out, std::uint64_t offset) -> Result<std::size_t> {
    const auto rest = std::string_view(text).substr(std::min<std::uint64_t>(offset, text.size()));
    return rest.copy(reinterpret_cast<char*>(out.data()), out.size());
  };
}

Seeds georep_delta_seeds() {
  std::string basis;
  for (int i = 0; i < 400; ++i) basis += fmt::format("{},", i);
  const auto content = basis.substr(0, 700) + "changed" + basis.substr(700);
  const auto signature = georep::make_signature(reader(basis), basis.size()).value();
  std::string delta;
  georep::make_delta(as_bytes(signature), reader(content), [&](ConstBytes bytes) -> Result<void> {
    delta += as_text(bytes);
    return {};
  }).value();
  auto with = [](char which, const std::string& ours, const std::string& theirs) {
    return which + bytes_of(static_cast<std::uint16_t>(ours.size())) + ours + theirs;
  };
  return {{"delta", with(0, basis, delta)}, {"signature", with(1, content, signature)}};
}

// ---- Values ----

Seeds acl_seeds() {
  const Acl acl{{{AclTag::kUserObj, 7},
                 {AclTag::kUser, 6, 1000},
                 {AclTag::kGroupObj, 5},
                 {AclTag::kMask, 7},
                 {AclTag::kOther, 0}}};
  return {{"named", bytes_of(std::uint32_t{0750}) + build_acl(acl)},
          {"mode", bytes_of(std::uint32_t{0644}) +
                       build_acl({{{AclTag::kUserObj, 6}, {AclTag::kGroupObj, 4}, {AclTag::kOther, 4}}})}};
}

Seeds store_value_seeds() {
  layout::Meta meta;
  meta.gfid = gfid_of(7);
  meta.ctime_ns = 5;
  meta.mtime = {1'800'000'000, 7};
  const auto packed = layout::pack_meta(meta);
  const ReplacedName replaced{gfid_of(7), {Gfid::root(), "name"}, gfid_of(8), {2, 77}};
  return {{"meta", packed},
          {"meta-of-an-earlier-version", packed.substr(0, packed.size() - 9)},
          {"dir", layout::pack_dir_mark(gfid_of(7))},
          {"entry", layout::pack_entry_mark({gfid_of(7), S_IFREG})},
          {"parent", layout::pack_parent({Gfid::root(), "name"})},
          {"replaced",
           layout::replaced_file(replaced.gfid, replaced.tx) + '\0' + layout::replaced_text(replaced)}};
}

Seeds certificate_seeds() {
  return {{"request", "r" + make_certificate_request().value().request_pem},
          {"certificate", "c" + make_ca("fuzz", 1'800'000'000).value().certificate_pem}};
}

}  // namespace

std::vector<std::pair<std::string, std::string>> seeds_of(const std::string& target) {
  static const std::map<std::string, std::function<Seeds()>> all = {
      {"acl", acl_seeds},
      {"certificates", certificate_seeds},
      {"frame", frame_seeds},
      {"georep_delta", georep_delta_seeds},
      {"georep_frame", georep_frame_seeds},
      {"georep_stream", georep_stream_seeds},
      {"journal", journal_seeds},
      {"record", record_seeds},
      {"rpc_message", rpc_message_seeds},
      {"rpc_payload", rpc_payload_seeds},
      {"rpc_server", rpc_server_seeds},
      {"segment", segment_seeds},
      {"spool", spool_seeds},
      {"store_values", store_value_seeds},
  };
  auto found = all.find(target);
  return found == all.end() ? Seeds() : found->second();
}

}  // namespace polder::fuzz
