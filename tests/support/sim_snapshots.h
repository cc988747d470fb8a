// SPDX-License-Identifier: GPL-3.0-or-later
// SimSnapshots: the volume manager of a simulated machine. Each disk of SimDisks but the root is a thin
// volume; its snapshots are volumes beside it, mounted as disks of their own. What lvm.cc does by lvcreate,
// lvrename and mount is done here by steps in the same order; each is a call of the brick's SimDisk
// ("lvcreate", …), so that a step fails, or the process dies at it, by the faults of that disk or of the
// machine. A program that outlives its killed daemon and ends before claim() returns is the same as a death
// one step later.
//
// A snapshot has all that was written, synced or not: LVM freezes the file system, which writes everything
// out. It is durable when create() returns; a power loss in the middle leaves it or not. A restored copy is a
// file system of its own, and loses what was not synced. Btrfs differs in this: the exchange is one rename,
// made durable by a sync (snapshot_backend_test.sh has the real one).
#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "snapshot/backend/backend.h"
#include "tests/support/sim_disks.h"

namespace polder {

class SimSnapshots final : public SnapshotBackends {
 public:
  /// `disks` outlives it.
  explicit SimSnapshots(SimDisks& disks) : disks_(disks) {}

  Result<void> claim() override { return {}; }
  Result<std::unique_ptr<SnapshotBackend>> make(const std::string& brick_path,
                                                const std::string& place = {}) override;

  /// After SimDisks::crash(), which unmounts all: the machine mounts what is in its fstab, by the volumes'
  /// names.
  void boot();
  /// Volumes beside that of the disk, half-made copies ("restore") too: what is left of snapshots.
  std::vector<std::string> volumes_of(const std::string& disk) const;

 private:
  class Backend;
  struct Volume {
    bool named = true;  // its own name leads to something: false in the middle of a commit_restore()
    std::map<std::string, std::shared_ptr<SimDisk>> snapshots;
    std::shared_ptr<SimDisk> copy;  // "VOLUME-restore"
  };

  SimDisks& disks_;
  std::map<std::string, Volume> volumes_;  // by the disk's name
};

}  // namespace polder
