// SPDX-License-Identifier: GPL-3.0-or-later
// Cursor: a consumer's place in a changelog. CursorTable keeps cursors in the journal's SQLite database, and
// their names in a text file beside it, so that a lost database is noticed by those whose cursors it held.
#pragma once
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/disk.h"
#include "base/result.h"

namespace polder {

class Database;

/// Everything <= index has been consumed. Retention waits for it, up to the cap.
struct Cursor {
  std::string name;
  std::uint64_t index = 0;
  bool must_rescan = false;  // records it had not read are gone, or its place is lost
};

/// Cursors whose names begin so only keep the log: nobody reads on from them.
inline constexpr std::string_view kPinPrefix = "snapshot/";

/// One thread at a time. The database and `dir` (open directory for the file `cursors`) outlive it.
class CursorTable {
 public:
  static constexpr std::size_t kNameMax_bytes = 255;

  CursorTable(Database& database, Disk& disk, int dir) : database_(database), disk_(disk), dir_(dir) {}

  /// Creates the table. Names of the file that the database does not know become cursors at 0 that must
  /// rescan; returns how many.
  Result<std::size_t> open();
  Result<std::vector<Cursor>> list();
  const std::set<std::string>& names() const { return names_; }
  /// Durable when it returns. EINVAL for a name that is empty or too long.
  Result<void> put(const Cursor& cursor);
  /// ENOENT when there is none.
  Result<void> drop(const std::string& name);
  /// Marks every cursor below `index`; returns their names.
  Result<std::vector<std::string>> must_rescan_below(std::uint64_t index);

 private:
  Result<void> write_names();

  Database& database_;
  Disk& disk_;
  int dir_;
  std::set<std::string> names_;
};

}  // namespace polder
