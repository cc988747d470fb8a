// SPDX-License-Identifier: GPL-3.0-or-later
// SnapshotCoordinator: restore. The content goes back to the mark; the log does not: it is carried forward
// into the restored copy, whose next start appends `restored` to it. What was replaced becomes a snapshot.
//
//   settle    the brick is opened and closed once, so that everything in its log is applied and durable:
//             nothing of it may be folded into the restored content later
//   prepare   a writable copy of the snapshot, with the present log and the note of the restore in it
//   commit    announced first; from here on a killed restore is finished, before that it is taken back
//   finish    one transaction: new incarnation, the snapshot of what was replaced, no intent
#include "base/clock.h"
#include "base/crash_point.h"
#include "base/disk_tree.h"
#include "base/log.h"
#include "base/on_worker.h"
#include "base/random.h"
#include "core-volume/graph/restore_marker.h"
#include "snapshot/coordinator/coordinator.h"
#include "snapshot/coordinator/pins.h"

namespace polder {
namespace {

static_assert(std::string_view(kRestoreMarker) == layout::kRestored, "backend and brick mean the same file");

/// The present log in the place of the snapshot's. Durable on return.
Result<void> carry_log(Disk& disk, const std::string& brick, const std::string& copy,
                       const RestoreMarker& marker) {
  {
    TRY(auto root, disk.open(Disk::kNoDir, copy, O_RDONLY | O_DIRECTORY | O_NOFOLLOW).with("open {}", copy));
    TRY(remove_tree(disk, root.fd(), layout::kChangelog).with("remove the log of {}", copy));
  }
  TRY(copy_tree(disk, brick + "/" + layout::kChangelog, copy + "/" + layout::kChangelog)
          .with("carry the log of {} to {}", brick, copy));
  return write_restore_marker(disk, copy, marker);
}

}  // namespace

Task<Result<RestoreEffects>> SnapshotCoordinator::restore_effects(std::string name) {
  CO_TRY(auto found, co_await find(name));
  CO_TRY(auto guard, co_await node_.volumes.lock(found.value.volume));
  CO_TRY(auto volume, co_await stopped_volume(found.value));
  RestoreEffects effects;
  effects.snapshot = found.value;
  CO_TRY(effects.log, co_await settle_brick(volume.value));
  CO_TRY(effects.sessions, co_await georep_sessions(volume.value.name));
  co_return effects;
}

Task<Result<SnapshotRecord>> SnapshotCoordinator::restore(std::string name) {
  CO_TRY(auto found, co_await find(name));
  CO_TRY(auto guard, co_await node_.volumes.lock(found.value.volume));
  CO_TRY(auto record, co_await find(name));
  CO_TRY(auto volume, co_await stopped_volume(record.value));
  auto restored = co_await restore_locked(std::move(volume), std::move(record.value));
  co_return std::move(restored).with("restore snapshot {}", name);
}

/// The volume of a snapshot, ready to be restored: with nothing interrupted, and nobody using it.
Task<Result<Stored<VolumeInfo>>> SnapshotCoordinator::stopped_volume(const SnapshotRecord& record) {
  CO_TRY(co_await resolve(record.volume));
  CO_TRY(auto volume, co_await get_volume(node_.store, record.volume));
  if (volume.value.id != record.volume_id) {
    co_return Error(ESTALE).with("the snapshot '{}' is of an earlier volume of the name '{}'", record.name,
                                 record.volume);
  }
  if (volume.value.state == VolumeState::kStarted || node_.volumes.running(record.volume)) {
    co_return Error(EBUSY).with("the volume '{}' is started; type: polder volume stop {}", record.volume,
                                record.volume);
  }
  co_return volume;
}

Task<Result<std::vector<std::string>>> SnapshotCoordinator::georep_sessions(std::string volume) {
  CO_TRY(auto relations, co_await list_records(node_.store, "georep"));
  std::vector<std::string> names;
  for (const auto& [name, relation] : relations) {
    const auto* of = relation.value.is_object() ? relation.value.get_object().if_contains("volume") : nullptr;
    if (of && of->is_string() && std::string_view(of->get_string()) == volume) names.push_back(name);
  }
  co_return names;
}

/// Everything in its log is applied and durable then.
Task<Result<BrickLog>> SnapshotCoordinator::settle_brick(const VolumeInfo& volume) {
  CO_TRY(auto snapshots, co_await list_of(volume.name));
  CO_TRY(auto brick,
         co_await Brick::start(node_.seams, node_.volumes.brick_config(volume, volume.bricks.front())));
  auto synced = co_await on_worker(node_.seams.workers, [&]() -> Result<void> {
    TRY(match_pins(brick->journal(), snapshots));  // before maintain() drops what they keep
    return brick->journal().maintain(true);
  });
  auto stopped = co_await brick->stop();
  const auto last = brick->journal().appended_index();
  const BrickLog log{brick->journal().first_index(), last};
  const auto applied = brick->journal().applied_index();
  co_await on_worker(node_.seams.workers, [&] { return brick.reset(), 0; });
  CO_TRY(std::move(synced).with("sync the brick of volume {}", volume.name));
  CO_TRY(std::move(stopped).with("close the brick of volume {}", volume.name));
  if (applied != last) {
    co_return Error(EUCLEAN).with("the brick of volume {} has applied {} of {} records", volume.name, applied,
                                  last);
  }
  co_return log;
}

Task<Result<SnapshotRecord>> SnapshotCoordinator::restore_locked(Stored<VolumeInfo> volume,
                                                                 SnapshotRecord record) {
  CO_TRY(const auto log, co_await settle_brick(volume.value));
  CO_TRY(auto backend, co_await open_backend(record.brick_path));
  CO_TRY(co_await on_worker(node_.seams.workers, [&] { return backend->check_space(); }));
  const auto now_ns = static_cast<std::uint64_t>(node_.seams.clock.wall_time().count());

  SnapshotIntent intent;
  intent.operation = SnapshotIntent::Operation::kRestore;
  intent.snapshot = record;
  auto& kept = intent.kept;
  CO_TRY(kept.name, final_snapshot_name("pre-restore", true, now_ns));
  kept.id = Gfid::random(node_.seams.random, 0).hex();
  kept.volume = record.volume;
  kept.volume_id = record.volume_id;
  kept.brick_path = record.brick_path;
  kept.mark_index = log.last_index;
  kept.log_from = record.log_from;  // what this restore undoes is redone by a restore of it
  kept.hlc_ns = now_ns;
  kept.created_ns = now_ns;
  kept.description = fmt::format("replaced by the restore of {}", record.name);
  kept.backend = backend->name();
  kept.pre_restore = true;
  intent.place = backend->place();
  CO_TRY(auto version, co_await put_intent(intent, 0));
  crash_point("snapshot/restore-after-intent");

  auto prepared = co_await prepare(*backend, intent);
  if (!prepared) {
    auto abandoned = co_await abandon_restore(intent, version);
    if (!abandoned)
      log::error("restore of {}: {}; tried again at the next start", record.name,
                 abandoned.error().message());
    co_return std::move(prepared).error().with("the volume is as it was");
  }
  intent.committing = true;
  CO_TRY(version, co_await put_intent(intent, version));
  crash_point("snapshot/restore-before-commit");
  co_return co_await finish_restore(std::move(intent), version);
}

Task<Result<void>> SnapshotCoordinator::prepare(SnapshotBackend& backend, const SnapshotIntent& intent) {
  const auto& record = intent.snapshot;
  co_return co_await on_worker(node_.seams.workers, [&]() -> Result<void> {
    auto made = node_.seams.disk.mkdir(Disk::kNoDir, node_.run_dir + "/snapshots", 0700);
    if (!made && !made.failed_with(EEXIST)) return made;
    TRY(auto copy, backend.prepare_restore(record.id, mount_of("restore-" + record.volume_id.hex())));
    crash_point("snapshot/restore-after-copy");
    RestoreMarker marker{
        .mark = record.id, .mark_index = record.mark_index, .carried_upto = intent.kept.mark_index};
    TRY(carry_log(node_.seams.disk, record.brick_path, copy, marker));
    crash_point("snapshot/restore-after-carry");
    return {};
  });
}

Task<Result<void>> SnapshotCoordinator::abandon_restore(const SnapshotIntent& intent, std::uint64_t version) {
  const auto& record = intent.snapshot;
  CO_TRY(auto backend, co_await open_backend(record.brick_path, intent.place));
  CO_TRY(co_await on_worker(node_.seams.workers, [&] {
    return backend->abandon_restore(mount_of("restore-" + record.volume_id.hex()));
  }));
  co_return co_await delete_record(node_.store, kIntentKind, record.volume, version);
}

/// Completes what is missing; may be called again after a crash anywhere in it.
Task<Result<SnapshotRecord>> SnapshotCoordinator::finish_restore(SnapshotIntent intent,
                                                                 std::uint64_t version) {
  const auto& record = intent.snapshot;
  CO_TRY(auto backend, co_await open_backend(record.brick_path, intent.place));
  CO_TRY(co_await on_worker(node_.seams.workers, [&] {
    return backend->commit_restore(intent.kept.id, mount_of("restore-" + record.volume_id.hex()));
  }));
  crash_point("snapshot/restore-after-commit");
  auto kept = intent.kept;
  for (int n = 2;; ++n) {
    auto is_free = co_await check_name_free(kept.name);
    if (is_free) break;
    if (!is_free.failed_with(EEXIST)) co_return std::move(is_free).error();
    kept.name = fmt::format("{}-{}", intent.kept.name, n);
  }
  CO_TRY(auto volume, co_await get_volume(node_.store, record.volume));
  ++volume.value.incarnation;
  const auto volume_key = "volume/" + record.volume;
  const auto intent_key = std::string(kIntentKind) + "/" + record.volume;
  ClusterTransaction transaction;
  transaction.expect(volume_key, volume.version)
      .expect(intent_key, version)
      .put(volume_key, json::text(to_json(volume.value)))
      .put(std::string(kSnapshotKind) + "/" + kept.name, json::text(to_json(kept)))
      .remove(intent_key);
  // Whoever follows a restore of another snapshot later has this one on the way.
  CO_TRY(auto others, co_await list_of(record.volume));
  for (auto& other : others) {
    if (other.log_from <= record.log_from) continue;
    other.log_from = record.log_from;
    transaction.put(std::string(kSnapshotKind) + "/" + other.name, json::text(to_json(other)));
  }
  CO_TRY(co_await node_.store.commit(std::move(transaction)));
  names_.insert(kept.name);
  crash_point("snapshot/restore-done");
  log::info("volume {} is restored to snapshot {} (record {}); what was replaced is snapshot {}",
            record.volume, record.name, record.mark_index, kept.name);
  co_return kept;
}

}  // namespace polder
