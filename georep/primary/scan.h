// SPDX-License-Identifier: GPL-3.0-or-later
// Scan: a first sync or a rescan as pieces, by identity, not by path. Three passes over the brick: all
// objects with their data; all names; the directories' final times. A rescan also says of each directory that
// it has no other names, and sends files that a delta is worth it for against what the secondary has of them.
// Resumable at every piece by its cursor; what changes meanwhile is in the log.
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
  static Result<std::unique_ptr<Scan>> begin(Store& store, const std::string& cursor, bool rescan);

  /// About so many bytes of data or records. The first pieces are smaller, each twice the one before: a piece
  /// begins anew with its connection, and over one that breaks again and again small ones get through.
  Result<ScanPiece> next();

  static constexpr std::uint64_t kPieceBytes = 16u << 20;
  static constexpr std::size_t kPieceRecords = 4096;
  static constexpr std::size_t kFirstPiece = 64;  // part of both

  static constexpr std::uint64_t kDeltaMin_bytes = 64 << 10;  // smaller files are sent whole
  static constexpr std::uint64_t kDeltaMax_bytes = 1 << 30;   // a file and its fallback are in one piece

 private:
  enum class Pass { kObjects, kNames, kDirectories, kDone };

  Scan(Store& store, bool rescan) : store_(store), rescan_(rescan) {}
  Result<void> parse(const std::string& cursor);
  std::string cursor() const;
  bool full(const ScanPiece& piece) const;
  Result<void> step(ScanPiece& piece);
  Result<bool> advance();  // to the next object; false at the end of the pass
  Result<void> add_object(ScanPiece& piece);
  Result<void> add_data(ScanPiece& piece);
  Result<bool> add_delta(ScanPiece& piece);  // false: not worth it
  Result<void> finish_file(ScanPiece& piece);
  Result<void> add_names(ScanPiece& piece);
  Result<void> add_listing(ScanPiece& piece);
  void add_records(ScanPiece& piece, std::vector<Record> records);

  Store& store_;
  const bool rescan_;
  Pass pass_ = Pass::kObjects;
  std::unique_ptr<StoreScan> scan_;
  std::vector<ScanItem> items_;  // of the pass, last first
  ScanItem item_;                // the one in work
  bool in_item_ = false;
  bool objects_half_ = false;  // item_ came from the second half of the flat scan
  std::uint64_t place_ = 0;    // within item_: offset of data, or cookie of names
  std::uint64_t piece_bytes_ = 0;
  std::size_t part_ = kFirstPiece;  // the next piece is that part of a whole one
};

}  // namespace polder::georep
