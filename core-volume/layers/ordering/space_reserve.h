// SPDX-License-Identifier: GPL-3.0-or-later
// SpaceReserve: a file of a few MiB in the brick, given back to the file system when a change that is already
// in the log needs room that is not there, or when something is to be deleted and the log cannot grow. Made
// whole again when there is room. Any worker. Without it (a file system that allocates nothing ahead) all
// works, and a full disk stops changes sooner.
#pragma once
#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>

#include "base/disk.h"

namespace polder {

class SpaceReserve {
 public:
  SpaceReserve(Disk& disk, const std::string& brick) : disk_(disk), path_(brick + "/.polder/reserve") {}

  /// Allocates what is missing, if the file system has that and as much again. Call it now and then.
  Result<void> refill();
  /// Gives the room back. False when there is none to give.
  bool release();
  /// Asks for so much and the reserve beyond what is free, for a moment: XFS then gives up what it keeps
  /// ready behind the ends of growing files, which can be half of the disk and which statfs counts as taken.
  /// False when there is none. Files that are not written back keep theirs.
  bool finds(std::uint64_t bytes);
  /// What new data must leave free, so that refill() finds it.
  std::uint64_t missing_bytes() const { return missing_; }

 private:
  Disk& disk_;
  const std::string path_;
  std::mutex mutex_;
  DiskFile file_;
  bool whole_ = false;
  std::atomic<std::uint64_t> missing_{0};
};

}  // namespace polder
