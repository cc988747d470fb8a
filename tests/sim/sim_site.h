// SPDX-License-Identifier: GPL-3.0-or-later
// SimSite: one machine with one whole polderd on it, and one volume, "data", whose bricks are on disks of
// their own: "brick0", …; the daemon's state is on another one, and /run is one that never fails. Disks and
// their snapshots outlive the daemon, which is started, stopped, killed and cut from power as a test likes.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/hlc.h"
#include "base/random.h"
#include "base/seams.h"
#include "base/workers.h"
#include "core-volume/layer/conformance/client.h"
#include "tests/sim/log_witness.h"
#include "tests/support/loop.h"
#include "tests/support/sim_disks.h"
#include "tests/support/sim_snapshots.h"
#include "tests/support/sim_transport.h"
#include "tests/support/sim_workers.h"
#include "tests/support/trace.h"
#include "tools/polderd/daemon.h"

namespace polder {

inline constexpr const char* kSimVolume = "data";
inline constexpr const char* kSimDataSocket = "/run/polder/data.sock";

/// What one process on a machine has of the world.
struct SimProcess {
  SimProcess(Clock& clock, Random& random, Disk& disk, std::unique_ptr<Transport> own_transport,
             std::unique_ptr<Workers> own_workers = make_inline_workers())
      : transport(std::move(own_transport)), workers(std::move(own_workers)), hlc(clock) {
    seams = std::make_unique<Seams>(Seams{clock, random, disk, *transport, *workers, hlc});
  }

  std::unique_ptr<Transport> transport;
  std::unique_ptr<Workers> workers;
  HlcClock hlc;
  std::unique_ptr<Seams> seams;
};

struct SimSiteOptions {
  std::uint32_t bricks = 1;
  nanoseconds skew{};           // of this machine's wall clock
  bool small_segments = false;  // of the changelog: some are sealed, compressed and dropped within one run
  Trace* trace = nullptr;       // outlives the site
};

class SimSite {
 public:
  SimSite(SimLoop& loop, SimNetwork& network, std::string name, std::uint64_t seed, SimSiteOptions options);
  ~SimSite();
  SimSite(const SimSite&) = delete;

  /// `cluster init`, `volume create`, `volume start`.
  void found_cluster();

  void boot();
  /// SIGTERM.
  void shut_down();
  /// kill -9: everything that was written stays.
  void kill();
  /// The volume stays what the cluster says it is; its first brick is new and empty. Kills the daemon, and
  /// boots.
  void wipe_brick();
  /// Loses what was not synced, as `seed` chooses.
  void lose_power(std::uint64_t seed);
  bool up() const { return daemon_ != nullptr; }
  /// kill -9 at the n-th call of any of its disks from now, steps of its snapshots included: nothing that
  /// follows reaches disk or network. When died() says so, kill() or lose_power() is to follow.
  void die_at(std::uint64_t n);
  /// die_at(), and lets the world go on until then, but no longer than 200 ms.
  void run_until_death(std::uint64_t n);
  bool died() const { return disks_.fault().is_dead(); }

  /// By the admin API, as `polder` does it. Throws with the daemon's sentence, or returns it. An answer that
  /// takes more than ten (virtual) minutes throws, too.
  json::object call(std::string method, std::string path, json::object body = {});
  Result<json::value> try_call(std::string method, std::string path, json::object body = {});

  // Snapshots of the volume, likewise. All but snapshots() throw.
  /// What the daemon says of it.
  json::object create_snapshot(const std::string& name);
  /// The volume is stopped. Returns the name of the snapshot of what was replaced.
  std::string restore_snapshot(const std::string& name);
  void remove_snapshot(const std::string& name);
  std::vector<std::string> snapshots();
  /// `use` gets the snapshot as it lies on its disk; it is activated as long.
  void look_into_snapshot(const std::string& name, const std::function<void(FileOps&)>& use);

  Daemon& daemon() { return *daemon_; }
  VolumeStack& stack();
  Brick& brick() { return stack().root_brick(); }
  /// The whole volume as text, read inside of the brick: Client::dump().
  std::vector<std::string> dump();

  // What is wrong, in sentences.

  /// Of the logs, over all lives of the daemon, and of the bricks when nothing is under way any more: nobody
  /// has a removed file open. Waits for that.
  std::vector<std::string> problems();
  /// Of the logs.
  std::vector<std::string> log_problems();
  /// Everything is synced, then the power goes: the start folds what followed the last checkpoint once more,
  /// and finds what the log cannot vouch for (invariants 6 and 7). The volume must be as it was.
  std::vector<std::string> differences_after_power_loss(std::uint64_t seed);

  SimLoop& loop() { return loop_; }
  const std::string& name() const { return name_; }
  SkewedClock& clock() { return clock_; }
  /// How long work on its disks takes; `slow_disks({})` ends it.
  void slow_disks(const SimWorkersOptions& options) { workers_ = options; }
  Random& random() { return *random_; }
  SimDisks& disks() { return disks_; }
  std::uint32_t bricks() const { return options_.bricks; }
  SimSnapshots& volume_manager() { return volume_manager_; }
  SimDisk& brick_disk(std::uint32_t brick = 0) { return disks_.at(fmt::format("brick{}", brick)); }
  SimDisk& node_disk() { return disks_.root(); }
  /// Of a brick, or of the node.
  SimDisk& any_disk(Random& random);
  /// One of the next calls of a disk fails with EIO, when `for_good` all after it, too; then it goes on for a
  /// while with what it makes of that. Ends after some seconds, also when no call was made.
  SimDisk& fail_call(Random& random, bool for_good);
  std::unique_ptr<Transport> transport() { return network_.transport(name_); }

 private:
  /// The process ends at once: nothing that its objects still do reaches disk or network.
  void end_process();
  bool is_at_rest();
  void look_at_logs();

  SimLoop& loop_;
  SimNetwork& network_;
  const std::string name_;
  const SimSiteOptions options_;
  const std::size_t actor_;  // in the trace
  SkewedClock clock_;
  SimWorkersOptions workers_;
  SimDisks disks_;
  SimSnapshots volume_manager_{disks_};
  std::unique_ptr<Random> random_;
  std::unique_ptr<SimProcess> process_;
  std::unique_ptr<Daemon> daemon_;
  std::map<std::uint32_t, LogWitness> witnesses_;  // by set
};

/// A volume that is not this stack's own, driven by a loop that is not its own.
class BorrowedStack : public Stack {
 public:
  BorrowedStack(SimLoop& loop, FileOps& ops) : loop_(loop), ops_(ops) {}
  FileOps& ops() override { return ops_; }
  void run(std::vector<Task<void>> tasks) override;

 private:
  SimLoop& loop_;
  FileOps& ops_;
};

}  // namespace polder
