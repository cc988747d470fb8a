// SPDX-License-Identifier: GPL-3.0-or-later
// Transfer: sends the items of one cut: records, bytes of files as they are now, deltas. Reads on workers,
// sends on the loop.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "base/concurrency.h"
#include "base/seams.h"
#include "changelog/journal/journal.h"
#include "core-volume/layers/store/store.h"
#include "georep/primary/plan.h"
#include "georep/protocol/stream.h"

namespace polder::georep {

class DeltaResult;
class Signature;

/// How far an unfinished cut is on the secondary already.
struct ResumePoint {
  std::uint64_t index = 0;         // everything of records <= index is there
  std::uint64_t extent_index = 0;  // and of the extents at this index …
  Gfid extent_gfid;
  std::uint64_t extent_end = 0;  // … the bytes below
};

/// What the secondary answers while a cut is being sent; filled in by whoever reads the stream.
class Answers {
 public:
  /// ETIMEDOUT after a minute, ECONNRESET when the connection ended.
  Task<Result<StreamFrame>> wait_for_signature(Clock& clock);
  Task<Result<bool>> wait_for_delta_result(Clock& clock);
  void signature(StreamFrame frame);
  void delta_result(bool ok);
  void end();

 private:
  Event arrived_;
  std::optional<StreamFrame> signature_;
  std::optional<bool> delta_result_;
  bool ended_ = false;
};

class Transfer {
 public:
  /// `scratch_directory`: for deltas that are being made. `base` gives lineage, set and term of positions.
  Transfer(Seams& seams, Store& store, GeorepStream& stream, Answers& answers, std::string scratch_directory,
           JournalPosition base)
      : seams_(seams),
        store_(store),
        stream_(stream),
        answers_(answers),
        scratch_directory_(std::move(scratch_directory)),
        base_(base) {}

  /// Sends all items of `plan` as frames of `cut`, except what `resume` says is there.
  Task<Result<void>> send_items(std::uint64_t cut, const CutPlan& plan, const ResumePoint& resume);
  Task<Result<void>> send_records(std::uint64_t cut, std::span<const Record> records);
  Task<Result<void>> send_extent(std::uint64_t cut, const ExtentItem& extent, const ResumePoint& resume);
  std::uint64_t frames() const { return frames_; }

 private:
  Task<Result<void>> send_delta(std::uint64_t cut, const DeltaItem& item);
  Task<Result<bool>> try_delta(std::uint64_t cut, const DeltaItem& item);
  Task<Result<bool>> send_delta_file(std::uint64_t cut, const DeltaItem& item, DiskFile& file,
                                     std::uint64_t delta_bytes, std::uint64_t content_bytes,
                                     const std::string& hash);
  JournalPosition at(std::uint64_t index) const {
    auto position = base_;
    position.index = index;
    return position;
  }

  Seams& seams_;
  Store& store_;
  GeorepStream& stream_;
  Answers& answers_;
  const std::string scratch_directory_;
  const JournalPosition base_;
  std::uint64_t frames_ = 0;
};

}  // namespace polder::georep
