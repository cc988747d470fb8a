// SPDX-License-Identifier: GPL-3.0-or-later
// VolumeStack: all sets of a volume whose bricks run in this process, and what makes one volume of them: the
// placement, the transactions between sets, and (with more than one set) the distribute layer on top. Loop
// thread only.
#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/seams.h"
#include "core-volume/graph/brick.h"
#include "core-volume/layer/placement.h"
#include "core-volume/layer/set_peer.h"

namespace polder {

class DistributeLayer;

struct VolumeStackConfig {
  SlotRuns slots;
  Spread spread = Spread::kAuto;
  std::map<std::uint32_t, BrickConfig> bricks;  // by set; this fills in what belongs together
};

class VolumeStack final : private SetPeers {
 public:
  /// Starts every brick. Those that fail are in failures(), and what is theirs answers EIO with the reason;
  /// an error only when none could start, or the root's could not. Then finishes or takes back what
  /// transactions were under way.
  static Task<Result<std::unique_ptr<VolumeStack>>> start(Seams& seams, VolumeStackConfig config);
  ~VolumeStack() override;
  /// After the last operation from above has ended; every brick that runs. Must be called before destruction.
  Task<Result<void>> stop();

  FileOps& top();
  InvalidationSource& invalidations();
  Placement& placement() { return placement_; }

  /// Running bricks by set.
  const std::map<std::uint32_t, std::unique_ptr<Brick>>& bricks() const { return bricks_; }
  const std::map<std::uint32_t, std::string>& failures() const { return failures_; }
  /// Of the set that has the root: always runs. All there is in a volume of one set.
  Brick& root_brick();

  /// Tries bricks that do not run once more.
  Task<void> start_failed();
  /// A new set with its brick, and the table that gives it slots. The slots that change hands must be empty.
  Task<Result<void>> add_set(std::uint32_t set, BrickConfig config, const SlotRuns& slots);
  /// Which slots a set's objects use.
  Task<Result<std::vector<bool>>> used_slots(std::uint32_t set);
  /// Weighs the sets by the room that they have, for new directories; the owner calls it now and then.
  Task<void> weigh();

 private:
  explicit VolumeStack(Seams& seams, VolumeStackConfig config);
  SetPeer* peer(std::uint32_t set) override;
  Task<Result<void>> start_brick(std::uint32_t set);
  void build_top();

  Seams& seams_;
  VolumeStackConfig config_;
  Placement placement_;
  std::map<std::uint32_t, std::unique_ptr<Brick>> bricks_;
  std::map<std::uint32_t, std::string> failures_;
  std::unique_ptr<DistributeLayer> distribute_;
};

}  // namespace polder
