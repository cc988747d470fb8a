// SPDX-License-Identifier: GPL-3.0-or-later
// What admins do to volumes: create, start, stop, delete, options.
#include "base/clock.h"
#include "base/log.h"
#include "base/on_worker.h"
#include "base/random.h"
#include "core-volume/cluster/volume_options.h"
#include "core-volume/node/brick_place.h"
#include "core-volume/node/volumes.h"

namespace polder {

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

Task<Result<CreatedVolume>> Volumes::create_locked(CreateVolume request) {
  if (request.bricks.size() != 1) {
    co_return Error(EOPNOTSUPP)
        .with("a volume has exactly one brick in this version ({} were named)", request.bricks.size());
  }
  CO_TRY(auto spec, parse_brick(request.bricks.front()));
  auto existing = co_await get_volume(store_, request.name);
  if (existing) co_return Error(EEXIST).with("there is a volume '{}' already", request.name);
  if (!existing.failed_with(ENOENT)) co_return existing.error();
  for (const auto& hooks : hooks_) {
    if (hooks.may_create) {
      CO_TRY(co_await hooks.may_create(request.name));
    }
  }
  CO_TRY(auto used, co_await used_brick_paths());
  CO_TRY(refuse_overlap(spec.path, used));

  spec.id = Gfid::random(seams_.random, 0);
  VolumeInfo info;
  info.name = request.name;
  info.id = Gfid::random(seams_.random, 0);
  info.lineage = Gfid::random(seams_.random, 0);
  info.bricks = {spec};
  info.created_ns = static_cast<std::uint64_t>(seams_.clock.wall_time().count());

  auto place = co_await on_worker(seams_.workers,
                                  [&] { return prepare_brick_place(seams_.disk, spec.path, request.force); });
  if (!place) co_return place.error();
  // The record first: after a crash a volume whose brick was never made can be deleted; a brick that no
  // record names would only be in the way.
  auto stored = co_await put_volume(store_, info, 0);
  if (!stored) {
    co_await on_worker(seams_.workers, [&] { return remove_brick_place(seams_.disk, spec.path, *place), 0; });
    co_return stored.error();
  }
  BrickIdentity identity{.volume = info.id, .brick = spec.id, .set = spec.set, .lineage = info.lineage};
  auto formatted =
      co_await on_worker(seams_.workers, [&] { return Brick::format(seams_, spec.path, identity); });
  if (!formatted) {
    auto deleted = co_await delete_record(store_, "volume", info.name, *stored);
    if (!deleted) log::error("volume {} is left behind: {}", info.name, deleted.error().message());
    co_await on_worker(seams_.workers, [&] { return remove_brick_place(seams_.disk, spec.path, *place), 0; });
    co_return formatted.error();
  }
  known_[info.name] = false;
  log::info("volume {} created (brick {})", info.name, spec.path);
  co_return CreatedVolume{info, place->notes};
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
  CO_TRY(auto sessions, co_await store_.list("session/" + name + "/"));
  ClusterTransaction transaction;
  transaction.expect("volume/" + name, volume.version)
      .remove("volume/" + name)
      .remove("session-number/" + name);
  for (const auto& session : sessions) transaction.remove(session.key);
  CO_TRY(co_await store_.commit(std::move(transaction)));
  known_.erase(name);
  log::info("volume {} deleted; its brick {} stays", name, volume.value.bricks.front().path);
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
