// SPDX-License-Identifier: GPL-3.0-or-later
// The records that a cluster keeps in its store, as JSON with a format number. Keys: KIND/NAME.
//
// Other parts keep records of their own kinds ("georep", "snapshot") with the generic functions at the end.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/gfid.h"
#include "base/task.h"
#include "core-volume/cluster/cluster_store.h"
#include "core-volume/cluster/json_fields.h"
#include "core-volume/layer/placement.h"

namespace polder {

/// What was read, with the version that a change of it must name.
template <typename T>
struct Stored {
  T value;
  std::uint64_t version = 0;
};

struct ClusterInfo {
  Gfid id;
  std::string name;
  std::string ca_fingerprint;
  std::string listen;  // endpoint text, "0.0.0.0:24117"
  std::uint64_t created_ns = 0;
};

struct NodeInfo {
  std::string name;
  Gfid id;
  std::vector<std::string> addresses;  // HOST:PORT, most useful first
  std::uint64_t joined_ns = 0;
};

struct BrickSpec {
  std::string node;
  std::string path;
  std::uint32_t set = 0;
  Gfid id;

  std::string text() const { return node + ":" + path; }
};

/// Announced before anything of it is made: a creation or add-brick that was killed is taken back by it.
struct BrickInMaking {
  BrickSpec spec;
  bool had_directory = false;  // somebody else's: only what is in it goes
};

enum class VolumeState { kCreated, kStarted, kStopped };
std::string_view to_string(VolumeState state);  // "Created", "Started", "Stopped", as GlusterFS writes them

struct VolumeInfo {
  std::string name;
  Gfid id;
  Gfid lineage;
  std::uint64_t incarnation = 1;  // rises with every restore: older sessions get ESTALE
  VolumeState state = VolumeState::kCreated;
  bool read_only = false;      // to everybody but geo-replication
  std::string role = "plain";  // "plain", "secondary", "superseded"; why it is read-only
  std::vector<BrickSpec> bricks;
  std::vector<BrickInMaking> making;
  SlotRuns slots;                              // which set has which slots; check_slots() likes it
  std::map<std::string, std::string> options;  // only what differs from the default
  std::uint64_t created_ns = 0;
};

json::value to_json(const ClusterInfo& info);
json::value to_json(const NodeInfo& info);
json::value to_json(const VolumeInfo& info);
Result<ClusterInfo> cluster_from_json(const json::value& from);
Result<NodeInfo> node_from_json(const json::value& from);
Result<VolumeInfo> volume_from_json(const json::value& from);

/// Names of volumes, nodes, clusters, clients: 1..63 of [A-Za-z0-9._-], the first a letter or digit. EINVAL
/// says which `what` ("volume name") and why. They become parts of keys, paths and certificates.
Result<void> check_name(std::string_view what, std::string_view name);

// Generic: JSON by kind. get: ENOENT "there is no KIND NAME". put: `version` as it was read, 0: must be new
// (EEXIST). A changed version is EAGAIN. put returns the new version. list is in order of names.
Task<Result<Stored<json::value>>> get_record(ClusterStore& store, std::string kind, std::string name);
Task<Result<std::vector<std::pair<std::string, Stored<json::value>>>>> list_records(ClusterStore& store,
                                                                                    std::string kind);
Task<Result<std::uint64_t>> put_record(ClusterStore& store, std::string kind, std::string name,
                                       json::value record, std::uint64_t version);
Task<Result<void>> delete_record(ClusterStore& store, std::string kind, std::string name,
                                 std::uint64_t version);

// ENOENT when the cluster was not initialised.
Task<Result<Stored<ClusterInfo>>> get_cluster(ClusterStore& store);
Task<Result<std::vector<NodeInfo>>> list_nodes(ClusterStore& store);

Task<Result<Stored<VolumeInfo>>> get_volume(ClusterStore& store, std::string name);
Task<Result<std::vector<Stored<VolumeInfo>>>> list_volumes(ClusterStore& store);
/// `version` 0: a new volume, EEXIST when there is one.
Task<Result<std::uint64_t>> put_volume(ClusterStore& store, VolumeInfo volume, std::uint64_t version);

}  // namespace polder
