// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/vm/guest_volume.h"

#include "base/coro.h"
#include "core-volume/graph/volume_check.h"
#include "tests/vm/story.h"
#include "tests/workload/look.h"

namespace polder {
namespace {

constexpr unsigned kThreads = 4;

template <typename T>
T must(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().message());
  if constexpr (!std::is_void_v<T>) return *std::move(result);
}

Gfid brick_id(std::uint32_t set) {
  return Gfid{{2, static_cast<std::uint8_t>(set)}};
}

/// Checkpoints, sealed segments and dropped ones within seconds.
BrickConfig brick_config(const std::string& path, std::uint32_t set) {
  BrickConfig config{.path = path,
                     .volume = Gfid{{1}},
                     .brick = brick_id(set),
                     .lock_grace = {},
                     .journal = {},
                     .ordering = {}};
  config.journal.segment_bytes = 256 << 10;
  config.journal.retention_bytes = 1 << 20;
  config.journal.checkpoint_interval_s = 0;
  config.ordering.maintain_interval = std::chrono::milliseconds(500);
  config.ordering.orphan_grace = std::chrono::milliseconds(1);
  return config;
}

}  // namespace

GuestVolume::GuestVolume(RealLoop& loop, Disk& disk, const std::vector<std::string>& bricks)
    : loop_(loop),
      disk_(disk),
      clock_(make_system_clock()),
      random_(make_system_random()),
      transport_(make_socket_transport()),
      hlc_(*clock_),
      workers_(make_thread_workers(kThreads)),
      seams_{*clock_, *random_, disk_, *transport_, *workers_, hlc_} {
  config_.slots = even_slots(static_cast<std::uint32_t>(bricks.size()));
  config_.spread = bricks.size() == 1 ? Spread::kDirs : Spread::kFiles;
  for (std::uint32_t set = 0; set < bricks.size(); ++set)
    config_.bricks[set] = brick_config(bricks[set], set);
}

GuestVolume::~GuestVolume() {
  if (stack_) (void)loop_.run_until_done(stack_->stop());
}

void GuestVolume::format() {
  for (const auto& [set, brick] : config_.bricks)
    must(Brick::format(seams_, brick.path,
                       {.volume = brick.volume, .brick = brick_id(set), .set = set, .lineage = Gfid{{3}}}));
}

void GuestVolume::start() {
  stack_ = must(loop_.run_until_done(VolumeStack::start(seams_, config_)));
  for (const auto& [set, why] : stack_->failures()) throw std::runtime_error(why);
}

void GuestVolume::stop() {
  auto stopped = loop_.run_until_done(stack_->stop());
  stack_.reset();
  must(std::move(stopped));
}

Task<bool> GuestVolume::is_settled() {
  for (int i = 0; i < 500; ++i) {
    bool settled = true;
    for (const auto& [set, brick] : stack_->bricks())
      settled &= brick->ordering().open_transactions() == 0 && brick->store().orphans()->empty();
    if (settled) co_return true;
    if (!co_await clock_->sleep_for(std::chrono::milliseconds(10))) break;
  }
  co_return false;
}

std::vector<std::string> GuestVolume::problems() {
  std::vector<std::string> found;
  if (!loop_.run_until_done(is_settled())) found.push_back("transactions or orphans are left");
  std::map<std::uint32_t, Store*> stores;
  for (const auto& [set, brick] : stack_->bricks()) {
    stores[set] = &brick->store();
    auto log = brick->journal().verify();
    if (!log) found.push_back(log.error().message());
    if (log && !log->damage.empty()) found.push_back("log: " + log->damage.front().what);
  }
  std::ranges::move(volume_problems(stores, stack_->placement()), std::back_inserter(found));
  return found;
}

FoundVolume GuestVolume::look() {
  return must(loop_.run_until_done(polder::look(top())));
}

void GuestVolume::try_change() {
  const OpContext ctx{.session = 99, .sequence = 1};
  auto made = must(loop_.run_until_done(top().mkdir(ctx, Gfid::root(), "after", {.mode = 0755})));
  must(loop_.run_until_done(top().fsync(ctx, made.gfid, false)));
}

std::string GuestVolume::records() const {
  return records_of(*stack_);
}

}  // namespace polder
