// SPDX-License-Identifier: GPL-3.0-or-later
// GuestVolume: a volume as polderd runs it, in this process, on the guest's file systems.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "base/hlc.h"
#include "base/random.h"
#include "base/seams.h"
#include "base/transport.h"
#include "base/workers.h"
#include "core-volume/graph/volume_stack.h"
#include "tests/support/loop.h"
#include "tests/workload/history.h"

namespace polder {

class GuestVolume {
 public:
  /// One set for each directory.
  GuestVolume(RealLoop& loop, Disk& disk, const std::vector<std::string>& bricks);
  ~GuestVolume();

  /// Makes the bricks.
  void format();
  void start();
  void stop();
  FileOps& top() { return stack_->top(); }

  /// Waits until nothing of the start goes on, and says what is wrong with the bricks.
  std::vector<std::string> problems();
  FoundVolume look();  // look.h
  /// Whether it takes a change.
  void try_change();
  /// For the report of a failure: the bricks' logs.
  std::string records() const;

 private:
  Task<bool> is_settled();

  RealLoop& loop_;
  Disk& disk_;
  std::unique_ptr<Clock> clock_;
  std::unique_ptr<Random> random_;
  std::unique_ptr<Transport> transport_;
  HlcClock hlc_;
  std::unique_ptr<Workers> workers_;
  Seams seams_;
  VolumeStackConfig config_;
  std::unique_ptr<VolumeStack> stack_;
};

}  // namespace polder
