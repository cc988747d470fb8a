// SPDX-License-Identifier: GPL-3.0-or-later
// SnapshotCoordinator: deletion. Once announced it is finished, by the next start if need be.
#include "base/crash_point.h"
#include "base/log.h"
#include "base/on_worker.h"
#include "snapshot/coordinator/active.h"

namespace polder {

Task<Result<void>> SnapshotCoordinator::remove(std::string name) {
  CO_TRY(auto found, co_await find(name));
  CO_TRY(auto guard, co_await node_.volumes.lock(found.value.volume));
  CO_TRY(co_await resolve(found.value.volume));
  auto record = co_await find(name);
  if (record.failed_with(ENOENT))
    co_return Result<void>();  // its removal had been interrupted, and is finished now
  if (!record) co_return std::move(record).error();
  SnapshotIntent intent;
  intent.operation = SnapshotIntent::Operation::kDelete;
  intent.snapshot = record->value;
  CO_TRY(auto version, (co_await put_intent(intent, 0)).with("delete snapshot {}", name));
  crash_point("snapshot/delete-after-intent");
  co_return (co_await finish_remove(intent, version)).with("delete snapshot {}", name);
}

Task<Result<void>> SnapshotCoordinator::finish_remove(const SnapshotIntent& intent, std::uint64_t version) {
  const auto& record = intent.snapshot;
  CO_TRY(co_await unserve(record));
  CO_TRY(auto backend, co_await open_backend(record.brick_path));
  CO_TRY(co_await on_worker(node_.seams.workers, [&] { return backend->remove(record.id); }));
  crash_point("snapshot/delete-after-backend");
  const auto intent_key = std::string(kIntentKind) + "/" + record.volume;
  CO_TRY(auto sessions, co_await node_.store.list("session/" + record.name + "/"));
  ClusterTransaction transaction;
  transaction.expect(intent_key, version)
      .remove(intent_key)
      .remove(std::string(kSnapshotKind) + "/" + record.name)
      .remove("session-number/" + record.name);
  for (const auto& session : sessions) transaction.remove(session.key);
  CO_TRY(co_await node_.store.commit(std::move(transaction)));
  names_.erase(record.name);
  auto matched = co_await match_pins_of(record.volume);
  if (!matched) log::warning("volume {}: {}", record.volume, matched.error().message());
  log::info("snapshot {} of volume {} is deleted", record.name, record.volume);
  co_return Result<void>();
}

}  // namespace polder
