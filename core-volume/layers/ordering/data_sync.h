// SPDX-License-Identifier: GPL-3.0-or-later
// DataSync: whether the fsync of a file needs more than a sync of the log. Small writes travel in the log
// with their bytes, and recovery after a power loss writes them again; so when all of a file's bytes since
// its last sync are in the log, the log alone makes them durable: one fdatasync instead of two.
//
// Recovery leaves logged bytes out where something later, of which the log has no bytes, may have survived: a
// large write, a truncation, a hole ("unlogged" here). Therefore
//   - a file with an unlogged change since its last sync is synced itself, and
//   - before an unlogged change a file that has relied on the log is synced itself.
// The change announces itself before it looks whether anybody relied on the log, and an fsync relies on it
// only when no change is announced: one of the two always sees the other.
//
// A removal that the disk has and the log has not: recovery makes the file again from its creation, and from
// what the log has of its bytes. If some are missing in the records behind the checkpoint, synced or not, the
// file has to stay until its removal is in the log for certain: log_lacks_bytes().
//
// Of a start nothing is known: recovery syncs the file system before anything is served, unless the brick was
// closed in order, which syncs it too; and every file may have bytes that the log lacks. Any thread.
#pragma once
#include <algorithm>
#include <cstdint>
#include <iterator>
#include <mutex>
#include <unordered_map>

#include "base/gfid.h"
#include "changelog/record/record.h"

namespace polder {

/// "Unlogged" as above. Of an empty file there are no bytes that came before.
inline bool is_unlogged(const Record& record) {
  switch (record.kind) {
    case RecordKind::kWrite:
      return record.data.empty() && record.length != 0;
    case RecordKind::kTruncate:
      return record.length != 0;
    case RecordKind::kFallocate:
    case RecordKind::kPunch:
    case RecordKind::kZero:
      return true;
    default:
      return false;
  }
}

class DataSync {
 public:
  /// For what all files together may cost in memory; beyond it files are synced themselves.
  static constexpr std::size_t kFilesMax = 65536;

  struct Plan {
    bool file = false;  // the file itself must be synced, before the log
    std::uint64_t mark = 0;
  };

  /// An fsync begins. Without `file` it relies on the log from now on.
  Plan plan(const Gfid& gfid) {
    std::lock_guard lock(mutex_);
    auto found = files_.find(gfid);
    const bool unlogged = found == files_.end() ? overflow_ != 0 : found->second.unlogged != 0;
    const bool no_room = found == files_.end() && files_.size() >= kFilesMax;
    if (unlogged || no_room) return {true, ++mark_};
    files_[gfid].relied = ++mark_;
    return {false, mark_};
  }
  /// The file itself was synced, after plan() or begin_unlogged().
  void synced(const Gfid& gfid, const Plan& plan) {
    std::lock_guard lock(mutex_);
    auto found = files_.find(gfid);
    if (found == files_.end()) return;
    auto& file = found->second;
    if (file.unlogged <= plan.mark) file.unlogged = 0;
    if (file.relied <= plan.mark) file.relied = 0;
    if (file.is_done()) files_.erase(found);
  }

  /// The whole file system was synced, after mark().
  void everything_synced(std::uint64_t mark) {
    std::lock_guard lock(mutex_);
    for_each_file([mark](File& file) {
      if (file.unlogged <= mark) file.unlogged = 0;
      if (file.relied <= mark) file.relied = 0;
    });
    if (overflow_ <= mark) overflow_ = 0;
  }
  /// Recovery will begin behind this record.
  void checkpoint_moved(std::uint64_t index) {
    std::lock_guard lock(mutex_);
    for_each_file([index](File& file) {
      if (file.missing <= index) file.missing = 0;
    });
    if (any_missing_ <= index) any_missing_ = 0;
  }
  /// At a start, of the log's last record: which files the records up to it change is not known.
  void began_at(std::uint64_t index) {
    std::lock_guard lock(mutex_);
    any_missing_ = index;
  }
  /// Made again from the log, the file would not be whole. While nothing changes the file.
  bool log_lacks_bytes(const Gfid& gfid) const {
    std::lock_guard lock(mutex_);
    if (any_missing_ != 0) return true;
    auto found = files_.find(gfid);
    return found != files_.end() && found->second.missing != 0;
  }
  std::uint64_t mark() const {
    std::lock_guard lock(mutex_);
    return mark_;
  }

  /// Whether an unlogged change has to sync the file first.
  bool relied_on_log(const Gfid& gfid) const {
    std::lock_guard lock(mutex_);
    auto found = files_.find(gfid);
    return found != files_.end() && found->second.relied != 0;
  }
  /// An unlogged change begins. `file`: it is to sync the file first.
  Plan begin_unlogged(const Gfid& gfid) {
    std::lock_guard lock(mutex_);
    if (auto* file = note(gfid)) return {file->relied != 0, mark_};
    return {};
  }
  /// It has ended, whatever came of it. `index`: of its record.
  void end_unlogged(const Gfid& gfid, std::uint64_t index) {
    std::lock_guard lock(mutex_);
    auto* file = note(gfid);
    auto& missing = file ? file->missing : any_missing_;
    missing = std::max(missing, index);
  }

 private:
  struct File {
    std::uint64_t unlogged = 0;  // mark of the last change; 0: none since the file was synced
    std::uint64_t relied = 0;    // mark of the last fsync that was the log's alone; 0: none since
    std::uint64_t missing = 0;   // index of the last unlogged change; 0: none behind the checkpoint

    bool is_done() const { return unlogged == 0 && relied == 0 && missing == 0; }
  };

  /// And forgets those of which there is nothing left to know.
  template <typename Change>
  void for_each_file(Change change) {
    for (auto at = files_.begin(); at != files_.end();) {
      change(at->second);
      at = at->second.is_done() ? files_.erase(at) : std::next(at);
    }
  }
  /// Null: there is no room, and all files that are not known count as changed.
  File* note(const Gfid& gfid) {
    auto found = files_.find(gfid);
    if (found == files_.end() && files_.size() >= kFilesMax) {
      overflow_ = ++mark_;
      return nullptr;
    }
    auto& file = files_[gfid];
    file.unlogged = ++mark_;
    return &file;
  }

  mutable std::mutex mutex_;
  std::uint64_t mark_ = 0;
  std::uint64_t overflow_ = 0;     // mark of the last change that there was no room for
  std::uint64_t any_missing_ = 0;  // the same as File::missing, of files that are not known
  std::unordered_map<Gfid, File> files_;
};

}  // namespace polder
