// SPDX-License-Identifier: GPL-3.0-or-later
// JournalDatabase: index.db, what is known of sealed segments, and the consumers' cursors. All but the
// cursors' places can be derived from the segments. Any thread; one at a time inside.
#pragma once
#include <map>
#include <memory>
#include <mutex>
#include <optional>

#include "base/sqlite.h"
#include "changelog/cursor/cursor.h"
#include "changelog/journal/segment_format.h"

namespace polder {

class JournalDatabase {
 public:
  /// A damaged database is put aside as index.db.damaged and begun anew; cursors it held must rescan.
  static Result<std::unique_ptr<JournalDatabase>> open(Disk& disk, int dir, const std::string& path);

  Result<std::map<std::uint64_t, SegmentInfo>> segments();
  Result<void> put_segment(const SegmentInfo& info);
  Result<void> drop_segment(std::uint64_t first_index);

  /// For steps that must not interleave: retention looks at cursors and then drops what they have passed.
  std::unique_lock<std::recursive_mutex> lock() { return std::unique_lock(mutex_); }
  CursorTable& cursors() { return cursors_; }  // only while locked

 private:
  JournalDatabase(Database database, Disk& disk, int dir)
      : database_(std::move(database)), cursors_(database_, disk, dir) {}
  static Result<std::unique_ptr<JournalDatabase>> try_open(Disk& disk, int dir, const std::string& path);
  Result<void> prepare();

  std::recursive_mutex mutex_;
  Database database_;
  CursorTable cursors_;
};

}  // namespace polder
