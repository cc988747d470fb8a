// SPDX-License-Identifier: GPL-3.0-or-later
// OrderingLayer::StartLog: records in which a start says what an object is now. They are applied here, too,
// and change nothing that a user sees; for who follows the log they do. On a worker.
#pragma once
#include <vector>

#include "core-volume/layers/ordering/ordering.h"

namespace polder {

class OrderingLayer::StartLog {
 public:
  explicit StartLog(OrderingLayer& layer) : layer_(layer), store_(layer.store_) {}

  Record begin(RecordKind kind, const Gfid& gfid) { return layer_.begin({}, kind, gfid); }
  /// Where the disk is full the reserve is for this: a start must not fail for it.
  Result<void> commit(Record& record);

  /// kCreate or kSetattr with the object's ctime.
  Result<void> state(RecordKind kind, const Gfid& gfid, const ObjectState& state, const timespec& ctime);
  /// The size, and the bytes: of a small file as they are, of others which may have changed. With the
  /// mtime that the file has, since the power may go before state() follows.
  Result<void> content(const Gfid& gfid, std::uint64_t size, const timespec& mtime,
                       std::vector<Extent> changed);

 private:
  Result<void> all_bytes(const Gfid& gfid, std::uint64_t size, std::uint64_t mtime_ns);
  Result<void> hole(Record record, std::uint64_t length);
  Result<void> data(Record record, std::uint64_t length);

  OrderingLayer& layer_;
  Store& store_;
  std::uint64_t room_in_log_ = 16 << 20;  // … and this much in all
};

}  // namespace polder
