// SPDX-License-Identifier: GPL-3.0-or-later
// What admins do to volumes: create, start, stop, delete, options.
#include "base/clock.h"
#include "base/coro.h"
#include "base/crash_point.h"
#include "base/log.h"
#include "base/random.h"
#include "core-volume/cluster/volume_options.h"
#include "core-volume/node/volumes.h"

namespace polder {
namespace {

constexpr std::size_t kBricksMax = 1024;

}  // namespace

Result<BrickSpec> Volumes::parse_brick(const std::string& text) const {
  // NODE may be an IPv6 address in brackets; the path begins at ":/".
  auto colon = text.find(":/");
  if (colon == std::string::npos || colon == 0) {
    return Error(EINVAL).with("'{}' is not a brick; write NODE:/path, here {}:/path", text,
                              identity_.node.name);
  }
  auto node = text.substr(0, colon);
  auto host = node.starts_with('[') && node.ends_with(']') ? node.substr(1, node.size() - 2) : node;
  if (!identity_.is_me(host)) {
    return Error(EINVAL).with("there is no node '{}' in this cluster; this node is {}", node,
                              identity_.node.name);
  }
  BrickSpec spec{.node = identity_.node.name, .path = text.substr(colon + 1), .set = 0, .id = {}};
  TRY(check_brick_path(spec.path));
  return spec;
}

Task<Result<std::vector<std::string>>> Volumes::used_brick_paths() {
  CO_TRY(auto volumes, co_await list_volumes(store_));
  std::vector<std::string> paths;
  for (const auto& volume : volumes) {
    for (const auto& brick : volume.value.bricks) paths.push_back(brick.path);
    for (const auto& brick : volume.value.making) paths.push_back(brick.spec.path);
  }
  co_return paths;
}

Task<Result<CreatedVolume>> Volumes::create(CreateVolume request) {
  CO_TRY(check_name("volume name", request.name));
  // Creations are one at a time: two must not choose overlapping directories.
  CO_TRY(auto creating, co_await lock("/create"));
  CO_TRY(auto guard, co_await lock(request.name));
  co_return co_await create_locked(std::move(request));
}

Task<Result<void>> Volumes::may_be_created(std::string name) {
  auto existing = co_await get_volume(store_, name);
  if (existing) co_return Error(EEXIST).with("there is a volume '{}' already", name);
  if (!existing.failed_with(ENOENT)) co_return existing.error();
  for (const auto& hooks : hooks_) {
    if (hooks.may_create) {
      CO_TRY(co_await hooks.may_create(name));
    }
  }
  co_return Result<void>();
}

/// The record first, with all that is going to be made: whatever stops us, what was made of it is found by it
/// and removed, here or at the daemon's next start.
Task<Result<CreatedVolume>> Volumes::create_locked(CreateVolume request) {
  VolumeInfo info;
  info.name = request.name;
  info.id = Gfid::random(seams_.random, 0);
  info.lineage = Gfid::random(seams_.random, 0);
  info.created_ns = static_cast<std::uint64_t>(seams_.clock.wall_time().count());
  if (request.bricks.empty()) co_return Error(EINVAL).with("a volume needs at least one brick");
  if (request.bricks.size() > kBricksMax)
    co_return Error(EINVAL).with("{} bricks were named; {} are allowed", request.bricks.size(), kBricksMax);
  CO_TRY(auto making, co_await announce(request.bricks, info, request.force));
  CO_TRY(co_await may_be_created(request.name));
  info.slots = even_slots(static_cast<std::uint32_t>(making.size()));
  for (const auto& brick : making) info.bricks.push_back(brick.spec);
  info.making = std::move(making);
  CO_TRY(auto version, co_await put_volume(store_, info, 0));
  crash_point("node/create-after-announcement");
  auto notes = co_await make_bricks(info, request.force);
  Result<void> done = notes ? Result<void>() : Result<void>(notes.error());
  if (done) {
    crash_point("node/create-before-commit");
    info.making.clear();
    auto stored = co_await put_volume(store_, info, version);
    if (!stored) done = stored.error();
  }
  if (!done) {
    auto taken_back = co_await take_back(info.name);
    if (!taken_back) log::error("volume {} is left behind: {}", info.name, taken_back.error().message());
    co_return done.error();
  }
  known_[info.name] = false;
  log::info("volume {} created ({} bricks)", info.name, info.bricks.size());
  co_return CreatedVolume{info, *std::move(notes)};
}

Task<Result<void>> Volumes::set_state(std::string name, VolumeState state) {
  CO_TRY(auto volume, co_await get_volume(store_, name));
  volume.value.state = state;
  CO_TRY(co_await put_volume(store_, volume.value, volume.version));
  known_[name] = state == VolumeState::kStarted;
  co_return Result<void>();
}

Task<Result<void>> Volumes::start(std::string name, bool force) {
  CO_TRY(auto guard, co_await lock(name));
  CO_TRY(auto volume, co_await get_volume(store_, name));
  bool started = volume.value.state == VolumeState::kStarted;
  if (started && running(name) && !force)
    co_return Error(EALREADY).with("the volume '{}' is started already", name);
  // The brick first: a volume that cannot run does not become Started.
  CO_TRY(co_await bring_up(volume.value));
  if (auto active = running(name); active && force) co_await start_failed_bricks(active);
  if (started) co_return Result<void>();
  auto stored = co_await set_state(name, VolumeState::kStarted);
  if (!stored) co_await bring_down(name);
  co_return stored;
}

Task<Result<void>> Volumes::stop(std::string name) {
  CO_TRY(auto guard, co_await lock(name));
  CO_TRY(auto volume, co_await get_volume(store_, name));
  if (volume.value.state != VolumeState::kStarted) {
    co_return Error(EALREADY).with("the volume '{}' is not started", name);
  }
  CO_TRY(co_await set_state(name, VolumeState::kStopped));
  failures_.erase(name);
  co_await bring_down(name);
  co_return Result<void>();
}

Task<Result<VolumeInfo>> Volumes::remove(std::string name) {
  CO_TRY(auto guard, co_await lock(name));
  CO_TRY(auto volume, co_await get_volume(store_, name));
  if (volume.value.state == VolumeState::kStarted) {
    co_return Error(EBUSY).with("the volume '{}' is started; type: polder volume stop {}", name, name);
  }
  for (const auto& hooks : hooks_) {
    if (hooks.may_delete) {
      CO_TRY(co_await hooks.may_delete(volume.value));
    }
  }
  if (!volume.value.making.empty()) {
    CO_TRY(co_await take_back(name));  // all that there is of it, or a set that has not joined
    auto rest = co_await get_volume(store_, name);
    if (rest.failed_with(ENOENT)) co_return volume.value;
    CO_TRY(volume, std::move(rest));
  }
  CO_TRY(auto sessions, co_await store_.list("session/" + name + "/"));
  ClusterTransaction transaction;
  transaction.expect("volume/" + name, volume.version)
      .remove("volume/" + name)
      .remove("session-number/" + name);
  for (const auto& session : sessions) transaction.remove(session.key);
  CO_TRY(co_await store_.commit(std::move(transaction)));
  known_.erase(name);
  for (const auto& brick : volume.value.bricks)
    log::info("volume {} deleted; its brick {} stays", name, brick.path);
  co_return volume.value;
}

Task<Result<std::string>> Volumes::set_option(std::string name, std::string key,
                                              std::optional<std::string> value) {
  CO_TRY(auto guard, co_await lock(name));
  CO_TRY(auto volume, co_await get_volume(store_, name));
  CO_TRY(const auto* option, find_volume_option(key));
  if (value) {
    CO_TRY(volume.value.options[key], normalize_option(key, *value));
  } else {
    volume.value.options.erase(key);
  }
  CO_TRY(co_await put_volume(store_, volume.value, volume.version));
  if (auto active = running(name)) {
    active->info.options = volume.value.options;
    active->served->session_timeout = option_time(active->info.options, "network.session-timeout");
    auto spread = parse_spread(option_text(active->info.options, "distribute.spread"));
    if (spread) active->stack->placement().set_spread(*spread);
  }
  co_return option_text(volume.value.options, option->name);
}

Task<Result<void>> Volumes::update(VolumeInfo info, std::uint64_t version) {
  CO_TRY(co_await put_volume(store_, info, version));
  if (auto active = running(info.name)) {
    active->served->read_only = info.read_only;
    active->info = std::move(info);
  }
  co_return Result<void>();
}

}  // namespace polder
