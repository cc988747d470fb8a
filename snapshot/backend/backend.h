// SPDX-License-Identifier: GPL-3.0-or-later
// SnapshotBackend: what a brick's storage can do at once for all files of the brick. Two implementations:
// btrfs (the brick is a subvolume) and LVM thin (the brick's file system is on a thin volume).
//
// Every method blocks (programs are run): call on a worker. Snapshots are named by ids of [0-9a-z-], chosen
// by the coordinator and unique per brick. create, remove, activate and deactivate may be repeated after a
// crash: doing what is done already succeeds. A failed create leaves nothing; what a killed one left is found
// by list() and removed.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"

namespace polder {

/// In a prepared copy, relative to the brick directory: says what it was restored from. The brick's next
/// start appends the `restored` record it describes and removes it; until then it tells the old content and
/// the new one apart.
inline constexpr const char* kRestoreMarker = ".polder/restored";

struct SnapshotSpace {
  double data_percent = 0;      // of the pool (LVM) or the file system (btrfs)
  double metadata_percent = 0;  // 0 where there is no such thing
};

class SnapshotBackend {
 public:
  virtual ~SnapshotBackend() = default;

  virtual std::string name() const = 0;  // "btrfs", "lvm-thin"
  /// What SnapshotBackends::make() needs to be told in the middle of a commit_restore(), when it cannot be
  /// seen from the brick's path. To be stored before prepare_restore(). May be empty.
  virtual std::string place() const = 0;
  /// Room for a snapshot? ENOSPC names the figure and the limit, and what to do.
  virtual Result<SnapshotSpace> check_space() = 0;

  /// The brick as it is on its file system at this moment; the caller holds the barrier and has synced the
  /// log.
  virtual Result<void> create(const std::string& id) = 0;
  virtual Result<void> remove(const std::string& id) = 0;
  /// Ids of all snapshots of this brick, half-made ones too.
  virtual Result<std::vector<std::string>> list() = 0;

  /// Makes the snapshot readable and returns the brick directory in it. Nothing of Polder writes there.
  virtual Result<std::string> activate(const std::string& id, const std::string& mount_directory) = 0;
  virtual Result<void> deactivate(const std::string& id, const std::string& mount_directory) = 0;

  /// With the brick stopped: a writable copy of snapshot `id`, beside the brick and not yet in its place.
  /// Returns its brick directory, so that the caller can carry the log forward into it. Made anew when one is
  /// left from before.
  virtual Result<std::string> prepare_restore(const std::string& id, const std::string& mount_directory) = 0;
  /// Puts the prepared copy, which the caller has marked with the file kRestoreMarker, in the brick's place;
  /// what was there becomes snapshot `keep_id`. Called again after a crash in the middle it completes what is
  /// missing.
  virtual Result<void> commit_restore(const std::string& keep_id, const std::string& mount_directory) = 0;
  /// Drops a prepared copy that was not committed.
  virtual Result<void> abandon_restore(const std::string& mount_directory) = 0;
};

/// Where the snapshots of a node's bricks are made; given to the daemon beside its Seams.
class SnapshotBackends {
 public:
  virtual ~SnapshotBackends() = default;

  /// Storage is this process's alone on return: what a killed predecessor started (btrfs, lvcreate) has
  /// ended. EBUSY when that takes too long, and another call may follow. Blocks. Nothing when it was done.
  virtual Result<void> claim() = 0;
  /// The backend for the brick in `brick_path`. EOPNOTSUPP says what the brick lacks and what would do.
  /// `place`: of an interrupted restore. EUCLEAN when it is not understood. Blocks.
  virtual Result<std::unique_ptr<SnapshotBackend>> make(const std::string& brick_path,
                                                        const std::string& place = {}) = 0;
};

/// btrfs and LVM thin. `commands_lock`: the file of own_commands() (base/command.h).
std::unique_ptr<SnapshotBackends> make_system_snapshot_backends(std::string commands_lock);

/// EINVAL unless `id` is made of [0-9a-z-], 1 to 64 characters: ids become names of subvolumes and logical
/// volumes.
Result<void> check_snapshot_id(const std::string& id);

}  // namespace polder
