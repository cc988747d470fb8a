// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/node/volumes.h"

#include "base/clock.h"
#include "base/coro.h"
#include "base/log.h"
#include "core-volume/cluster/volume_options.h"

namespace polder {

Volumes::Volumes(Seams& seams, const asio::any_io_executor& executor, ClusterStore& store,
                 const NodeIdentity& identity)
    : seams_(seams),
      executor_(executor),
      store_(store),
      identity_(identity),
      sessions_(store),
      members_(store, executor),
      rpc_(std::make_unique<RpcServer>(seams, executor, sessions_, server_options())) {}

Volumes::~Volumes() = default;

RpcServerOptions Volumes::server_options() {
  RpcServerOptions options;
  options.role = [this](const PeerIdentity& peer, const std::string& volume) {
    return members_.role(peer, volume);
  };
  options.why_absent = [this](const std::string& volume) { return why_absent(volume); };
  return options;
}

Error Volumes::why_absent(const std::string& name) const {
  auto known = known_.find(name);
  if (known == known_.end()) {
    for (const auto& hooks : hooks_) {
      auto why = hooks.why_absent ? hooks.why_absent(name) : std::nullopt;
      if (why) return *std::move(why);
    }
    return Error(ENOENT).with("there is no volume '{}'", name);
  }
  if (!known->second) {
    return Error(ENOTCONN).with("the volume '{}' is not started; type: polder volume start {}", name, name);
  }
  return Error(ENOTCONN).with("the volume '{}' cannot run: {}", name, failure(name));
}

Result<VolumeUse> Volumes::use(const std::string& name) const {
  auto volume = running(name);
  if (!volume || volume->stopping) return why_absent(name);
  return VolumeUse(std::move(volume));
}

Result<void> need_one_set(const VolumeInfo& info, std::string_view what) {
  if (info.bricks.size() == 1) return {};
  return Error(EOPNOTSUPP)
      .with("the volume '{}' has {} bricks; {} of several bricks is not in this version", info.name,
            info.bricks.size(), what);
}

BrickConfig Volumes::brick_config(const VolumeInfo& info, const BrickSpec& spec) const {
  BrickConfig config;
  config.path = spec.path;
  config.volume = info.id;
  config.brick = spec.id;
  config.journal.segment_bytes = option_size(info.options, "changelog.segment-size");
  config.journal.retention_bytes = option_size(info.options, "changelog.retention-size");
  config.ordering.inline_data_bytes =
      static_cast<std::uint32_t>(option_size(info.options, "changelog.inline-data"));
  config.ordering.is_secondary = info.role == "secondary";
  config.ordering.short_work_inline = option_bool(info.options, "brick.inline-operations");
  return config;
}

VolumeStackConfig Volumes::stack_config(const VolumeInfo& info) const {
  VolumeStackConfig config;
  config.slots = info.slots;
  config.spread = parse_spread(option_text(info.options, "distribute.spread")).value_or(Spread::kAuto);
  for (const auto& spec : info.bricks) config.bricks[spec.set] = brick_config(info, spec);
  return config;
}

Task<Result<void>> Volumes::open() {
  CO_TRY(co_await members_.start());
  CO_TRY(auto before, co_await list_volumes(store_));
  for (const auto& volume : before) {
    if (volume.value.making.empty()) continue;
    auto taken_back = co_await take_back(volume.value.name);
    if (!taken_back) log::error("volume {}: {}", volume.value.name, taken_back.error().message());
  }
  CO_TRY(auto volumes, co_await list_volumes(store_));
  for (const auto& volume : volumes) known_[volume.value.name] = volume.value.state == VolumeState::kStarted;
  for (const auto& volume : volumes) {
    if (volume.value.state != VolumeState::kStarted) continue;
    CO_TRY(auto guard, co_await lock(volume.value.name));
    auto up = co_await bring_up(volume.value);
    if (!up) log::error("volume {} does not run: {}", volume.value.name, up.error().message());
  }
  watching_.spawn(executor_, watch());
  co_return Result<void>();
}

Task<void> Volumes::close() {
  co_await watching_.stop();
  co_await care_.wait_idle();  // not cancelled: a start that is half done would have to be undone
  auto names = running_names();
  for (const auto& name : names) {
    auto guard = co_await lock(name);
    co_await bring_down(name);
  }
  co_await rpc_->stop();
  co_await members_.stop();
}

Task<Result<Volumes::Guard>> Volumes::lock(std::string name) {
  std::vector<KeyLocks::Key> keys;
  keys.push_back({std::move(name), KeyLocks::Mode::kExclusive});
  co_return co_await locks_.lock(std::move(keys));
}

Task<Result<std::unique_ptr<VolumeStack>>> Volumes::start_stack(VolumeInfo& info) {
  for (const auto& hooks : hooks_) {
    if (hooks.before_start) {
      CO_TRY(co_await hooks.before_start(info));
    }
  }
  // A hook may have finished what was interrupted (a restore), and with it changed the record.
  CO_TRY(auto now, co_await get_volume(store_, info.name));
  info = std::move(now.value);
  co_return co_await VolumeStack::start(seams_, stack_config(info));
}

Task<Result<void>> Volumes::bring_up(VolumeInfo info) {
  auto name = info.name;
  if (running_.contains(name)) co_return Result<void>();
  auto stack = co_await start_stack(info);
  if (!stack) {
    failures_[name] = stack.error().message();
    co_return stack.error();
  }
  auto volume = std::make_shared<RunningVolume>();
  volume->stack = *std::move(stack);
  volume->started_ns = static_cast<std::uint64_t>(seams_.clock.wall_time().count());
  volume->disks_tried_at = volume->weighed_at = seams_.clock.boot_time();
  volume->served = std::make_shared<ServedVolume>(
      ServedVolume{.name = name,
                   .ops = &volume->stack->top(),
                   .invalidations = volume->stack.get(),
                   .leases = &volume->stack->leases(),
                   .await_clients = [stack = volume->stack.get()] { stack->await_clients(); },
                   .clients_are_back = [stack = volume->stack.get()] { stack->clients_are_back(); },
                   .read_only = info.read_only,
                   .id = info.id,
                   .lineage = info.lineage,
                   .incarnation = info.incarnation,
                   .losses = volume->stack->losses(),
                   .session_timeout = option_time(info.options, "network.session-timeout")});
  volume->info = std::move(info);
  auto served = co_await rpc_->add_volume(volume->served);
  if (!served) {
    failures_[name] = served.error().message();
    auto stopped = co_await volume->stack->stop();
    if (!stopped) log::error("volume {}: {}", name, stopped.error().message());
    co_return served;
  }
  failures_.erase(name);
  running_[name] = volume;
  log::info("volume {} runs ({} of {} bricks)", name, volume->stack->bricks().size(),
            volume->info.bricks.size());
  for (const auto& [set, why] : volume->stack->failures()) log::error("brick of set {}: {}", set, why);
  for (const auto& hooks : hooks_) {
    if (hooks.started) co_await hooks.started(volume);
  }
  co_return Result<void>();
}

Task<void> Volumes::bring_down(std::string name) {
  auto volume = running(name);
  if (!volume) co_return;
  volume->stopping = true;
  for (const auto& hooks : hooks_) {
    if (hooks.stopping) co_await hooks.stopping(volume);
  }
  co_await rpc_->remove_volume(name);
  while (volume->users > 0) {
    if (!co_await volume->left.wait()) break;  // only when the daemon itself is cancelled
  }
  auto stopped = co_await volume->stack->stop();
  if (!stopped) log::error("volume {}: {}", name, stopped.error().message());
  running_.erase(name);
  volume->stack.reset();
  log::info("volume {} has stopped", name);
}

std::shared_ptr<RunningVolume> Volumes::running(const std::string& name) const {
  auto found = running_.find(name);
  return found == running_.end() ? nullptr : found->second;
}

std::string Volumes::failure(const std::string& name) const {
  auto found = failures_.find(name);
  return found == failures_.end() ? std::string() : found->second;
}

std::vector<std::string> Volumes::running_names() const {
  std::vector<std::string> names;
  for (const auto& [name, volume] : running_) names.push_back(name);
  return names;
}

}  // namespace polder
