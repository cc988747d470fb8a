// SPDX-License-Identifier: GPL-3.0-or-later
// ClusterStore: what the whole cluster agrees on, as versioned keys. Three implementations share this
// contract: SQLite (a cluster of one), etcd (several nodes), and a model for the simulation.
//
// - Keys are text, parts separated by '/', 1..512 bytes. Values are bytes, at most 1 MiB.
// - Every commit gets the next revision; a key's version is the revision of its last change. Versions only
//   rise, also over a deletion: a key deleted and made again never has an old version.
// - Transactions are serialisable and durable when commit() returns.
// - An error with maybe_applied() means that it is unknown whether the transaction happened; read again.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/task.h"

namespace polder {

struct VersionedValue {
  std::string key;
  std::string value;
  std::uint64_t version = 0;  // from 1
};

/// All conditions hold, and then all changes happen; or nothing happens.
struct ClusterTransaction {
  struct Condition {
    std::string key;
    std::uint64_t version;  // 0: the key does not exist
  };
  struct Change {
    std::string key;
    std::optional<std::string> value;  // absent: deleted (no error when it is not there)
  };
  std::vector<Condition> conditions;
  std::vector<Change> changes;

  ClusterTransaction& expect(std::string key, std::uint64_t version) {
    conditions.push_back({std::move(key), version});
    return *this;
  }
  ClusterTransaction& put(std::string key, std::string value) {
    changes.push_back({std::move(key), std::move(value)});
    return *this;
  }
  ClusterTransaction& remove(std::string key) {
    changes.push_back({std::move(key), std::nullopt});
    return *this;
  }
};

/// Loop thread only.
class ClusterStore {
 public:
  static constexpr std::size_t kKey_bytes_max = 512;
  static constexpr std::size_t kValue_bytes_max = 1u << 20;

  virtual ~ClusterStore() = default;

  /// nullopt when there is no such key.
  virtual Task<Result<std::optional<VersionedValue>>> get(std::string key) = 0;
  /// Everything whose key begins with `prefix`, in key order, as of one revision.
  virtual Task<Result<std::vector<VersionedValue>>> list(std::string prefix) = 0;
  /// Returns the new revision. EAGAIN names the key whose condition did not hold: read again and decide anew.
  virtual Task<Result<std::uint64_t>> commit(ClusterTransaction transaction) = 0;
  /// Revision of the last commit; 0: none yet.
  virtual Task<Result<std::uint64_t>> revision() = 0;
  /// Returns once a key that begins with `prefix` has changed after revision `after`, with the present
  /// revision, which is the next call's `after`. May return without a change (after a restart, when it cannot
  /// tell): the caller lists again. ECANCELED when the task is cancelled or the store is closed.
  virtual Task<Result<std::uint64_t>> watch(std::string prefix, std::uint64_t after) = 0;
};

}  // namespace polder
