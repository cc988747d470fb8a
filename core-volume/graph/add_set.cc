// SPDX-License-Identifier: GPL-3.0-or-later
// VolumeStack: a set joins a volume that is in use, and gets slots at once.
//
// Slots change hands without any data moving, so only those may that nothing is in, and that nothing can get
// into while the table changes. Why the slots that plan_slots() picks stay empty until hand_over():
//   - A new object gets a slot from Placement::choose_slot(), or its parent's.
//   - choose_slot() gives a set's first 256 slots only. These are never picked, so they are the same before
//     and after: a gfid that was chosen under the old table is in a slot that stays, however long its
//     operation takes.
//   - A parent in a slot makes that slot used. One that comes to be in it later would be a new object itself.
//   - Records of another site (replay) bring gfids of any slot: such volumes get no new sets.
// What was in a slot earlier must not come back with a redo after a power loss: hence the checkpoint.
#include "base/clock.h"
#include "base/on_worker.h"
#include "core-volume/graph/slot_plan.h"
#include "core-volume/graph/volume_stack.h"
#include "core-volume/layer/slots_for_new_objects.h"
#include "core-volume/layers/distribute/distribute_layer.h"

namespace polder {

Task<Result<void>> VolumeStack::add_set(std::uint32_t set, BrickConfig config) {
  if (config_.bricks.contains(set)) co_return Error(EEXIST).with("the volume has a set {} already", set);
  config_.bricks[set] = std::move(config);
  if (!gates_.contains(set)) gates_[set] = std::make_unique<PeerGate>();
  auto started = co_await start_brick(set);
  if (!started) {
    co_await remove_set(set);
    co_return started;
  }
  gates_[set]->open(bricks_[set]->ordering());
  if (distribute_)
    attach(set);
  else
    build_top();
  co_return Result<void>();
}

Task<void> VolumeStack::remove_set(std::uint32_t set) {
  if (bricks_.contains(set)) take_down(set, "it was not added after all");
  while (!co_await left(set)) {
    if (!co_await seams_.clock.sleep_for(std::chrono::milliseconds(10))) break;
  }
  failures_.erase(set);
  config_.bricks.erase(set);
  // Its gate and its place in the layer above stay: another set may just be about to ask.
}

Task<Result<SlotRuns>> VolumeStack::plan_slots(std::uint32_t newcomer) {
  const auto owners = bricks_;
  std::map<std::uint32_t, std::vector<bool>> taken;
  for (const auto& [set, brick] : owners) {
    if (set == newcomer) continue;
    CO_TRY(taken[set], co_await on_worker(seams_.workers, [&]() -> Result<std::vector<bool>> {
             TRY(auto used, brick->store().used_slots());
             TRY(brick->journal().maintain(true));
             return used;
           }));
    for (auto slot : slots_for_new_objects(placement_, set)) taken[set][slot] = true;
  }
  co_return give_slots(config_.slots, taken, newcomer);
}

Task<void> VolumeStack::hand_over(const SlotRuns& slots) {
  config_.slots = slots;
  placement_.set_table(slots);
  co_await weigh();
}

}  // namespace polder
