// SPDX-License-Identifier: GPL-3.0-or-later
// Volumes: bricks that go and come back. Every few seconds each volume that should run is looked at: a brick
// whose directory or disk is gone is taken down, what does not run is tried again, and the sets are weighed.
#include "base/clock.h"
#include "base/coro.h"
#include "base/log.h"
#include "core-volume/node/volumes.h"

namespace polder {
namespace {

constexpr auto kLookInterval = std::chrono::seconds(2);
constexpr auto kTryDiskInterval = std::chrono::seconds(30);  // costs a write
constexpr auto kWeighInterval = std::chrono::seconds(10);

}  // namespace

Task<void> Volumes::watch() {
  for (;;) {
    if (!co_await seams_.clock.sleep_for(kLookInterval)) co_return;
    for (const auto& [name, started] : known_) {
      // One at a time; a disk that hangs, or a long snapshot, keeps the others from nothing.
      if (!started || looked_after_.contains(name)) continue;
      looked_after_.insert(name);
      care_.spawn(executor_, look_after(name));
    }
  }
}

Task<void> Volumes::look_after(std::string name) {
  {
    auto guard = co_await lock(name);
    auto volume = running(name);
    if (guard && volume && !volume->stopping) {
      co_await look_after_running(std::move(volume));
    } else if (guard && !volume) {
      co_await try_again(name);
    }
  }
  looked_after_.erase(name);
}

Task<void> Volumes::look_after_running(std::shared_ptr<RunningVolume> volume) {
  const auto now = seams_.clock.boot_time();
  const auto name = volume->info.name;
  const bool write = now - volume->disks_tried_at >= kTryDiskInterval;
  if (write) volume->disks_tried_at = now;
  auto well = co_await volume->stack->check(write);
  if (!well) {
    log::error("volume {} goes down: {}", name, well.error().message());
    failures_[name] = well.error().message();
    co_return co_await bring_down(name);
  }
  co_await start_failed_bricks(volume);
  if (!running(name)) co_return;
  if (now - volume->weighed_at < kWeighInterval) co_return;
  volume->weighed_at = now;
  co_await volume->stack->weigh();
}

/// A brick that comes back knows nothing of open files and locks: as after a restart of the daemon, clients
/// open theirs again and claim their locks, before others get any.
Task<void> Volumes::start_failed_bricks(std::shared_ptr<RunningVolume> volume) {
  const auto name = volume->info.name;
  bool quiet = false;
  const auto make_quiet = [&]() -> Task<void> {
    quiet = true;
    co_await rpc_->remove_volume(name);
  };
  co_await volume->stack->start_failed(make_quiet);
  if (!quiet) co_return;
  volume->served->losses = volume->stack->losses();
  auto served = co_await rpc_->add_volume(volume->served);
  if (served) co_return;
  log::error("volume {} goes down: {}", name, served.error().message());
  failures_[name] = served.error().message();
  co_await bring_down(name);
}

Task<void> Volumes::try_again(std::string name) {
  auto volume = co_await get_volume(store_, name);
  if (!volume || volume->value.state != VolumeState::kStarted) co_return;
  const auto before = failure(name);
  auto up = co_await bring_up(volume->value);
  if (up)
    log::info("volume {} runs again", name);
  else if (up.error().message() != before)
    log::error("volume {} does not run: {}", name, up.error().message());
}

}  // namespace polder
