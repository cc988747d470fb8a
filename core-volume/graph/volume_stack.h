// SPDX-License-Identifier: GPL-3.0-or-later
// VolumeStack: all sets of a volume whose bricks run in this process, and what makes one volume of them: the
// placement, the transactions between sets, and (with more than one set) the distribute layer on top.
//
// At its top are the leases of its clients (layers/leases).
//
// Bricks come and go while it runs: one that fails is taken down, and what is its answers EIO with the reason
// until it could be started again. The root's brick is different: without it there is no volume.
//
// Loop thread only.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/seams.h"
#include "core-volume/graph/brick.h"
#include "core-volume/graph/peer_gate.h"
#include "core-volume/layer/invalidation.h"
#include "core-volume/layer/placement.h"
#include "core-volume/layer/set_peer.h"

namespace polder {

class DistributeLayer;
class LeaseKeeper;
class LeasesLayer;

struct VolumeStackConfig {
  SlotRuns slots;
  Spread spread = Spread::kAuto;
  std::map<std::uint32_t, BrickConfig> bricks;  // by set; this fills in what belongs together
};

class VolumeStack final : public InvalidationSource, private SetPeers {
 public:
  /// The set of the volume's root directory.
  static constexpr std::uint32_t kRootSet = 0;
  using Bricks = std::map<std::uint32_t, std::shared_ptr<Brick>>;

  /// Starts every brick. Those that fail are in failures(); an error only when the root's does. Then finishes
  /// or takes back what transactions were under way.
  static Task<Result<std::unique_ptr<VolumeStack>>> start(Seams& seams, VolumeStackConfig config);
  ~VolumeStack() override;
  /// After the last operation from above has ended. Waits until nobody holds a brick. Must be called before
  /// destruction.
  Task<Result<void>> stop();

  FileOps& top();
  LeaseKeeper& leases();
  void on_invalidation(std::function<void(const Invalidation&)> listener) override;
  Placement& placement() { return placement_; }

  /// Running bricks by set. Who keeps one longer than to the next await keeps the pointer, and looks now and
  /// then whether brick() still gives it: a brick that is taken down is started again only when it was let
  /// go.
  const Bricks& bricks() const { return bricks_; }
  /// Null when it does not run.
  std::shared_ptr<Brick> brick(std::uint32_t set) const;
  /// Why the others do not run.
  const std::map<std::uint32_t, std::string>& failures() const { return failures_; }
  /// All there is in a volume of one set.
  Brick& root_brick() { return *bricks_.at(kRootSet); }

  /// Another value than before a start: bricks have lost power, and perhaps what was not synced. 0: none
  /// ever.
  std::uint64_t losses() const;
  /// Clients that the volume had before it was started have still to open their files again; none has.
  void await_clients();
  void clients_are_back();

  /// Looks whether every brick is still there and takes changes; `write` tries its disk, too. Takes down what
  /// is not. An error: the root's brick; the owner stops the whole.
  Task<Result<void>> check(bool write);
  /// Tries bricks that do not run once more. When one could be started, and before it serves: `make_quiet` is
  /// awaited, and nothing may be under way from above from then on until this returns.
  Task<void> start_failed(std::function<Task<void>()> make_quiet = {});
  /// Weighs the sets by the room that they have, for new directories; the owner calls it now and then.
  Task<void> weigh();

  // A new set: add_set, plan_slots, then (once the table is stored) hand_over; or else remove_set.
  /// It serves, but owns no slot yet.
  Task<Result<void>> add_set(std::uint32_t set, BrickConfig config);
  /// The table with a fair share for `newcomer`, of slots that nothing is in and that no new object can go
  /// to. ENOSPC when there is none.
  Task<Result<SlotRuns>> plan_slots(std::uint32_t newcomer);
  Task<void> hand_over(const SlotRuns& slots);
  Task<void> remove_set(std::uint32_t set);

 private:
  VolumeStack(Seams& seams, VolumeStackConfig config);
  SetPeer* peer(std::uint32_t set) override;
  std::vector<Task<Result<void>>> sync_session(std::uint32_t session, std::uint32_t except) override;
  Task<Result<void>> start_brick(std::uint32_t set);
  /// Those that have started and serve nothing yet join the others: transactions between them are finished or
  /// taken back, and after a power loss they are compared.
  Task<Result<void>> join();
  Task<Result<void>> reconcile();
  Task<Result<void>> sync_logs();
  Task<Result<void>> forget_replaced_before();
  Task<Result<void>> forget_certainly_replaced();
  bool is_certain(const ReplacedName& replaced) const;
  Task<Result<bool>> mend(const std::map<std::uint32_t, Store*>& stores);
  /// With all sets that run.
  Task<Result<void>> resolve();
  void build_top();
  void attach(std::uint32_t set);
  Task<void> let_serve(std::vector<std::uint32_t> back);
  void take_down(std::uint32_t set, std::string why);
  /// How much still goes on in a brick that was taken down.
  std::size_t busy(std::uint32_t set) const;
  Task<Result<void>> end_brick(std::shared_ptr<Brick> brick);
  /// False: something in it has not ended yet.
  Task<bool> left(std::uint32_t set);

  Seams& seams_;
  VolumeStackConfig config_;
  Placement placement_;
  Bricks bricks_;
  Bricks leaving_;  // taken down, and not yet closed
  std::map<std::uint32_t, std::string> failures_;
  std::map<std::uint32_t, std::unique_ptr<PeerGate>> gates_;
  std::unique_ptr<DistributeLayer> distribute_;
  std::unique_ptr<LeasesLayer> leases_;
  std::function<void(const Invalidation&)> listener_;
};

}  // namespace polder
