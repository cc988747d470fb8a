// SPDX-License-Identifier: GPL-3.0-or-later
// UnsyncedChanges: what this client was told is done, and has not synced since. When the server comes back
// after a power loss, some of that may be gone; then no fsync may say that it is safe: the next one of each
// such file fails, once, as Linux does it after a failed write-back. Names are everybody's: any fsync makes
// every name safe that the client has changed before it (docs/coherence.md, P1). Where some may be lost, the
// next fsync of anything fails, and that of each directory they were in.
//
// Changes are numbered; what is synced is what had happened when the fsync began (mark()). Plain state,
// internal to rpc.
#pragma once
#include <cstdint>
#include <unordered_map>
#include <utility>

#include "base/gfid.h"

namespace polder {

class UnsyncedChanges {
 public:
  /// Beyond so many files it is only known that there are some: of these the first fsync fails.
  static constexpr std::size_t kFilesMax = 65536;

  void file_changed(const Gfid& gfid) { note(files_, gfid); }
  void names_changed(const Gfid& directory) {
    note(directories_, directory);
    names_.changed = last_;
  }

  std::uint64_t mark() const { return last_; }

  /// An fsync that began at `mark` has succeeded at the server. False: it must fail all the same.
  bool synced(const Gfid& gfid, std::uint64_t mark) {
    const bool names = names_synced(mark), others = others_.tell();
    const bool directory = tell(directories_, gfid);
    auto file = files_.find(gfid);
    if (file != files_.end()) file->second.synced(mark);
    return tell(files_, gfid) && names && others && directory;
  }
  /// The same for a sync of everything. What may be lost of single files is still told by their own fsync.
  bool all_synced(std::uint64_t mark) {
    const bool names = names_synced(mark);
    others_.synced(mark);
    forget(files_, mark);
    return !std::exchange(some_lost_, false) && names && others_.tell();
  }

  /// The server has lost power.
  void lose() {
    some_lost_ |= !files_.empty() || names_.changed != 0 || others_.changed != 0;
    for (auto* table : {&files_, &directories_})
      for (auto& [gfid, changes] : *table) changes.lose();
    names_.lose();
    others_.lose();
  }

 private:
  struct Changes {
    std::uint64_t changed = 0;  // number of the last one; 0: all are synced
    bool lost = false;          // some that were not synced may be, and nobody was told

    void synced(std::uint64_t mark) {
      if (changed <= mark) changed = 0;
    }
    void lose() {
      lost |= changed != 0;
      changed = 0;
    }
    bool tell() { return !std::exchange(lost, false); }
    bool is_over() const { return changed == 0 && !lost; }
  };
  using Table = std::unordered_map<Gfid, Changes>;

  void note(Table& table, const Gfid& gfid) {
    ++last_;
    if (table.size() < kFilesMax || table.contains(gfid))
      table[gfid].changed = last_;
    else
      others_.changed = last_;
  }
  static bool tell(Table& table, const Gfid& gfid) {
    auto found = table.find(gfid);
    if (found == table.end()) return true;
    const bool whole = found->second.tell();
    if (found->second.is_over()) table.erase(found);
    return whole;
  }
  static void forget(Table& table, std::uint64_t mark) {
    for (auto& [gfid, changes] : table) changes.synced(mark);
    std::erase_if(table, [](const auto& entry) { return entry.second.is_over(); });
  }
  bool names_synced(std::uint64_t mark) {
    names_.synced(mark);
    forget(directories_, mark);
    return names_.tell();
  }

  Table files_, directories_;
  Changes names_;
  Changes others_;  // files and directories for which there was no room
  bool some_lost_ = false;
  std::uint64_t last_ = 0;
};

}  // namespace polder
