// SPDX-License-Identifier: GPL-3.0-or-later
// Scan: the first sync as pieces, by identity, not by path. Three passes over the brick: all objects with
// their data; all names; the directories' final times. Resumable at every piece by its cursor; what changes
// meanwhile is in the log.
#pragma once
#include <memory>
#include <string>

#include "core-volume/layers/store/scan.h"
#include "core-volume/layers/store/store.h"
#include "georep/primary/plan.h"

namespace polder::georep {

struct ScanPiece {
  CutPlan plan;  // items in order; their indexes mean nothing
  std::string cursor;
  bool done = false;
  std::uint64_t objects = 0;  // how many objects were finished in it
};

/// Blocks: call on a worker, one thread at a time.
class Scan {
 public:
  /// `cursor`: of the last piece that is durable on the secondary, or empty. EINVAL when it is none of ours.
  static Result<std::unique_ptr<Scan>> begin(Store& store, const std::string& cursor);

  /// About `piece_bytes` of data or `piece_records` records.
  Result<ScanPiece> next();

  static constexpr std::uint64_t kPieceBytes = 16u << 20;
  static constexpr std::size_t kPieceRecords = 4096;

 private:
  enum class Pass { kObjects, kNames, kDirectories, kDone };

  explicit Scan(Store& store) : store_(store) {}
  Result<void> parse(const std::string& cursor);
  std::string cursor() const;
  bool full(const ScanPiece& piece) const;
  Result<void> step(ScanPiece& piece);
  Result<bool> advance();  // to the next object; false at the end of the pass
  Result<void> add_object(ScanPiece& piece);
  Result<void> add_data(ScanPiece& piece);
  Result<void> add_names(ScanPiece& piece);
  void add_records(ScanPiece& piece, std::vector<Record> records);

  Store& store_;
  Pass pass_ = Pass::kObjects;
  std::unique_ptr<StoreScan> scan_;
  std::vector<ScanItem> items_;  // of the pass, last first
  ScanItem item_;                // the one in work
  bool in_item_ = false;
  bool objects_half_ = false;  // item_ came from the second half of the flat scan
  std::uint64_t place_ = 0;    // within item_: offset of data, or cookie of names
  std::uint64_t piece_bytes_ = 0;
};

}  // namespace polder::georep
