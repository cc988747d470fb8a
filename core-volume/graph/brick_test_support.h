// SPDX-License-Identifier: GPL-3.0-or-later
// For the brick's tests: the world of one node, in which a brick starts, stops and is killed.
#pragma once
#include "base/hlc.h"
#include "base/random.h"
#include "base/transport.h"
#include "base/workers.h"
#include "core-volume/graph/brick.h"
#include "core-volume/layer/conformance/client.h"
#include "core-volume/layer/conformance/sim_stack.h"
#include "tests/support/loop.h"
#include "tests/support/sim_disk.h"

namespace polder {

inline constexpr BrickIdentity kBrickIdentity{
    .volume = Gfid{{1}}, .brick = Gfid{{2}}, .set = 0, .lineage = Gfid{{3}}};

/// A brick talks to nobody.
class NoTransport final : public Transport {
 public:
  Task<Result<std::unique_ptr<Stream>>> connect(const Endpoint&, std::string,
                                                std::shared_ptr<const TlsIdentity>) override {
    co_return Error(ENETUNREACH);
  }
  Task<Result<std::unique_ptr<Listener>>> listen(const Endpoint&, std::vector<std::string>,
                                                 std::shared_ptr<const TlsIdentity>) override {
    co_return Error(ENETUNREACH);
  }
};

/// One node on virtual time and a simulated disk. Its brick is started by the constructor.
class SimBrick : public SimStack {
 public:
  explicit SimBrick(std::uint64_t seed = 1) : random(make_seeded_random(seed)) {
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

  SimDisk disk;
  std::unique_ptr<Random> random;
  std::unique_ptr<Workers> workers = make_inline_workers();
  NoTransport transport;
  HlcClock hlc{loop.clock()};
  Seams seams{loop.clock(), *random, disk, transport, *workers, hlc};
  BrickConfig config{.path = "/b",
                     .volume = kBrickIdentity.volume,
                     .brick = kBrickIdentity.brick,
                     .lock_grace = {},
                     .journal = {},
                     .ordering = {}};
  std::unique_ptr<Brick> brick;
};

}  // namespace polder
