// SPDX-License-Identifier: GPL-3.0-or-later
// SnapshotCoordinator: activation. An activated snapshot is served like a volume of its name: HOST:/NAME.
#include "base/log.h"
#include "base/on_worker.h"
#include "snapshot/coordinator/active.h"

namespace polder {

Task<void> SnapshotCoordinator::open() {
  auto all = co_await list();
  if (!all) {
    log::error("snapshots: {}", all.error().message());
    co_return;
  }
  for (const auto& record : *all) {
    if (!record.active) continue;
    auto served = co_await serve(record);
    if (!served) log::error("snapshot {} is not served: {}", record.name, served.error().message());
  }
}

Task<void> SnapshotCoordinator::close() {
  while (!active_.empty()) {
    auto name = active_.begin()->first;
    co_await node_.volumes.rpc().remove_volume(name);
    active_.erase(name);
  }
}

Task<Result<void>> SnapshotCoordinator::activate(std::string name) {
  CO_TRY(auto found, co_await find(name));
  CO_TRY(auto guard, co_await node_.volumes.lock(found.value.volume));
  CO_TRY(auto record, co_await find(name));  // as it is now
  co_return co_await activate_locked(std::move(record));
}

Task<Result<void>> SnapshotCoordinator::activate_locked(Stored<SnapshotRecord> record) {
  auto& snapshot = record.value;
  if (active_.contains(snapshot.name)) {
    co_return Error(EALREADY).with("the snapshot '{}' is activated already", snapshot.name);
  }
  CO_TRY(co_await serve(snapshot));
  snapshot.active = true;
  auto stored =
      co_await put_record(node_.store, kSnapshotKind, snapshot.name, to_json(snapshot), record.version);
  if (stored) co_return Result<void>();
  auto taken_back = co_await unserve(snapshot);
  if (!taken_back) log::error("snapshot {}: {}", snapshot.name, taken_back.error().message());
  co_return std::move(stored).error();
}

Task<Result<void>> SnapshotCoordinator::deactivate(std::string name) {
  CO_TRY(auto found, co_await find(name));
  CO_TRY(auto guard, co_await node_.volumes.lock(found.value.volume));
  CO_TRY(auto record, co_await find(name));
  if (!record.value.active) co_return Error(EALREADY).with("the snapshot '{}' is not activated", name);
  record.value.active = false;
  CO_TRY(co_await put_record(node_.store, kSnapshotKind, name, to_json(record.value), record.version));
  co_return co_await unserve(record.value);
}

Task<Result<void>> SnapshotCoordinator::serve(const SnapshotRecord& record) {
  if (active_.contains(record.name)) co_return Result<void>();
  CO_TRY(auto volume, co_await get_volume(node_.store, record.volume));
  CO_TRY(auto backend, co_await open_backend(record.brick_path));
  CO_TRY(auto id, Gfid::parse(record.id));
  const auto brick = volume.value.bricks.front().id;
  CO_TRY(auto store, co_await on_worker(node_.seams.workers, [&]() -> Result<std::unique_ptr<Store>> {
           auto made = node_.seams.disk.mkdir(Disk::kNoDir, node_.run_dir + "/snapshots", 0700);
           if (!made && !made.failed_with(EEXIST)) return std::move(made).error();
           TRY(auto path, backend->activate(record.id, mount_of(record.id)));
           return Store::open(node_.seams.disk, path,
                              {.volume = record.volume_id, .brick = brick, .read_only = true});
         }));
  auto active = std::make_shared<Active>(node_.seams, std::move(store));
  auto served = std::make_shared<ServedVolume>(ServedVolume{.name = record.name,
                                                            .ops = &active->locks,
                                                            .invalidations = nullptr,
                                                            .read_only = true,
                                                            .id = id,
                                                            .lineage = volume.value.lineage,
                                                            .incarnation = 1});
  CO_TRY(co_await node_.volumes.rpc().add_volume(std::move(served)));
  active_[record.name] = std::move(active);
  log::info("snapshot {} is activated", record.name);
  co_return Result<void>();
}

Task<Result<void>> SnapshotCoordinator::unserve(const SnapshotRecord& record) {
  co_await node_.volumes.rpc().remove_volume(record.name);
  active_.erase(record.name);
  CO_TRY(auto backend, co_await open_backend(record.brick_path));
  co_return co_await on_worker(node_.seams.workers,
                               [&] { return backend->deactivate(record.id, mount_of(record.id)); });
}

}  // namespace polder
