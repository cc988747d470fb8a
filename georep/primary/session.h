// SPDX-License-Identifier: GPL-3.0-or-later
// PrimarySession: the sending end of one geo-replication relation: connects, scans, then follows the
// set's changelog and ships cuts; scans again when the log no longer reaches; reconnects for ever. Never
// changes the volume. Loop thread only.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/seams.h"
#include "base/transport.h"
#include "changelog/journal/journal.h"
#include "core-volume/layers/store/store.h"

namespace polder::georep {

/// Before the session: the name of its place in the log.
inline constexpr const char* kCursorPrefix = "georep/";

struct PrimaryConfig {
  std::string session;  // uuid
  std::uint64_t generation = 1;
  std::string cluster;  // for the other side's messages
  std::string volume;
  std::vector<Endpoint> secondary;  // tried in turn
  std::shared_ptr<const TlsIdentity> identity;
  std::string scratch_directory;  // for deltas in the making
};

/// What the session needs of the brick. Everything outlives it.
struct PrimaryBrick {
  Journal& journal;
  Store& store;
  /// Whether a client has the object open: a new file's bulk data waits for its close (or 2 s).
  std::function<bool(const Gfid&)> is_open;
};

struct PrimaryStatus {
  enum class State { kInitializing, kInitialSync, kRescan, kLive, kFaulty, kSuperseded };
  State state = State::kInitializing;
  std::string reason;  // Rescan: why; Faulty, Superseded: what, and what to do
  double lag_s = 0;    // age of the oldest stable change that is not applied there; 0: none
  std::uint64_t queued_records = 0;
  std::uint64_t shipped_bytes = 0;   // on the wire, this way, since the daemon started
  std::uint64_t received_bytes = 0;  // and the other way
  std::uint64_t scanned_objects = 0;
  std::uint64_t applied_index = 0;
  Hlc applied_hlc{};
  bool exact = false;  // the secondary shows a point in time of this volume
};
std::string_view to_string(PrimaryStatus::State state);

struct VerifyReport {
  std::uint64_t objects = 0;
  std::uint64_t position = 0;   // index up to which both were compared
  std::vector<Gfid> different;  // present on both, other content, attributes or names
  std::vector<Gfid> missing;    // not on the secondary
};

class PrimarySession {
 public:
  PrimarySession(Seams& seams, PrimaryBrick brick, PrimaryConfig config);
  ~PrimarySession();

  Task<void> start();
  Task<void> stop();
  PrimaryStatus status() const;

  /// Everything acknowledged before the call has been applied on the secondary when it returns: the index
  /// that was reached.
  Task<Result<std::uint64_t>> checkpoint();
  /// Compares every object at the same position on both sites, while both are in use. ENOTCONN while there is
  /// no connection.
  Task<Result<VerifyReport>> verify();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace polder::georep
