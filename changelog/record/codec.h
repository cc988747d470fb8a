// SPDX-License-Identifier: GPL-3.0-or-later
// Records as bytes: in segments (index relative to the segment) and as messages (index absolute). The format
// is docs/formats/changelog.md. Whatever is decoded is hostile until checked: every length, flag and kind.
// What a record may say is not checked here (core-volume/layer/record_rules.h).
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "base/buffer.h"
#include "base/result.h"
#include "changelog/record/record.h"

namespace polder {

inline constexpr std::size_t kRecordHeaderBytes = 64;
/// Larger bodies are refused on both sides: one record is one buffer in memory.
inline constexpr std::size_t kRecordBodyMaxBytes = 16u << 20;
/// A message is a record with its 8-byte index before it.
inline constexpr std::size_t kMessagePrefixBytes = 8;

/// A record ready to be written; nothing of the payload was copied. Move it freely, the pieces are made on
/// demand.
class EncodedRecord {
 public:
  std::size_t size() const { return head_bytes_ + body_.size() + data_.size(); }
  /// To be written one after the other; valid while this object stays where it is.
  std::array<ConstBytes, 3> pieces() const;
  void append_to(std::string& out) const;

 private:
  friend struct RecordEncoder;
  std::array<std::byte, kMessagePrefixBytes + kRecordHeaderBytes + 8> head_;
  std::size_t head_bytes_ = 0;
  std::string body_;
  Buffer data_;
};

/// For a segment that starts at `first_index`. EINVAL or EFBIG name what the format cannot hold.
Result<EncodedRecord> encode_record(const Record& record, std::uint64_t first_index);

/// Size of the whole record by its header (at least kRecordHeaderBytes). EUCLEAN when no sound header says
/// so; the checksum is not looked at.
Result<std::size_t> record_size(ConstBytes header);
/// `bytes` is exactly one record. Its data is a slice of `bytes`. EUCLEAN says what is wrong.
Result<Record> decode_record(const Buffer& bytes, std::uint64_t first_index);

/// A record on its own: for the geo-replication stream, its spool and replay over rpc. Carries the index.
Result<EncodedRecord> encode_record_message(const Record& record);
/// The same, appended to `out` (copies the data).
Result<void> append_record_message(std::string& out, const Record& record);
/// Decodes the message at `offset` of `bytes` and moves `offset` behind it; messages follow one another
/// without gaps. The record's data is a slice of `bytes`. EPROTO says what is wrong; `offset` stays then.
Result<Record> decode_record_message(const Buffer& bytes, std::size_t& offset);

}  // namespace polder
