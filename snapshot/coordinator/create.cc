// SPDX-License-Identifier: GPL-3.0-or-later
// SnapshotCoordinator: making a snapshot. What it holds is exactly what was acknowledged before the barrier,
// and some prefix of what was under way: changes that wait at the barrier come after the mark.
#include "base/clock.h"
#include "base/crash_point.h"
#include "base/hlc.h"
#include "base/log.h"
#include "base/on_worker.h"
#include "base/random.h"
#include "snapshot/coordinator/active.h"
#include "snapshot/coordinator/coordinator.h"
#include "snapshot/coordinator/pins.h"

namespace polder {

Task<Result<SnapshotRecord>> SnapshotCoordinator::create(CreateSnapshot request) {
  const auto now_ns = static_cast<std::uint64_t>(node_.seams.clock.wall_time().count());
  CO_TRY(check_description(request.description));
  CO_TRY(auto name, final_snapshot_name(request.name, request.timestamp, now_ns));
  CO_TRY(auto guard, co_await node_.volumes.lock(request.volume));
  CO_TRY(auto made, co_await create_locked(request, std::move(name)));
  CO_TRY(auto wanted, co_await limits(made.volume));
  if (wanted.activate_on_create) {
    CO_TRY(auto stored, co_await find(made.name));
    auto activated = co_await activate_locked(std::move(stored));
    if (activated)
      made.active = true;
    else
      log::warning("snapshot {} was made, but not activated: {}", made.name, activated.error().message());
  }
  co_return made;
}

/// Snapshots are mounted like volumes, so they share one space of names.
Task<Result<void>> SnapshotCoordinator::check_name_free(std::string name) {
  auto snapshot = co_await find(name);
  if (snapshot) co_return Error(EEXIST).with("there is a snapshot '{}' already", name);
  if (!snapshot.failed_with(ENOENT)) co_return std::move(snapshot).error();
  auto volume = co_await get_volume(node_.store, name);
  if (volume) co_return Error(EEXIST).with("there is a volume '{}'; choose another name", name);
  if (!volume.failed_with(ENOENT)) co_return std::move(volume).error();
  co_return Result<void>();
}

Task<Result<void>> SnapshotCoordinator::check_limit(std::string volume) {
  CO_TRY(auto wanted, co_await limits(volume));
  CO_TRY(auto all, co_await records());
  const auto count = static_cast<std::uint64_t>(
      std::ranges::count_if(all, [&](const auto& record) { return record.value.volume == volume; }));
  if (count < wanted.hard_limit) co_return Result<void>();
  co_return Error(EDQUOT).with(
      "the volume '{}' has {} snapshots, and its snap-max-hard-limit is {}; delete some, or type: polder "
      "snapshot config {} snap-max-hard-limit N",
      volume, count, wanted.hard_limit, volume);
}

Task<Result<SnapshotRecord>> SnapshotCoordinator::create_locked(CreateSnapshot request, std::string name) {
  CO_TRY(auto volume, co_await get_volume(node_.store, request.volume));
  CO_TRY(need_one_set(volume.value, "a snapshot"));
  CO_TRY(auto use, node_.volumes.use(request.volume));
  CO_TRY(co_await resolve(request.volume));
  CO_TRY(co_await check_name_free(name));
  CO_TRY(co_await check_limit(request.volume));
  const auto& brick = volume.value.bricks.front();
  CO_TRY(auto backend, (co_await open_backend(brick.path)).with("take snapshot {}", name));
  auto space = co_await on_worker(node_.seams.workers, [&] { return backend->check_space(); });
  CO_TRY(std::move(space).with("take snapshot {}", name));

  SnapshotIntent intent;
  intent.operation = SnapshotIntent::Operation::kCreate;
  auto& record = intent.snapshot;
  record.name = std::move(name);
  record.id = Gfid::random(node_.seams.random, 0).hex();
  record.volume = request.volume;
  record.volume_id = volume.value.id;
  record.brick_path = brick.path;
  record.created_ns = static_cast<std::uint64_t>(node_.seams.clock.wall_time().count());
  record.description = std::move(request.description);
  record.backend = backend->name();
  CO_TRY(auto version, (co_await put_intent(intent, 0)).with("take snapshot {}", record.name));
  crash_point("snapshot/after-intent");

  auto taken = co_await take(use, *backend, record);
  if (taken) {
    crash_point("snapshot/before-record");
    taken = co_await publish(record, version);
  }
  if (taken) names_.insert(record.name);
  if (!taken) {
    auto undone = co_await undo_create(intent, version);
    if (!undone)
      log::error("snapshot {}: {}; tried again at the next start", record.name, undone.error().message());
    co_return std::move(taken).error().with("take snapshot {}", record.name);
  }
  log::info("snapshot {} of volume {}: record {}, changes were held for {} ms", record.name, record.volume,
            record.mark_index, record.barrier_ns / 1'000'000);
  co_return record;
}

Task<Result<void>> SnapshotCoordinator::take(VolumeUse& volume, SnapshotBackend& backend,
                                             SnapshotRecord& record) {
  auto& brick = volume.root_brick();
  CO_TRY(co_await sync_ahead(brick));
  crash_point("snapshot/after-presync");
  const auto epoch = node_.seams.hlc.next().ns;
  CO_TRY(co_await brick.barrier().raise(epoch, options_.barrier_limit));
  crash_point("snapshot/after-barrier");
  auto outcome = co_await behind_barrier(brick, backend, record);
  auto held = brick.barrier().lower(epoch);
  crash_point("snapshot/after-lower");
  if (!outcome) co_return outcome;
  if (!held) {
    co_return std::move(held).error().with(
        "changes would have been held for too long, so the snapshot was discarded; try again when there is "
        "less to write");
  }
  record.barrier_ns = static_cast<std::uint64_t>(held->count());
  co_return co_await on_worker(node_.seams.workers, [&] { return pin_log(brick.journal(), record); });
}

/// So that little is left to be written while changes are held.
Task<Result<void>> SnapshotCoordinator::sync_ahead(Brick& brick) {
  for (int pass = 0; pass < options_.sync_passes; ++pass) {
    const auto begun = node_.seams.clock.boot_time();
    CO_TRY(co_await on_worker(node_.seams.workers, [&] { return brick.store().syncfs(); }));
    if (node_.seams.clock.boot_time() - begun < options_.short_sync) break;
  }
  co_return Result<void>();
}

Task<Result<void>> SnapshotCoordinator::behind_barrier(Brick& brick, SnapshotBackend& backend,
                                                       SnapshotRecord& record) {
  co_return co_await on_worker(node_.seams.workers, [&]() -> Result<void> {
    Record mark;
    mark.kind = RecordKind::kMark;
    mark.text = record.id;
    TRY(record.mark_index, brick.journal().append(mark).with("mark the log"));
    record.log_from = record.mark_index;
    record.hlc_ns = mark.hlc.ns;
    TRY(brick.journal().applied(record.mark_index));
    TRY(brick.journal().sync());
    TRY(brick.store().syncfs());
    crash_point("snapshot/after-mark");
    TRY(backend.create(record.id));
    crash_point("snapshot/after-backend");
    return {};
  });
}

/// From here on the snapshot exists.
Task<Result<void>> SnapshotCoordinator::publish(const SnapshotRecord& record, std::uint64_t intent_version) {
  const auto key = std::string(kSnapshotKind) + "/" + record.name;
  const auto intent_key = std::string(kIntentKind) + "/" + record.volume;
  ClusterTransaction transaction;
  transaction.expect(key, 0)
      .expect("volume/" + record.name, 0)
      .expect(intent_key, intent_version)
      .put(key, json::text(to_json(record)))
      .remove(intent_key);
  auto stored = co_await node_.store.commit(std::move(transaction));
  if (stored) co_return Result<void>();
  if (stored.failed_with(EAGAIN))
    co_return Error(EEXIST).with("the name '{}' was taken meanwhile", record.name);
  // Whether it happened is what the store says.
  auto there = co_await find(record.name);
  if (there && there->value.id == record.id) co_return Result<void>();
  co_return std::move(stored).error().with("note the snapshot {}", record.name);
}

Task<Result<void>> SnapshotCoordinator::undo_create(const SnapshotIntent& intent, std::uint64_t version) {
  CO_TRY(auto backend, co_await open_backend(intent.snapshot.brick_path));
  CO_TRY(co_await on_worker(node_.seams.workers, [&] { return backend->remove(intent.snapshot.id); }));
  crash_point("snapshot/undone");
  CO_TRY(co_await match_pins_of(intent.snapshot.volume));
  co_return co_await delete_record(node_.store, kIntentKind, intent.snapshot.volume, version);
}

}  // namespace polder
