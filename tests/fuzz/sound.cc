// SPDX-License-Identifier: GPL-3.0-or-later
// Places of fields: docs/formats/changelog.md and georep-stream.md.
#include "tests/fuzz/sound.h"

#include <algorithm>

#include "base/crc32c.h"
#include "changelog/journal/segment_format.h"
#include "changelog/record/codec.h"
#include "changelog/record/little_endian.h"

namespace polder::fuzz {
namespace {

constexpr std::size_t kRecordBodyBytesAt = 4, kSegmentCrcAt = 8, kSegmentVersionAt = 12,
                      kSegmentBootIdAt = 72, kSpoolHeaderBytes = 12;

Bytes writable(std::string& text) {
  return std::as_writable_bytes(std::span(text));
}

/// Puts the checksum of the record that `bytes` begins with right; its size, or 0 when that is none.
std::size_t fix_record(Bytes bytes, std::uint32_t crc) {
  if (bytes.size() < kRecordHeaderBytes) return 0;
  const std::size_t body_bytes = load_le<std::uint32_t>(bytes.data() + kRecordBodyBytesAt);
  if (body_bytes > bytes.size() - kRecordHeaderBytes) return 0;
  const auto record = bytes.first(kRecordHeaderBytes + body_bytes);
  store_le(record.data(), crc32c(crc, record.subspan(kRecordBodyBytesAt)));
  return record.size();
}

void fix_records(Bytes bytes) {
  while (true) {
    const auto size = fix_record(bytes, 0);
    if (size == 0) return;
    bytes = bytes.subspan(size);
  }
}

}  // namespace

std::string sound_record(ConstBytes bytes) {
  std::string out(as_text(bytes));
  fix_record(writable(out), 0);
  return out;
}

std::string sound_messages(ConstBytes bytes) {
  std::string out(as_text(bytes));
  auto rest = writable(out);
  while (rest.size() > kMessagePrefixBytes) {
    const auto seed = crc32c(0, rest.first(kMessagePrefixBytes));
    const auto size = fix_record(rest.subspan(kMessagePrefixBytes), seed);
    if (size == 0) break;
    rest = rest.subspan(kMessagePrefixBytes + size);
  }
  return out;
}

std::string sound_segment(ConstBytes bytes, std::string_view boot_id) {
  std::string out(as_text(bytes));
  if (out.size() < kSegmentHeaderBytes) return out;
  out.replace(0, 8, "POLDERCL");
  if (!boot_id.empty()) {
    out.replace(kSegmentBootIdAt, kBootIdBytes, std::string(kBootIdBytes, '\0'));
    out.replace(kSegmentBootIdAt, std::min(boot_id.size(), kBootIdBytes), boot_id.substr(0, kBootIdBytes));
  }
  const auto header = writable(out).first(kSegmentHeaderBytes);
  store_le(header.data() + kSegmentCrcAt, crc32c(0, header.subspan(kSegmentVersionAt)));
  fix_records(writable(out).subspan(kSegmentHeaderBytes));
  return out;
}

std::string sound_spool(ConstBytes bytes) {
  std::string out(as_text(bytes));
  auto rest = writable(out);
  while (rest.size() >= kSpoolHeaderBytes) {
    const std::size_t body_bytes =
        std::size_t{load_le<std::uint32_t>(&rest[4])} + load_le<std::uint32_t>(&rest[8]);
    if (body_bytes > rest.size() - kSpoolHeaderBytes) break;
    const auto frame = rest.first(kSpoolHeaderBytes + body_bytes);
    store_le(frame.data(), crc32c(0, frame.subspan(4)));
    rest = rest.subspan(frame.size());
  }
  return out;
}

}  // namespace polder::fuzz
