// SPDX-License-Identifier: GPL-3.0-or-later
// Segments: names, header, and what is known of one. Format: docs/formats/changelog.md.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/buffer.h"
#include "base/hlc.h"
#include "base/result.h"
#include "changelog/journal/journal.h"

struct XXH3_state_s;

namespace polder {

inline constexpr std::size_t kSegmentHeaderBytes = 128;
inline constexpr std::uint32_t kJournalFormat = 1;
inline constexpr std::size_t kBootIdBytes = 40;  // in headers: text, padded with zeros

struct SegmentHeader {
  JournalIdentity identity;
  /// Rises when the kernel that wrote may have lost something: another boot, or a failed sync.
  std::uint64_t incarnation = 1;
  std::uint64_t first_index = 1;
  Hlc created;  // above every record before, below every record in it
  std::string boot_id;
};

std::array<std::byte, kSegmentHeaderBytes> encode_segment_header(const SegmentHeader& header);
/// EUCLEAN says what is wrong.
Result<SegmentHeader> decode_segment_header(ConstBytes bytes);

struct SegmentName {
  std::uint64_t first_index = 0;
  bool compressed = false;
  std::string text() const;  // 20 digits, ".log" or ".log.zst"
};
std::optional<SegmentName> parse_segment_name(std::string_view text);

/// `content` and `bytes` below always mean the uncompressed file.
struct SegmentInfo {
  std::uint64_t first_index = 1;
  std::uint64_t last_index = 0;  // first_index - 1: no records
  Hlc first_hlc, last_hlc;       // of records; of an empty segment: when it was created
  std::uint64_t bytes = 0;
  std::uint64_t stored_bytes = 0;  // on disk
  std::uint64_t term = 1;
  std::string content_xxh3_128;  // 32 hex digits, as `xxh128sum` prints them; empty while not sealed
  bool compressed = false;
  bool sealed = false;

  SegmentName name() const { return {first_index, compressed}; }
  std::uint64_t records() const { return last_index + 1 - first_index; }
};

/// XXH3-128 of a content that comes in pieces.
class ContentHash {
 public:
  ContentHash();
  void update(ConstBytes bytes);
  std::string hex() const;

 private:
  struct Free {
    void operator()(XXH3_state_s* state) const;
  };
  std::unique_ptr<XXH3_state_s, Free> state_;
};

/// The one wording for damage: EUCLEAN, "changelog segment NAME, byte N: WHAT".
Error damage_error(const JournalDamage& damage);

}  // namespace polder
