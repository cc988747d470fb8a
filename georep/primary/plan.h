// SPDX-License-Identifier: GPL-3.0-or-later
// Planning a cut: which records travel as they are, which bytes are read from files, which files go as
// deltas. Pure: no input or output, so every rule has a test. The rules: docs/formats/georep-stream.md, "What
// goes into a cut".
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <variant>
#include <vector>

#include "changelog/record/record.h"

namespace polder::georep {

/// records[first, first + count) travel as they are.
struct RecordsItem {
  std::size_t first = 0;
  std::size_t count = 0;
};

/// Bytes to be read from the file as it is when they are sent.
struct ExtentItem {
  std::uint64_t index = 0;  // of the last kWrite record that it stands for
  Gfid gfid;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  std::uint64_t time_ns = 0;
  /// Holes are told, too: what the secondary has there is older. Not where nothing can be.
  bool with_holes = false;
};

/// The whole content of `gfid` as a delta against `basis`, or, where that is not possible, the extents it
/// replaces.
struct DeltaItem {
  std::uint64_t index = 0;
  Gfid gfid;
  Gfid basis;
  std::uint64_t time_ns = 0;
  std::vector<ExtentItem> extents;
};

using PlanItem = std::variant<RecordsItem, ExtentItem, DeltaItem>;

/// Items in the order of their index; that order, and each item but a delta, follow from the records alone,
/// so an interrupted cut is planned again the same way and resumed at (index, extent, offset).
struct CutPlan {
  std::vector<Record> records;  // those that travel: everything but data-less kWrite
  std::vector<PlanItem> items;
  std::uint64_t upto_index = 0;
  /// The records tell what was found in the volume, not what the log says.
  bool of_state = false;

  /// What the secondary gets may be newer than the cut: what it says was read when it was made or sent.
  bool is_read_from_volume() const;
};

struct PlanLimits {
  std::size_t records_per_item = 1024;
  std::uint64_t delta_min_bytes = 64 * 1024;  // smaller rewritten files are sent whole
};

/// `renamed_over`: new file → file it displaced, from rename records in or after this cut.
CutPlan plan_cut(std::vector<Record> records, const std::map<Gfid, Gfid>& renamed_over,
                 const PlanLimits& limits = {});

/// New file → the file that is the basis of its delta: the one that its rename displaced, for files created
/// in `records`; itself, for a file that a start after a power loss has found (kFoundBegin): the secondary
/// has most of it.
std::map<Gfid, Gfid> find_renamed_over(std::span<const Record> records);

/// How many of `records` go into the next cut: all, or those before the kCreate of a file with bulk data for
/// which `still_written` holds (open and young: its rename may be about to come). 0: wait.
std::size_t choose_cut(std::span<const Record> records,
                       const std::function<bool(const Record& create)>& still_written);

}  // namespace polder::georep
