// SPDX-License-Identifier: GPL-3.0-or-later
// For the brick's tests: the world of one node, in which a brick starts, stops and is killed.
#pragma once
#include <unistd.h>

#include <filesystem>

#include "base/hlc.h"
#include "base/random.h"
#include "base/workers.h"
#include "core-volume/graph/brick.h"
#include "core-volume/layer/conformance/client.h"
#include "core-volume/layer/conformance/sim_stack.h"
#include "tests/support/loop.h"
#include "tests/support/no_transport.h"
#include "tests/support/sim_disk.h"
#include "tests/support/sim_disks.h"

namespace polder {

/// Whether it has happened, and nothing else of it.
template <typename T>
Result<void> outcome_of(const Result<T>& result) {
  if (!result) return result.error();
  return {};
}

inline constexpr BrickIdentity kBrickIdentity{
    .volume = Gfid{{1}}, .brick = Gfid{{2}}, .set = 0, .lineage = Gfid{{3}}};

/// One node on virtual time and a simulated disk, or (`many_disks`) several: the seams of its bricks.
class BrickNode : public SimStack {
 public:
  explicit BrickNode(std::uint64_t seed, bool many_disks = false)
      : random(make_seeded_random(seed)),
        seams{loop.clock(), *random,  many_disks ? static_cast<Disk&>(disks) : disk,
              transport,    *workers, hlc} {}

  // The file system's times are the wall clock's.
  SimDisk disk{&loop.clock()};
  SimDisks disks{&loop.clock()};
  std::unique_ptr<Random> random;
  std::unique_ptr<Workers> workers = make_inline_workers();
  NoTransport transport;
  HlcClock hlc{loop.clock()};
  Seams seams;
};

/// A node with one brick, which is started by the constructor.
class SimBrick : public BrickNode {
 public:
  explicit SimBrick(std::uint64_t seed = 1) : BrickNode(seed) {
    must(disk.mkdir(Disk::kNoDir, "/b", 0700));
    must(Brick::format(seams, "/b", kBrickIdentity));
    start();
  }
  ~SimBrick() override {
    if (brick) stop();
  }

  FileOps& ops() override { return brick->top(); }
  void start() { brick = must(loop.run_until_done(Brick::start(seams, config))); }
  void stop() {
    auto stopped = loop.run_until_done(brick->stop());
    brick.reset();
    must(std::move(stopped));
  }
  /// kill -9: nothing that the objects still do in their destructors reaches the disk.
  void kill() {
    disk.freeze();
    (void)loop.run_until_done(brick->stop());
    brick.reset();
    disk.kill();
  }
  /// The power goes: what was not synced is lost as `seed` likes.
  void lose_power(std::uint64_t seed) {
    disk.freeze();
    (void)loop.run_until_done(brick->stop());
    brick.reset();
    disk.crash(seed);
  }

  BrickConfig config{.path = "/b",
                     .volume = kBrickIdentity.volume,
                     .brick = kBrickIdentity.brick,
                     .lock_grace = {},
                     .journal = {},
                     .ordering = {}};
  std::unique_ptr<Brick> brick;
};

/// A brick in a temporary directory of this machine: needs root.
class KernelBrick : public LoopStack {
 public:
  explicit KernelBrick(std::unique_ptr<Workers> workers, bool short_work_inline = false)
      : workers_(std::move(workers)) {
    config_.ordering.short_work_inline = short_work_inline;
    std::string name = std::filesystem::temp_directory_path() / "polder-brick-XXXXXX";
    path_ = ::mkdtemp(name.data());
    config_.path = path_ + "/b";
    must(Brick::format(seams_, config_.path, kBrickIdentity));
    LoopStack::run(tasks(start()));
  }
  ~KernelBrick() override {
    LoopStack::run(tasks(stop()));
    brick_.reset();
    std::filesystem::remove_all(path_);
  }
  FileOps& ops() override { return brick_->top(); }

  Brick& brick() { return *brick_; }

 private:
  static std::vector<Task<void>> tasks(Task<void> task) {
    std::vector<Task<void>> list;
    list.push_back(std::move(task));
    return list;
  }
  Task<void> start() { brick_ = must(co_await Brick::start(seams_, config_)); }
  Task<void> stop() { must(co_await brick_->stop()); }

  std::string path_;
  std::unique_ptr<Clock> clock_ = make_system_clock();
  std::unique_ptr<Random> random_ = make_seeded_random(1);
  std::unique_ptr<Disk> disk_ = make_kernel_disk();
  std::unique_ptr<Workers> workers_;
  NoTransport transport_;
  HlcClock hlc_{*clock_};
  Seams seams_{*clock_, *random_, *disk_, transport_, *workers_, hlc_};
  BrickConfig config_;
  std::unique_ptr<Brick> brick_;
};

}  // namespace polder
