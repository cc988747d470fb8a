// SPDX-License-Identifier: GPL-3.0-or-later
// Volumes: a new set joins a running volume.
//
//   announce   the brick is in the record as one in the making
//   make       directory and format
//   start      it runs, as a set without slots: nothing goes to it
//   commit     one change of the record makes it a brick of the volume and gives it slots that are empty; who
//              is killed before has not added it, and the next start removes what was made
//   hand over  the running volume follows the record
#include "base/coro.h"
#include "base/crash_point.h"
#include "base/log.h"
#include "core-volume/graph/slot_plan.h"
#include "core-volume/node/volumes.h"

namespace polder {
namespace {

Task<Result<void>> tell(const AddBrick& request, std::string sentence) {
  if (!request.progress) co_return Result<void>();
  co_return co_await request.progress(std::move(sentence));
}

}  // namespace

Task<Result<CreatedVolume>> Volumes::add_brick(AddBrick request) {
  CO_TRY(auto creating, co_await lock("/create"));
  CO_TRY(auto guard, co_await lock(request.volume));
  co_return co_await add_brick_locked(std::move(request));
}

Task<Result<Stored<VolumeInfo>>> Volumes::may_be_extended(std::string name) {
  CO_TRY(auto volume, co_await get_volume(store_, name));
  if (!volume.value.making.empty()) {
    CO_TRY(co_await take_back(name));
    CO_TRY(volume, co_await get_volume(store_, name));
  }
  auto active = running(name);
  if (!active)
    co_return Error(ENOTCONN).with("the volume '{}' does not run; type: polder volume start {}", name, name);
  for (const auto& [set, why] : active->stack->failures())
    co_return Error(EBUSY).with("a brick of the volume '{}' does not run, so its slots are not known: {}",
                                name, why);
  if (volume.value.role != "plain") {
    co_return Error(EOPNOTSUPP)
        .with("the volume '{}' is {}; only one that is written by its own clients can be extended", name,
              volume.value.role);
  }
  for (const auto& hooks : hooks_) {
    if (hooks.may_extend) {
      CO_TRY(co_await hooks.may_extend(volume.value));
    }
  }
  co_return volume;
}

Task<Result<CreatedVolume>> Volumes::add_brick_locked(AddBrick request) {
  const auto name = request.volume;
  CO_TRY(auto volume, co_await may_be_extended(name));
  CO_TRY(volume.value.making, co_await announce({request.brick}, volume.value, request.force));
  CO_TRY(volume.version, co_await put_volume(store_, volume.value, volume.version));
  const auto spec = volume.value.making.front().spec;
  crash_point("node/add-brick-after-announcement");
  auto joined = co_await join(std::move(request), std::move(volume), spec);
  if (joined) co_return joined;
  auto taken_back = co_await take_back(name);
  if (!taken_back) log::error("volume {}: {}", name, taken_back.error().message());
  co_return joined;
}

Task<Result<CreatedVolume>> Volumes::join(AddBrick request, Stored<VolumeInfo> volume, BrickSpec spec) {
  auto active = running(request.volume);
  auto& info = volume.value;
  CO_TRY(auto notes, co_await make_bricks(info, request.force));
  CO_TRY(co_await tell(request, "the brick is made"));
  auto& stack = *active->stack;
  CO_TRY(co_await stack.add_set(spec.set, brick_config(info, spec)));
  active->served->ops = &stack.top();
  auto slots = co_await stack.plan_slots(spec.set);
  Result<void> done = slots ? co_await tell(request, "its slots are chosen") : Result<void>(slots.error());
  if (done) {
    info.making.clear();
    info.bricks.push_back(spec);
    info.slots = *slots;
    crash_point("node/add-brick-before-commit");
    auto stored = co_await put_volume(store_, info, volume.version);
    if (!stored) done = stored.error();
  }
  if (!done) {
    co_await stack.remove_set(spec.set);
    co_return done.error();
  }
  crash_point("node/add-brick-after-commit");
  co_await stack.hand_over(*slots);
  active->info = info;
  const auto has = slots_by_set(*slots)[spec.set];
  log::info("volume {} has a new brick {} with {} slots", info.name, spec.path, has);
  co_return CreatedVolume{info, std::move(notes)};
}

}  // namespace polder
