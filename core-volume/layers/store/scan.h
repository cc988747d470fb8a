// SPDX-License-Identifier: GPL-3.0-or-later
// StoreScan: everything of a brick by identity: for a first sync, and for checks.
#pragma once
#include <vector>

#include "base/gfid.h"
#include "base/result.h"

namespace polder {

class Store;

/// Where a scan is: resume after this object.
struct ScanCursor {
  bool objects = false;  // directories come first
  Gfid last;
};

struct ScanItem {
  Gfid gfid;
  bool directory = false;
};

/// Owned by one worker at a time; the Store outlives it.
class StoreScan {
 public:
  StoreScan(Store& store, const ScanCursor& from) : store_(store), cursor_(from) {}
  /// Up to `max_items`; empty at the end.
  Result<std::vector<ScanItem>> next(std::size_t max_items);
  const ScanCursor& cursor() const { return cursor_; }

 private:
  Result<void> load_directories();
  Result<bool> load_slot();  // false at the end

  Store& store_;
  ScanCursor cursor_;
  bool started_ = false;
  std::uint32_t next_slot_ = 0;
  std::vector<Gfid> pending_;  // descending, so that the next one is popped from the back
};

}  // namespace polder
