// SPDX-License-Identifier: GPL-3.0-or-later
// What a changelog directory holds, found by reading it; and where a log that was cut short ends. Nothing
// here writes.
#pragma once
#include <map>
#include <optional>
#include <vector>

#include "changelog/journal/catalogue.h"
#include "changelog/journal/segment_stream.h"

namespace polder {

struct DirectoryListing {
  std::map<std::uint64_t, SegmentName> segments;  // by first index; the compressed one where both are there
  std::vector<std::string> temporaries;           // of interrupted steps
  std::vector<std::string> superseded;            // plain segments whose compressed form is there, too
};
Result<DirectoryListing> list_segments(Disk& disk, int dir);

/// One segment, read to where its records stop.
struct ScannedSegment {
  SegmentHeader header;
  SegmentInfo info;         // of the sound part; stored_bytes is the file's size
  std::uint64_t zeros = 0;  // at the file's end: room for records, and perhaps the last bytes of one
  std::vector<SeekPoint> points;
  ContentHash hash;
  /// Why the records stop at byte info.bytes although the file goes on.
  std::optional<SegmentStep> stop;
};
Result<ScannedSegment> scan_segment(Disk& disk, int dir, const SegmentName& name);

/// What is known about the end of the log besides its bytes.
struct TailEvidence {
  std::string boot_id;             // base/page_cache.h
  std::uint64_t proven_index = 0;  // records <= it were stable once: a checkpoint or a cursor says so
};
/// For the newest segment with a `stop`. Under the kernel that wrote it only a record that was being appended
/// when the process died can be cut short, as the last thing in the file; after a power loss anything that
/// was not synced may be missing. Everything else is damage: EUCLEAN names the place.
Result<void> check_torn_tail(Disk& disk, int dir, const ScannedSegment& scanned,
                             const TailEvidence& evidence);

/// `next` must follow `previous`: EUCLEAN when records are missing between them.
Result<void> check_contiguous(const SegmentInfo& previous, const SegmentInfo& next);

}  // namespace polder
