// SPDX-License-Identifier: GPL-3.0-or-later
// Records on the wire, for replay(): described in protobuf, their data beside it.
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include <algorithm>

#include "core-volume/rpc/messages.h"
#include "core-volume/rpc/protocol.h"

namespace polder {
namespace {

void put_time(wire::Time* out, timespec time) {
  out->set_s(time.tv_sec);
  out->set_ns(static_cast<std::uint32_t>(time.tv_nsec));
}

Result<timespec> time_from(const wire::Time& in) {
  if (in.ns() >= 1'000'000'000) return Error(EPROTO).with("time with {} nanoseconds", in.ns());
  return timespec{in.s(), static_cast<long>(in.ns())};
}

void put_state(wire::RecordState* out, const ObjectState& state) {
  out->set_mode(state.mode);
  out->set_uid(state.uid);
  out->set_gid(state.gid);
  out->set_rdev_major(state.rdev_major);
  out->set_rdev_minor(state.rdev_minor);
  put_time(out->mutable_atime(), state.atime);
  put_time(out->mutable_mtime(), state.mtime);
  out->set_target(state.target);
  for (const auto& [key, value] : state.xattrs) {
    auto* xattr = out->add_xattrs();
    xattr->set_key(key);
    xattr->set_value(value);
  }
}

Result<ObjectState> state_from(const wire::RecordState& in) {
  ObjectState state;
  state.mode = in.mode();
  state.uid = in.uid();
  state.gid = in.gid();
  state.rdev_major = in.rdev_major();
  state.rdev_minor = in.rdev_minor();
  TRY(state.atime, time_from(in.atime()));
  TRY(state.mtime, time_from(in.mtime()));
  state.target = in.target();
  for (const auto& xattr : in.xattrs()) state.xattrs[xattr.key()] = xattr.value();
  return state;
}

void put_record(wire::Records::One* out, const Record& record) {
  out->set_kind(static_cast<std::uint32_t>(record.kind));
  out->set_index(record.index);
  out->set_hlc(record.hlc.ns);
  out->set_session(record.session);
  out->set_sequence(record.sequence);
  out->set_last_link(record.last_link);
  out->set_exchange(record.exchange);
  out->set_keep_size(record.keep_size);
  out->set_time_ns(record.time_ns);
  put(out->mutable_gfid(), record.gfid);
  out->set_offset(record.offset);
  out->set_length(record.length);
  out->set_data_bytes(static_cast<std::uint32_t>(record.data.size()));
  if (!record.name.parent.is_nil()) put(out->mutable_name_parent(), record.name.parent);
  out->set_name(record.name.name);
  if (!record.to.parent.is_nil()) put(out->mutable_to_parent(), record.to.parent);
  out->set_to(record.to.name);
  if (!record.displaced.is_nil()) put(out->mutable_displaced(), record.displaced);
  put_state(out->mutable_state(), record.state);
  out->set_key(record.key);
  if (record.value) out->set_value(*record.value);
  out->set_text(record.text);
}

Result<Record> record_from(const wire::Records::One& in) {
  if (in.kind() > 255) return Error(EPROTO).with("record of kind {}", in.kind());
  Record record;
  record.kind = static_cast<RecordKind>(in.kind());
  record.index = in.index();
  record.hlc.ns = in.hlc();
  record.session = in.session();
  record.sequence = in.sequence();
  record.last_link = in.last_link();
  record.exchange = in.exchange();
  record.keep_size = in.keep_size();
  record.time_ns = in.time_ns();
  record.gfid = gfid_from(in.gfid());
  record.offset = in.offset();
  record.length = in.length();
  record.name = {gfid_from(in.name_parent()), in.name()};
  record.to = {gfid_from(in.to_parent()), in.to()};
  record.displaced = gfid_from(in.displaced());
  TRY(record.state, state_from(in.state()));
  record.key = in.key();
  if (in.has_value()) record.value = in.value();
  record.text = in.text();
  return record;
}

using google::protobuf::internal::WireFormatLite;

google::protobuf::io::CodedInputStream stream_over(ConstBytes message) {
  return google::protobuf::io::CodedInputStream(reinterpret_cast<const std::uint8_t*>(message.data()),
                                                static_cast<int>(message.size()));
}

/// Calls `visit` with each field that is a message or a string, and its number. What is unreadable ends it as
/// it will end the parser.
template <typename Visit>
void for_each_field(ConstBytes message, Visit visit) {
  auto in = stream_over(message);
  while (const auto tag = in.ReadTag()) {
    if (WireFormatLite::GetTagWireType(tag) != WireFormatLite::WIRETYPE_LENGTH_DELIMITED) {
      if (!WireFormatLite::SkipField(&in, tag)) return;
      continue;
    }
    std::uint32_t size = 0;
    if (!in.ReadVarint32(&size) || size > message.size()) return;
    const auto at = static_cast<std::size_t>(in.CurrentPosition());
    if (!in.Skip(static_cast<int>(size))) return;
    visit(WireFormatLite::GetTagFieldNumber(tag), message.subspan(at, size));
  }
}

/// Two bytes can announce an extended attribute, too.
std::size_t count_xattrs(ConstBytes description) {
  std::size_t count = 0;
  for_each_field(description, [&](int number, ConstBytes record) {
    if (number != wire::Records::kRecordsFieldNumber) return;
    for_each_field(record, [&](int field, ConstBytes state) {
      if (field != wire::Records::One::kStateFieldNumber) return;
      for_each_field(state,
                     [&](int one, ConstBytes) { count += one == wire::RecordState::kXattrsFieldNumber; });
    });
  });
  return count;
}

/// Two bytes can announce a record, which takes hundreds in memory: they are counted before they are made.
/// Fields of a later version count, too. What is unreadable ends the count as it will end the parser.
Result<void> check_count(ConstBytes description) {
  auto in = stream_over(description);
  std::uint32_t count = 0;
  while (const auto tag = in.ReadTag()) {
    if (!WireFormatLite::SkipField(&in, tag)) break;
    if (++count > kRpcRecordsMax)
      return Error(EPROTO).with("more than {} records in a request", kRpcRecordsMax);
  }
  if (count_xattrs(description) > kRpcRecordXattrsMax)
    return Error(EPROTO).with("more than {} extended attributes in a request", kRpcRecordXattrsMax);
  return {};
}

}  // namespace

std::vector<Buffer> encode_records(std::span<const Record> records, std::uint32_t& description_bytes) {
  wire::Records out;
  std::vector<Buffer> pieces(1);
  for (const auto& record : records) {
    put_record(out.add_records(), record);
    if (!record.data.empty()) pieces.push_back(record.data);
  }
  pieces[0] = Buffer::allocate(out.ByteSizeLong());
  out.SerializeWithCachedSizesToArray(reinterpret_cast<std::uint8_t*>(pieces[0].writable().data()));
  description_bytes = static_cast<std::uint32_t>(pieces[0].size());
  return pieces;
}

std::size_t encoded_bytes(const Record& record) {
  std::size_t bytes = kRpcRecord_bytes_min + record.data.size() + record.name.name.size() +
                      record.to.name.size() + record.state.target.size() + record.key.size() +
                      record.text.size();
  if (record.value) bytes += record.value->size();
  for (const auto& [key, value] : record.state.xattrs)
    bytes += std::max<std::size_t>(key.size() + value.size() + 16, kRpcRecordXattr_bytes_min);
  return bytes;
}

Result<std::vector<Record>> decode_records(const Buffer& payload, std::uint32_t description_bytes) {
  if (description_bytes > payload.size())
    return Error(EPROTO).with("records of {} bytes in a payload of {}", description_bytes, payload.size());
  TRY(check_count(payload.bytes().first(description_bytes)));
  wire::Records in;
  if (!in.ParseFromArray(payload.data(), static_cast<int>(description_bytes)))
    return Error(EPROTO).with("records are not readable");
  std::vector<Record> records;
  records.reserve(static_cast<std::size_t>(in.records_size()));
  std::size_t at = description_bytes;
  for (const auto& one : in.records()) {
    TRY(auto record, record_from(one));
    if (one.data_bytes() > payload.size() - at)
      return Error(EPROTO).with("data of a record beyond the payload's end");
    if (one.data_bytes() > 0) record.data = payload.slice(at, one.data_bytes());
    at += one.data_bytes();
    records.push_back(std::move(record));
  }
  if (at != payload.size()) return Error(EPROTO).with("{} bytes after the last record", payload.size() - at);
  return records;
}

}  // namespace polder
