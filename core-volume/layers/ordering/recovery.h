// SPDX-License-Identifier: GPL-3.0-or-later
// OrderingLayer::Recovery: what a start knows while it does the log's tail again.
#pragma once
#include "core-volume/layer/no_room.h"
#include "core-volume/layers/ordering/ordering.h"
#include "core-volume/layers/store/survey.h"

namespace polder {

struct OrderingLayer::Recovery {
  bool same_boot = true;
  std::set<std::uint64_t> unapplied;
  std::set<std::uint64_t> bytes_lost;                 // writes that did not happen, or not as a whole
  std::map<Gfid, std::vector<Record>> opaque_writes;  // those of bytes_lost, by object
  struct Shown {
    Gfid before, after;  // nil: nothing
  };
  // Of another boot.
  std::map<EntryName, Shown> names;  // what the file system showed, and what the records say
  Store::LostNames lost;             // what the redo took away
  std::optional<Survey> survey;      // when somebody has asked

  std::vector<Extent> uncovered(const Record& record) const;
  /// A write that a full disk or its owner's quota refuses, as it would have been when it was sent: nobody
  /// was told of it, and it says no more than that bytes may have changed. So no user's quota keeps a brick
  /// from starting.
  bool may_refuse(const Record& record, const Error& why) const {
    return is_no_room(why) && same_boot && unapplied.contains(record.index) &&
           record.kind == RecordKind::kWrite;
  }
};

}  // namespace polder
