// SPDX-License-Identifier: GPL-3.0-or-later
#include "changelog/record/codec.h"

#include <algorithm>
#include <cstring>

#include "base/crc32c.h"
#include "changelog/record/body.h"
#include "changelog/record/little_endian.h"

namespace polder {

namespace {

// Places in the header. docs/formats/changelog.md has the same table.
constexpr std::size_t kCrcAt = 0, kBodyBytesAt = 4, kIndexDeltaAt = 8, kSessionAt = 12, kKindAt = 16,
                      kFlagsAt = 17, kSequenceHighAt = 18, kSequenceLowAt = 20, kHlcAt = 24, kGfidAt = 32,
                      kOffsetAt = 48, kLengthAt = 56;
static_assert(kLengthAt + 8 == kRecordHeaderBytes);

constexpr std::size_t kTimeBytes = 8;

enum Flag : std::uint8_t {
  kLastLink = 1,
  kExchange = 2,
  kKeepSize = 4,
  kHasBody = 8,        // the body ends with protobuf
  kInlineData = 16,    // the body ends with `length` bytes of data; writes only
  kExplicitTime = 32,  // the body starts with time_ns; without it, time_ns is the HLC
  kTxPrepared = 64,    // of a record with a transaction; with neither of the two it is the decision
  kTxEcho = 128
};

Result<void> check_encodable(const Record& record, const std::string& body) {
  if (to_string(record.kind) == "unknown")
    return Error(EINVAL).with("record of unknown kind {}", static_cast<unsigned>(record.kind));
  if (record.sequence >> 48) return Error(EINVAL).with("sequence {} has more than 48 bits", record.sequence);
  if (!record.data.empty()) {
    if (record.kind != RecordKind::kWrite || !body.empty())
      return Error(EINVAL).with("a {} record cannot carry data", to_string(record.kind));
    if (record.data.size() != record.length)
      return Error(EINVAL).with("{} bytes of data for {} bytes", record.data.size(), record.length);
  }
  if ((record.tx.phase == TxPhase::kNone) != (record.tx.id.number == 0))
    return Error(EINVAL).with("a {} record with half a transaction", to_string(record.kind));
  for (const timespec& time : {record.state.atime, record.state.mtime})
    if (time.tv_nsec < 0 || time.tv_nsec > 999'999'999)
      return Error(EINVAL).with("a time with {} nanoseconds", time.tv_nsec);
  if (body.size() + record.data.size() + kTimeBytes > kRecordBodyMaxBytes)
    return Error(EFBIG).with("a {} record of {} bytes; at most {} are possible", to_string(record.kind),
                             body.size() + record.data.size(), kRecordBodyMaxBytes - kTimeBytes);
  return {};
}

std::uint8_t flags_of(const Record& record, const std::string& body) {
  unsigned flags = 0;
  if (record.last_link) flags |= kLastLink;
  if (record.exchange) flags |= kExchange;
  if (record.keep_size) flags |= kKeepSize;
  if (!body.empty()) flags |= kHasBody;
  if (!record.data.empty()) flags |= kInlineData;
  if (record.time_ns != record.hlc.ns) flags |= kExplicitTime;
  if (record.tx.phase == TxPhase::kPrepared) flags |= kTxPrepared;
  if (record.tx.phase == TxPhase::kEcho) flags |= kTxEcho;
  return static_cast<std::uint8_t>(flags);
}

/// Which parts the body has must follow from the flags, so that a record has one encoding only.
Result<void> check_body_size(RecordKind kind, unsigned flags, std::size_t body_bytes, std::uint64_t length) {
  if (flags & kExplicitTime) {
    if (body_bytes < kTimeBytes)
      return Error(EUCLEAN).with("a body of {} bytes without its time", body_bytes);
    body_bytes -= kTimeBytes;
  }
  if (flags & kInlineData) {
    if (kind != RecordKind::kWrite || flags & kHasBody)
      return Error(EUCLEAN).with("data in a {} record (flags {:#x})", to_string(kind), flags);
    if (body_bytes != length || length == 0)
      return Error(EUCLEAN).with("{} bytes of data for {} bytes", body_bytes, length);
    return {};
  }
  bool expected = flags & kHasBody;
  if (expected != (body_bytes > 0))
    return Error(EUCLEAN).with("a body of {} bytes with flags {:#x}", body_bytes, flags);
  return {};
}

Result<void> check_header(const std::byte* at) {
  auto kind = static_cast<RecordKind>(load_le<std::uint8_t>(at + kKindAt));
  auto flags = load_le<std::uint8_t>(at + kFlagsAt);
  auto body_bytes = load_le<std::uint32_t>(at + kBodyBytesAt);
  if (to_string(kind) == "unknown")
    return Error(EUCLEAN).with("record of unknown kind {}", static_cast<unsigned>(kind));
  if ((flags & kTxPrepared) && (flags & kTxEcho))
    return Error(EUCLEAN).with("record with contradicting flags {:#x}", flags);
  if (body_bytes > kRecordBodyMaxBytes)
    return Error(EUCLEAN).with("a body of {} bytes; at most {} are possible", body_bytes,
                               kRecordBodyMaxBytes);
  return check_body_size(kind, flags, body_bytes, load_le<std::uint64_t>(at + kLengthAt));
}

Record header_fields(const std::byte* at, std::uint64_t first_index) {
  Record record;
  record.index = first_index + load_le<std::uint32_t>(at + kIndexDeltaAt);
  record.session = load_le<std::uint32_t>(at + kSessionAt);
  record.kind = static_cast<RecordKind>(load_le<std::uint8_t>(at + kKindAt));
  auto flags = load_le<std::uint8_t>(at + kFlagsAt);
  record.last_link = flags & kLastLink;
  record.exchange = flags & kExchange;
  record.keep_size = flags & kKeepSize;
  record.sequence = std::uint64_t{load_le<std::uint16_t>(at + kSequenceHighAt)} << 32 |
                    load_le<std::uint32_t>(at + kSequenceLowAt);
  record.hlc.ns = load_le<std::uint64_t>(at + kHlcAt);
  record.time_ns = record.hlc.ns;
  std::memcpy(record.gfid.bytes.data(), at + kGfidAt, record.gfid.bytes.size());
  record.offset = load_le<std::uint64_t>(at + kOffsetAt);
  record.length = load_le<std::uint64_t>(at + kLengthAt);
  return record;
}

Result<void> set_phase(Record& record, unsigned flags) {
  const bool part = flags & (kTxPrepared | kTxEcho);
  if (record.tx.id.number == 0)
    return part ? Result<void>(Error(EUCLEAN).with("flags {:#x} without a transaction", flags))
                : Result<void>();
  record.tx.phase = flags & kTxPrepared ? TxPhase::kPrepared
                    : flags & kTxEcho   ? TxPhase::kEcho
                                        : TxPhase::kDecided;
  return {};
}

/// `crc_seed` is what the checksum covers before the record.
Result<Record> decode_at(const Buffer& bytes, std::uint64_t first_index, std::uint32_t crc_seed) {
  TRY(auto size, record_size(bytes.bytes()));
  if (size != bytes.size())
    return Error(EUCLEAN).with("a record of {} bytes in {} bytes", size, bytes.size());
  const std::byte* at = bytes.data();
  auto stored = load_le<std::uint32_t>(at + kCrcAt);
  auto computed = crc32c(crc_seed, bytes.bytes().subspan(kBodyBytesAt));
  if (stored != computed) return Error(EUCLEAN).with("checksum {:08x} instead of {:08x}", computed, stored);

  Record record = header_fields(at, first_index);
  auto flags = load_le<std::uint8_t>(at + kFlagsAt);
  std::size_t body_at = kRecordHeaderBytes;
  if (flags & kExplicitTime) {
    record.time_ns = load_le<std::uint64_t>(at + body_at);
    body_at += kTimeBytes;
  }
  if (flags & kInlineData) record.data = bytes.slice(body_at, bytes.size() - body_at);
  if (flags & kHasBody) {
    TRY(decode_body(bytes.bytes().subspan(body_at), record).with("{} record", to_string(record.kind)));
  }
  TRY(set_phase(record, flags));
  return record;
}

ConstBytes index_bytes(const std::uint64_t& index) {
  return std::as_bytes(std::span(&index, 1));
}

}  // namespace

struct RecordEncoder {
  EncodedRecord out;

  /// The header goes to `at` of the head; what is before it is the caller's and starts the checksum.
  Result<EncodedRecord> encode(const Record& record, std::size_t prefix_bytes, std::uint32_t index_delta) {
    out.body_ = encode_body(record);
    TRY(check_encodable(record, out.body_));
    out.data_ = record.data;
    out.head_bytes_ = prefix_bytes + kRecordHeaderBytes;
    std::byte* at = out.head_.data() + prefix_bytes;
    auto flags = flags_of(record, out.body_);
    if (flags & kExplicitTime) {
      store_le(at + kRecordHeaderBytes, record.time_ns);
      out.head_bytes_ += kTimeBytes;
    }
    auto body_bytes = out.size() - prefix_bytes - kRecordHeaderBytes;
    store_le(at + kBodyBytesAt, static_cast<std::uint32_t>(body_bytes));
    store_le(at + kIndexDeltaAt, index_delta);
    store_le(at + kSessionAt, record.session);
    store_le(at + kKindAt, static_cast<std::uint8_t>(record.kind));
    store_le(at + kFlagsAt, flags);
    store_le(at + kSequenceHighAt, static_cast<std::uint16_t>(record.sequence >> 32));
    store_le(at + kSequenceLowAt, static_cast<std::uint32_t>(record.sequence));
    store_le(at + kHlcAt, record.hlc.ns);
    std::memcpy(at + kGfidAt, record.gfid.bytes.data(), record.gfid.bytes.size());
    store_le(at + kOffsetAt, record.offset);
    store_le(at + kLengthAt, record.length);
    store_le(at + kCrcAt, checksum(prefix_bytes));
    return std::move(out);
  }

  std::uint32_t checksum(std::size_t prefix_bytes) const {
    ConstBytes head(out.head_.data(), out.head_bytes_);
    auto crc = crc32c(0, head.first(prefix_bytes));
    crc = crc32c(crc, head.subspan(prefix_bytes + kBodyBytesAt));
    crc = crc32c(crc, as_bytes(out.body_));
    return crc32c(crc, out.data_.bytes());
  }

  void put_prefix(std::uint64_t index) { store_le(out.head_.data(), index); }
};

std::array<ConstBytes, 3> EncodedRecord::pieces() const {
  return {ConstBytes(head_.data(), head_bytes_), as_bytes(body_), data_.bytes()};
}

void EncodedRecord::append_to(std::string& out) const {
  for (ConstBytes piece : pieces()) out.append(as_text(piece));
}

Result<EncodedRecord> encode_record(const Record& record, std::uint64_t first_index) {
  if (record.index < first_index || record.index - first_index > UINT32_MAX)
    return Error(EINVAL).with("record {} cannot be in the segment that starts at {}", record.index,
                              first_index);
  return RecordEncoder().encode(record, 0, static_cast<std::uint32_t>(record.index - first_index));
}

Result<std::size_t> record_size(ConstBytes header) {
  if (header.size() < kRecordHeaderBytes)
    return Error(EUCLEAN).with("{} bytes are too few for a record", header.size());
  TRY(check_header(header.data()));
  return kRecordHeaderBytes + load_le<std::uint32_t>(header.data() + kBodyBytesAt);
}

Result<Record> decode_record(const Buffer& bytes, std::uint64_t first_index) {
  return decode_at(bytes, first_index, 0);
}

Result<EncodedRecord> encode_record_message(const Record& record) {
  RecordEncoder encoder;
  encoder.put_prefix(record.index);
  return encoder.encode(record, kMessagePrefixBytes, 0);
}

Result<void> append_record_message(std::string& out, const Record& record) {
  TRY(auto encoded, encode_record_message(record));
  encoded.append_to(out);
  return {};
}

Result<Record> decode_record_message(const Buffer& bytes, std::size_t& offset) {
  auto wrong = [&](const Error& error) {
    return Error(EPROTO).with("record at byte {}: {}", offset, error.context());
  };
  if (offset > bytes.size() || bytes.size() - offset < kMessagePrefixBytes + kRecordHeaderBytes)
    return wrong(Error(EUCLEAN).with("the message ends inside it"));
  auto index = load_le<std::uint64_t>(bytes.data() + offset);
  auto start = offset + kMessagePrefixBytes;
  auto size = record_size(bytes.bytes().subspan(start));
  if (!size) return wrong(size.error());
  if (*size > bytes.size() - start) return wrong(Error(EUCLEAN).with("the message ends inside it"));
  if (load_le<std::uint32_t>(bytes.data() + start + kIndexDeltaAt) != 0)
    return wrong(Error(EUCLEAN).with("a relative index in a message"));
  auto record = decode_at(bytes.slice(start, *size), index, crc32c(0, index_bytes(index)));
  if (!record) return wrong(record.error());
  offset = start + *size;
  return record;
}

}  // namespace polder
