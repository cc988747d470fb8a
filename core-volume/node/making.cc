// SPDX-License-Identifier: GPL-3.0-or-later
// Volumes: bricks in the making. They are announced in the volume's record before anything of them exists, so
// that a creation that fails or is killed leaves nothing behind.
#include "base/coro.h"
#include "base/crash_point.h"
#include "base/log.h"
#include "base/on_worker.h"
#include "base/random.h"
#include "core-volume/node/volumes.h"

namespace polder {

/// Checks all before anything is made. Their sets follow those of `to`.
Task<Result<std::vector<BrickInMaking>>> Volumes::announce(const std::vector<std::string>& bricks,
                                                           const VolumeInfo& to, bool force) {
  CO_TRY(auto used, co_await used_brick_paths());
  std::vector<BrickInMaking> making;
  std::vector<std::string> of_volume;
  std::uint32_t next_set = 0;
  for (const auto& brick : to.bricks) {
    of_volume.push_back(brick.path);
    next_set = std::max(next_set, brick.set + 1);
  }
  for (const auto& text : bricks) {
    BrickInMaking one;
    CO_TRY(one.spec, parse_brick(text));
    one.spec.id = Gfid::random(seams_.random, 0);
    one.spec.set = next_set++;
    const auto& path = one.spec.path;
    if (std::ranges::find(of_volume, path) != of_volume.end())
      co_return Error(EINVAL).with("the brick {} is named twice, or is in the volume already", path);
    CO_TRY(refuse_overlap(path, used));
    CO_TRY(one.had_directory, co_await on_worker(seams_.workers, [&]() -> Result<bool> {
             TRY(bool there, check_brick_place(seams_.disk, path, force));
             if (!force) {
               TRY(refuse_shared_file_system(seams_.disk, path, of_volume));
             }
             return there;
           }));
    used.push_back(path);
    of_volume.push_back(path);
    making.push_back(std::move(one));
  }
  co_return making;
}

/// All that the record announces. Returns notes for who asked for them.
Task<Result<std::vector<std::string>>> Volumes::make_bricks(const VolumeInfo& info, bool force) {
  co_return co_await on_worker(seams_.workers, [&]() -> Result<std::vector<std::string>> {
    std::vector<std::string> notes;
    for (const auto& [spec, had_directory] : info.making) {
      TRY(auto place, prepare_brick_place(seams_.disk, spec.path, force));
      notes.insert(notes.end(), place.notes.begin(), place.notes.end());
      crash_point("node/making-before-format");
      BrickIdentity identity{.volume = info.id, .brick = spec.id, .set = spec.set, .lineage = info.lineage};
      TRY(Brick::format(seams_, spec.path, identity));
      crash_point("node/making-after-format");
    }
    return notes;
  });
}

/// Removes what was made of bricks that did not come to be part of the volume, and the volume when nothing is
/// left of it.
Task<Result<void>> Volumes::take_back(std::string name) {
  CO_TRY(auto volume, co_await get_volume(store_, name));
  auto& info = volume.value;
  CO_TRY(co_await on_worker(seams_.workers, [&]() -> Result<void> {
    for (const auto& one : info.making) {
      TRY(remove_unfinished_brick(seams_.disk, one.spec.path, one.spec.id, one.had_directory));
    }
    return {};
  }));
  for (const auto& one : info.making)
    std::erase_if(info.bricks, [&](const BrickSpec& brick) { return brick.id == one.spec.id; });
  info.making.clear();
  if (info.bricks.empty()) {
    known_.erase(name);
    CO_TRY(co_await delete_record(store_, "volume", name, volume.version));
    log::warning("the creation of volume {} was taken back", name);
    co_return Result<void>();
  }
  CO_TRY(co_await put_volume(store_, info, volume.version));
  log::warning("a brick that was being added to volume {} was taken back", name);
  co_return Result<void>();
}

}  // namespace polder
