// SPDX-License-Identifier: GPL-3.0-or-later
// For tests of volumes of several sets: one node on virtual time and a simulated disk, a brick for each set.
#pragma once
#include "core-volume/graph/brick_test_support.h"
#include "core-volume/graph/volume_check.h"
#include "core-volume/graph/volume_stack.h"

namespace polder {

class SimVolume : public BrickNode {
 public:
  /// `disk_each`: disk_of() each set; else all are on one.
  explicit SimVolume(std::uint32_t sets = 3, Spread spread = Spread::kAuto, std::uint64_t seed = 1,
                     bool disk_each = false)
      : BrickNode(seed, disk_each), disk_each_(disk_each) {
    config.slots = even_slots(sets);
    config.spread = spread;
    for (std::uint32_t set = 0; set < sets; ++set) config.bricks[set] = make_brick(set);
    start();
  }
  ~SimVolume() override {
    if (stack) stop();
  }

  FileOps& ops() override { return stack->top(); }

  static std::string path_of(std::uint32_t set) { return "/b" + std::to_string(set); }
  static Gfid id_of(std::uint32_t set) { return Gfid{{2, static_cast<std::uint8_t>(set)}}; }
  SimDisk& disk_of(std::uint32_t set) { return disks.at(path_of(set).substr(1)); }
  /// Formats it, too.
  BrickConfig make_brick(std::uint32_t set) {
    if (disk_each_)
      disks.add(path_of(set).substr(1));
    else
      must(disk.mkdir(Disk::kNoDir, path_of(set), 0700));
    must(Brick::format(seams, path_of(set),
                       {.volume = Gfid{{1}}, .brick = id_of(set), .set = set, .lineage = Gfid{{3}}}));
    return {.path = path_of(set),
            .volume = Gfid{{1}},
            .brick = id_of(set),
            .lock_grace = {},
            .journal = {},
            .ordering = {}};
  }

  void start() { stack = must(loop.run_until_done(VolumeStack::start(seams, config))); }
  void stop() {
    auto stopped = loop.run_until_done(stack->stop());
    stack.reset();
    must(std::move(stopped));
  }
  /// kill -9 of the process that has them all.
  void kill() {
    disk.freeze();
    disks.freeze();
    (void)loop.run_until_done(stack->stop());
    stack.reset();
    disk.kill();
    disks.kill();
  }
  /// And the power goes: what was not synced is lost as `seed` likes, on each disk by itself.
  void lose_power(std::uint64_t seed) {
    disk.freeze();
    disks.freeze();
    (void)loop.run_until_done(stack->stop());
    stack.reset();
    disk.crash(seed);
    if (!disk_each_) return;
    disks.fault().heal();
    disks.root().crash(seed);
    for (const auto& [set, brick] : config.bricks) disk_of(set).crash(seed * config.bricks.size() + set);
  }
  /// What is wrong with the volume, when it has had the time to settle. With nothing open.
  std::vector<std::string> problems() {
    loop.run_for(std::chrono::seconds(1));
    for (const auto& [set, brick] : stack->bricks())
      if (!must(brick->store().orphans()).empty())
        loop.run_for(std::chrono::seconds(70));  // kept for a minute
    std::map<std::uint32_t, Store*> stores;
    std::vector<std::string> found;
    for (const auto& [set, brick] : stack->bricks()) {
      stores[set] = &brick->store();
      for (const auto& name : must(brick->store().replaced_names()))
        found.push_back(fmt::format("set {} still notes that {} was replaced", set, name.gfid.hex()));
      if (auto open = brick->ordering().open_transactions())
        found.push_back(fmt::format("set {} has {} open transactions, {} of them decided", set, open,
                                    brick->ordering().open_decisions().size()));
    }
    std::ranges::move(volume_problems(stores, stack->placement()), std::back_inserter(found));
    return found;
  }
  template <typename T>
  T run_one(Task<T> task) {
    return loop.run_until_done(std::move(task));
  }

  VolumeStackConfig config;
  std::unique_ptr<VolumeStack> stack;

 private:
  const bool disk_each_;
};

/// A directory of `parent` that is on `set`.
inline Gfid make_directory_on(SimVolume& node, Client& c, Gfid parent, std::string_view name,
                              std::uint32_t set) {
  for (int attempt = 0; attempt < 100; ++attempt) {
    auto made = must(c.mkdir(parent, "attempt"));
    if (node.stack->placement().set_of(made.gfid) == set) {
      must(c.rename(parent, "attempt", parent, name));
      return made.gfid;
    }
    must(c.rmdir(parent, "attempt"));
  }
  throw std::runtime_error("no directory fell on the set");
}

}  // namespace polder
