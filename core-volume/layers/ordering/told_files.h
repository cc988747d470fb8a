// SPDX-License-Identifier: GPL-3.0-or-later
// ToldFiles: of which files the log's tail is certain to tell after a power loss, where somebody follows it.
//
// A file system may write pages of a file before it writes the inode, so a write whose record was lost may be
// there with nothing to tell of it: the start that looks for what went ahead of the log (found.h) looks at
// the times of inodes, and at the files of the tail. Therefore the first change of a file's bytes since the
// last checkpoint waits until its record is stable: from then on the file is one of the tail. This costs one
// sync of the log for each file that is written in place, each 30 s. A file that was made since, or cut to
// nothing, has no old bytes: what is written to it is nowhere before its inode has changed.
//
// Any thread. Changes of one file one after another, with its key held.
#pragma once
#include <cstdint>
#include <mutex>
#include <optional>
#include <unordered_map>

#include "base/gfid.h"
#include "base/result.h"
#include "changelog/journal/journal.h"

namespace polder {

class ToldFiles {
 public:
  /// Beyond it those that were told of are forgotten, which costs syncs.
  static constexpr std::size_t kFilesMax = 65536;

  explicit ToldFiles(Journal& journal) : journal_(journal) {}

  /// Whether a change of its bytes would wait for the disk. Does not wait itself.
  bool would_wait(const Gfid& gfid);
  /// `appended` is about to be applied.
  Result<void> before(const Record& appended);
  /// It has been.
  void after(const Record& applied);

 private:
  bool is_followed();
  bool is_told(const Gfid& gfid);
  void tell(const Record& record);

  Journal& journal_;
  std::mutex mutex_;
  std::optional<std::uint64_t> followed_as_of_;  // cursor_changes()
  bool followed_ = false;
  std::unordered_map<Gfid, std::uint64_t> files_;  // index of the last record that has told of it
};

}  // namespace polder
