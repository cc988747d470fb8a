// SPDX-License-Identifier: GPL-3.0-or-later
// SnapshotCoordinator: life with the daemon, recovery, limits.
#include "snapshot/coordinator/coordinator.h"

#include <charconv>

#include "base/log.h"
#include "base/on_worker.h"
#include "snapshot/coordinator/active.h"
#include "snapshot/coordinator/pins.h"

namespace polder {
namespace {

constexpr const char* kAllVolumes = "*";
constexpr std::uint64_t kHardLimitMax = 256;  // GlusterFS's

/// A record that does not read is damage of the store.
template <typename T>
Result<Stored<T>> decoded(Result<T> value, const std::string& key, std::uint64_t version) {
  if (!value) return Error(EUCLEAN).with("{} in the cluster's store: {}", key, value.error().message());
  return Stored<T>{*std::move(value), version};
}

}  // namespace

SnapshotCoordinator::SnapshotCoordinator(const NodeContext& node, SnapshotBackends& backends,
                                         SnapshotOptions options)
    : node_(node), backends_(backends), options_(options) {}

SnapshotCoordinator::~SnapshotCoordinator() = default;

void SnapshotCoordinator::attach() {
  add_routes();
  VolumeHooks hooks;
  hooks.may_create = [this](std::string volume) { return may_create(std::move(volume)); };
  hooks.may_delete = [this](const VolumeInfo& volume) { return may_delete(volume); };
  hooks.may_extend = [this](const VolumeInfo& volume) { return may_delete(volume); };
  // A brick whose storage is half exchanged must not start.
  hooks.before_start = [this](const VolumeInfo& volume) { return resolve(volume.name); };
  hooks.started = [this](std::shared_ptr<RunningVolume> volume) -> Task<void> {
    auto matched = co_await match_pins_of(volume->info.name);
    if (!matched) log::error("snapshots of volume {}: {}", volume->info.name, matched.error().message());
  };
  hooks.why_absent = [this](const std::string& name) { return why_absent(name); };
  node_.volumes.add_hooks(std::move(hooks));
}

Task<Result<void>> SnapshotCoordinator::recover() {
  CO_TRY(co_await load_names());
  auto alone = co_await outlive_orphans();
  if (!alone) log::error("snapshots: {}", alone.error().message());  // resolve() waits for them again
  CO_TRY(auto intents, co_await list_records(node_.store, kIntentKind));
  for (const auto& [volume, intent] : intents) {
    CO_TRY(auto guard, co_await node_.volumes.lock(volume));
    auto resolved = co_await resolve(volume);
    if (!resolved) log::error("snapshots of volume {}: {}", volume, resolved.error().message());
  }
  co_return Result<void>();
}

/// What a killed daemon started (btrfs, lvcreate) may still be at work.
Task<Result<void>> SnapshotCoordinator::outlive_orphans() {
  co_return co_await on_worker(node_.seams.workers, [&] { return backends_.claim(); });
}

Task<Result<void>> SnapshotCoordinator::resolve(std::string volume) {
  auto stored = co_await get_record(node_.store, kIntentKind, volume);
  if (stored.failed_with(ENOENT)) co_return Result<void>();
  if (!stored) co_return std::move(stored).error();
  CO_TRY(co_await outlive_orphans());
  const auto key = std::string(kIntentKind) + "/" + volume;
  CO_TRY(auto intent, decoded(intent_from_json(stored->value), key, stored->version));
  const auto name = intent.value.snapshot.name;
  auto resolved = co_await resolve_intent(std::move(intent));
  if (resolved) log::info("snapshot {} of volume {}: what was interrupted is settled", name, volume);
  co_return std::move(resolved).with("settle what was interrupted with snapshot {}", name);
}

Task<Result<void>> SnapshotCoordinator::resolve_intent(Stored<SnapshotIntent> intent) {
  using enum SnapshotIntent::Operation;
  if (intent.value.operation == kCreate) co_return co_await undo_create(intent.value, intent.version);
  if (intent.value.operation == kDelete) co_return co_await finish_remove(intent.value, intent.version);
  if (!intent.value.committing) co_return co_await abandon_restore(intent.value, intent.version);
  CO_TRY(co_await finish_restore(intent.value, intent.version));
  co_return Result<void>();
}

Task<Result<void>> SnapshotCoordinator::load_names() {
  CO_TRY(auto all, co_await list_records(node_.store, kSnapshotKind));
  for (const auto& [name, record] : all) names_.insert(name);
  co_return Result<void>();
}

std::optional<Error> SnapshotCoordinator::why_absent(const std::string& name) const {
  if (!names_.contains(name)) return std::nullopt;
  return Error(ENOTCONN).with("the snapshot '{}' is not activated; type: polder snapshot activate {}", name,
                              name);
}

Task<Result<void>> SnapshotCoordinator::may_create(std::string volume) {
  auto taken = co_await find(volume);
  if (taken) co_return Error(EEXIST).with("there is a snapshot '{}'; choose another name", volume);
  if (!taken.failed_with(ENOENT)) co_return std::move(taken).error();
  co_return Result<void>();
}

Task<Result<void>> SnapshotCoordinator::may_delete(const VolumeInfo& volume) {
  CO_TRY(co_await resolve(volume.name));
  CO_TRY(auto all, co_await records());
  for (const auto& record : all) {
    if (record.value.volume != volume.name) continue;
    co_return Error(EBUSY).with("the volume '{}' has snapshots ({}); type: polder snapshot delete volume {}",
                                volume.name, record.value.name, volume.name);
  }
  co_return Result<void>();
}

Task<Result<SnapshotCoordinator::Backend>> SnapshotCoordinator::open_backend(std::string brick_path,
                                                                             std::string place) {
  co_return co_await on_worker(node_.seams.workers, [&] { return backends_.make(brick_path, place); });
}

Task<Result<Stored<SnapshotRecord>>> SnapshotCoordinator::find(std::string name) {
  CO_TRY(auto stored, co_await get_record(node_.store, kSnapshotKind, name));
  co_return decoded(snapshot_from_json(stored.value), std::string(kSnapshotKind) + "/" + name,
                    stored.version);
}

Task<Result<std::vector<Stored<SnapshotRecord>>>> SnapshotCoordinator::records() {
  CO_TRY(auto all, co_await list_records(node_.store, kSnapshotKind));
  std::vector<Stored<SnapshotRecord>> out;
  for (const auto& [name, stored] : all) {
    CO_TRY(auto record, decoded(snapshot_from_json(stored.value), std::string(kSnapshotKind) + "/" + name,
                                stored.version));
    out.push_back(std::move(record));
  }
  co_return out;
}

Task<Result<std::vector<SnapshotRecord>>> SnapshotCoordinator::list() {
  CO_TRY(auto all, co_await records());
  std::vector<SnapshotRecord> out;
  for (auto& record : all) out.push_back(std::move(record.value));
  co_return out;
}

Task<Result<std::vector<SnapshotRecord>>> SnapshotCoordinator::list_of(std::string volume) {
  CO_TRY(auto out, co_await list());
  std::erase_if(out, [&](const auto& record) { return record.volume != volume; });
  co_return out;
}

/// Nothing when the volume does not run: its next start does it.
Task<Result<void>> SnapshotCoordinator::match_pins_of(std::string volume) {
  auto running = node_.volumes.running(volume);
  if (!running) co_return Result<void>();
  CO_TRY(auto snapshots, co_await list_of(volume));
  co_return co_await on_worker(node_.seams.workers,
                               [&] { return match_pins(running->stack->root_brick().journal(), snapshots); });
}

Task<Result<SnapshotRecord>> SnapshotCoordinator::get(std::string name) {
  CO_TRY(auto record, co_await find(std::move(name)));
  co_return std::move(record.value);
}

Task<Result<std::uint64_t>> SnapshotCoordinator::put_intent(const SnapshotIntent& intent,
                                                            std::uint64_t version) {
  auto volume = intent.snapshot.volume;
  co_return co_await put_record(node_.store, kIntentKind, std::move(volume), to_json(intent), version);
}

std::string SnapshotCoordinator::mount_of(const std::string& id) const {
  return node_.run_dir + "/snapshots/" + id;
}

// --- limits

Task<Result<SnapshotLimits>> SnapshotCoordinator::limits(std::string volume) {
  for (const auto& name : {volume, std::string(kAllVolumes)}) {
    auto stored = co_await get_record(node_.store, kLimitsKind, name);
    if (stored.failed_with(ENOENT)) continue;
    if (!stored) co_return std::move(stored).error();
    co_return limits_from_json(stored->value);
  }
  co_return SnapshotLimits{};
}

Task<Result<void>> SnapshotCoordinator::set_limit(std::string volume, std::string key, std::string value) {
  if (volume != kAllVolumes) {
    CO_TRY(co_await get_volume(node_.store, volume));
  }
  CO_TRY(auto limits, co_await this->limits(volume));
  if (key == "snap-max-hard-limit") {
    std::uint64_t number = 0;
    auto parsed = std::from_chars(value.data(), value.data() + value.size(), number);
    const bool whole = parsed.ec == std::errc() && parsed.ptr == value.data() + value.size();
    if (!whole || number < 1 || number > kHardLimitMax)
      co_return Error(EINVAL).with("{} '{}' is not a number from 1 to {}", key, value, kHardLimitMax);
    limits.hard_limit = number;
  } else if (key == "activate-on-create") {
    if (value != "on" && value != "off")
      co_return Error(EINVAL).with("{} is on or off, not '{}'", key, value);
    limits.activate_on_create = value == "on";
  } else {
    co_return Error(EINVAL).with("'{}' is not known; there are snap-max-hard-limit and activate-on-create",
                                 key);
  }
  ClusterTransaction transaction;
  transaction.put(std::string(kLimitsKind) + "/" + volume, json::text(to_json(limits)));
  CO_TRY(co_await node_.store.commit(std::move(transaction)));
  co_return Result<void>();
}

}  // namespace polder
