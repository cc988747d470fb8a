// SPDX-License-Identifier: GPL-3.0-or-later
// What the cluster's store keeps about snapshots.
//
//   snapshot/NAME            SnapshotRecord: the snapshot exists, completely
//   snapshot-intent/VOLUME   SnapshotIntent: something is being done to the volume's storage; at most one
//   snapshot-config/VOLUME   limits that differ from the default
#pragma once
#include <cstdint>
#include <string>

#include "base/gfid.h"
#include "core-volume/cluster/records.h"

namespace polder {

struct SnapshotRecord {
  std::string name;  // the final one
  std::string id;    // 32 hex digits: the mark's text, and the backend's name for it
  std::string volume;
  Gfid volume_id;
  std::string brick_path;
  std::uint64_t mark_index = 0;  // it is the log's content up to here
  std::uint64_t log_from = 0;    // followers of its restore need the records after this one; <= mark_index
  std::uint64_t hlc_ns = 0;      // of that record
  std::uint64_t barrier_ns = 0;  // for how long changes were held
  std::uint64_t created_ns = 0;
  std::string description;
  std::string backend;       // "btrfs", "lvm-thin"
  bool active = false;       // served as a read-only volume of its name
  bool pre_restore = false;  // what a restore replaced
};

/// Written before the storage is touched, gone in the transaction that makes the outcome known.
struct SnapshotIntent {
  enum class Operation { kCreate, kDelete, kRestore };
  Operation operation = Operation::kCreate;
  SnapshotRecord snapshot;  // kCreate: as far as it is known; kDelete, kRestore: of which
  SnapshotRecord kept;      // kRestore: what the present content becomes
  bool committing = false;  // kRestore: the prepared copy is complete; finish it, do not take it back
  std::string place = {};   // kRestore: SnapshotBackend::place(), which cannot be asked half way through
};

struct SnapshotLimits {
  std::uint64_t hard_limit = 256;  // snap-max-hard-limit: no more of one volume
  bool activate_on_create = false;
};

json::value to_json(const SnapshotRecord& record);
json::value to_json(const SnapshotIntent& intent);
json::value to_json(const SnapshotLimits& limits);
Result<SnapshotRecord> snapshot_from_json(const json::value& from);
Result<SnapshotIntent> intent_from_json(const json::value& from);
Result<SnapshotLimits> limits_from_json(const json::value& from);

/// NAME, or NAME_GMT-2026.11.21-06.50.00 as GlusterFS writes it. EINVAL when that is too long for a name, or
/// a word that stands for several snapshots.
Result<std::string> final_snapshot_name(const std::string& name, bool timestamp, std::uint64_t now_ns);

/// EINVAL: too long.
Result<void> check_description(const std::string& description);

// Keys.
inline constexpr const char* kSnapshotKind = "snapshot";
inline constexpr const char* kIntentKind = "snapshot-intent";
inline constexpr const char* kLimitsKind = "snapshot-config";

}  // namespace polder
