// SPDX-License-Identifier: GPL-3.0-or-later
#include "changelog/journal/segment_format.h"

#include <xxhash.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include "base/crc32c.h"
#include "changelog/record/little_endian.h"

namespace polder {

namespace {

constexpr std::string_view kMagic = "POLDERCL";
constexpr std::size_t kCrcAt = 8, kVersionAt = 12, kLineageAt = 16, kSetAt = 32, kHeaderBytesAt = 36,
                      kTermAt = 40, kIncarnationAt = 48, kFirstIndexAt = 56, kCreatedAt = 64, kBootIdAt = 72,
                      kReservedAt = 112;
static_assert(kBootIdAt + kBootIdBytes == kReservedAt && kReservedAt + 16 == kSegmentHeaderBytes);

constexpr std::size_t kIndexDigits = 20;
constexpr std::string_view kPlainSuffix = ".log", kCompressedSuffix = ".log.zst";

}  // namespace

std::array<std::byte, kSegmentHeaderBytes> encode_segment_header(const SegmentHeader& header) {
  std::array<std::byte, kSegmentHeaderBytes> out{};
  std::byte* at = out.data();
  std::memcpy(at, kMagic.data(), kMagic.size());
  store_le(at + kVersionAt, kJournalFormat);
  std::memcpy(at + kLineageAt, header.identity.lineage.bytes.data(), 16);
  store_le(at + kSetAt, header.identity.set);
  store_le(at + kHeaderBytesAt, static_cast<std::uint32_t>(kSegmentHeaderBytes));
  store_le(at + kTermAt, header.identity.term);
  store_le(at + kIncarnationAt, header.incarnation);
  store_le(at + kFirstIndexAt, header.first_index);
  store_le(at + kCreatedAt, header.created.ns);
  std::memcpy(at + kBootIdAt, header.boot_id.data(), std::min(header.boot_id.size(), kBootIdBytes));
  store_le(at + kCrcAt, crc32c(0, ConstBytes(out).subspan(kVersionAt)));
  return out;
}

Result<SegmentHeader> decode_segment_header(ConstBytes bytes) {
  if (bytes.size() < kSegmentHeaderBytes)
    return Error(EUCLEAN).with("{} bytes are too few for the segment's header", bytes.size());
  const std::byte* at = bytes.data();
  if (as_text(bytes.first(kMagic.size())) != kMagic) return Error(EUCLEAN).with("not a changelog segment");
  auto version = load_le<std::uint32_t>(at + kVersionAt);
  auto stored = load_le<std::uint32_t>(at + kCrcAt);
  if (stored != crc32c(0, bytes.subspan(kVersionAt, kSegmentHeaderBytes - kVersionAt)))
    return Error(EUCLEAN).with("the segment's header does not match its checksum");
  if (version != kJournalFormat)
    return Error(EUCLEAN).with("changelog format {}; this program knows format {}", version, kJournalFormat);
  SegmentHeader header;
  std::memcpy(header.identity.lineage.bytes.data(), at + kLineageAt, 16);
  header.identity.set = load_le<std::uint32_t>(at + kSetAt);
  header.identity.term = load_le<std::uint64_t>(at + kTermAt);
  header.incarnation = load_le<std::uint64_t>(at + kIncarnationAt);
  header.first_index = load_le<std::uint64_t>(at + kFirstIndexAt);
  header.created.ns = load_le<std::uint64_t>(at + kCreatedAt);
  auto boot_id = as_text(bytes.subspan(kBootIdAt, kBootIdBytes));
  header.boot_id = boot_id.substr(0, boot_id.find('\0'));
  if (load_le<std::uint32_t>(at + kHeaderBytesAt) != kSegmentHeaderBytes || header.first_index == 0)
    return Error(EUCLEAN).with("the segment's header contradicts itself");
  return header;
}

std::string SegmentName::text() const {
  return fmt::format("{:020}{}", first_index, compressed ? kCompressedSuffix : kPlainSuffix);
}

std::optional<SegmentName> parse_segment_name(std::string_view text) {
  if (text.size() < kIndexDigits) return std::nullopt;
  SegmentName name;
  auto suffix = text.substr(kIndexDigits);
  if (suffix != kPlainSuffix && suffix != kCompressedSuffix) return std::nullopt;
  name.compressed = suffix == kCompressedSuffix;
  const char* end = text.data() + kIndexDigits;
  auto [stop, error] = std::from_chars(text.data(), end, name.first_index);
  if (error != std::errc() || stop != end || name.first_index == 0) return std::nullopt;
  return name;
}

void ContentHash::Free::operator()(XXH3_state_s* state) const {
  XXH3_freeState(state);
}

ContentHash::ContentHash() : state_(XXH3_createState()) {
  XXH3_128bits_reset(state_.get());
}

void ContentHash::update(ConstBytes bytes) {
  if (!bytes.empty()) XXH3_128bits_update(state_.get(), bytes.data(), bytes.size());
}

std::string ContentHash::hex() const {
  auto hash = XXH3_128bits_digest(state_.get());
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

Error damage_error(const JournalDamage& damage) {
  return Error(EUCLEAN).with("changelog segment {}, byte {}: {}", damage.segment, damage.byte, damage.what);
}

}  // namespace polder
