// SPDX-License-Identifier: GPL-3.0-or-later
// DiskVfs: SQLite's view of a Disk. One per connection, so that the errno of a failed call is known to the
// connection that made it, and so that nothing global outlives a Disk.
//
// Owning is by file: opening a database locks it (Disk::lock_exclusive) until it is closed, so SQLite's own
// lock levels have nothing left to decide. There is no shared memory: WAL needs locking_mode=EXCLUSIVE.
#pragma once
#include <sqlite3.h>

#include <string>

#include "base/disk.h"

namespace polder {

class DiskVfs {
 public:
  explicit DiskVfs(Disk& disk);
  ~DiskVfs();
  DiskVfs(const DiskVfs&) = delete;
  DiskVfs& operator=(const DiskVfs&) = delete;

  /// For sqlite3_open_v2.
  const char* name() const { return name_.c_str(); }
  Disk& disk() const { return disk_; }

  /// errno of the last call of the Disk that failed; 0 when none did since clear_error().
  int last_errno() const { return last_errno_; }
  void clear_error() { last_errno_ = 0; }
  /// Keeps the errno and returns SQLite's code: SQLITE_FULL for a full disk, else `code`.
  int failed(const Error& error, int code);

  Result<void> sync_directory_of(const std::string& path);

 private:
  Disk& disk_;
  std::string name_;
  int last_errno_ = 0;
  sqlite3_vfs vfs_{};
};

}  // namespace polder
