// SPDX-License-Identifier: GPL-3.0-or-later
// SecondarySession: the receiving end of one geo-replication relation: takes the primary's stream into the
// spool, applies whole cuts, answers. Owns the spool. Loop thread only.
//
// One connection at a time: a new one of the same or a newer generation replaces the old, which may be a dead
// TCP connection that nobody has noticed yet.
#pragma once
#include <memory>
#include <string>

#include "base/concurrency.h"
#include "base/seams.h"
#include "base/transport.h"
#include "core-volume/layer/file_ops.h"
#include "core-volume/layers/store/store.h"

namespace polder::georep {

struct SecondaryConfig {
  std::string session;           // uuid
  std::uint64_t generation = 1;  // older primaries are refused
  std::string spool_path;
  std::uint64_t window_bytes = 256ull << 20;
};

struct SecondaryStatus {
  bool connected = false;
  std::uint64_t applied_cut = 0;
  std::uint64_t applied_index = 0;
  Hlc applied_hlc{};
  std::uint64_t spooled_cut = 0;
  std::uint64_t spooled_bytes = 0;
  std::string error;  // why applying does not go on, while it does not
};

class SecondarySession {
 public:
  /// `volume`: the brick's top layer; `store`: the same brick's files. Both outlive the session.
  SecondarySession(Seams& seams, FileOps& volume, Store& store, SecondaryConfig config);
  ~SecondarySession();

  /// Opens the spool, finds the applied state, and begins to apply what is spooled.
  Task<Result<void>> start();
  /// Speaks with a primary whose certificate has been checked; returns when the connection is over.
  Task<void> serve(std::unique_ptr<Stream> stream);
  Task<void> stop();

  SecondaryStatus status() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace polder::georep
