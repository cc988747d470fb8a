// SPDX-License-Identifier: GPL-3.0-or-later
// Leases: what lets a client answer questions about names and attributes by itself. A session that has a
// lease on an object is told (recall) and has answered before anything about the object changes at the
// request of another session: its attributes, and of a directory its names. docs/decisions/0007-leases.md.
//
// The words that the three parties say to each other: the layer that keeps the leases (layers/leases), the
// server of the sessions (rpc), the client's cache (client/cache). Loop thread only.
#pragma once
#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>

#include "core-volume/layer/file_attr.h"

namespace polder {

/// Of an operation that wants leases, and where it is told what it got. In the frame of whoever asks.
struct LeaseAsk {
  enum Part : std::uint32_t {
    kDirectory = 1,  // lookup: the parent
    kObject = 2,     // what the answer's attributes are of; readdir: the directory
  };
  std::uint32_t granted = 0;  // Parts

  /// Of changes of names: their directories' attributes, afterwards.
  std::array<FileAttr, 2> directories;
  unsigned directories_known = 0;
  /// Of rename: what the new name showed afterwards, if the server could tell.
  std::optional<FileAttr> moved;
};

/// The client's end.
class LeaseSource {
 public:
  virtual ~LeaseSource() = default;
  /// Whether what was granted and not recalled holds at this moment.
  virtual bool leases_hold() const = 0;
  /// One listener, called on the loop thread, in order with the answers that grant; a nil gfid: everything.
  /// When it returns the lease counts as given back; it must not block or call back.
  virtual void on_recall(std::function<void(const Gfid&)> listener) = 0;
};

/// A session as the keeper of leases sees it.
class LeaseHolder {
 public:
  virtual ~LeaseHolder() = default;
  /// One message, in order with the answers that grant. Answered by LeaseKeeper::answered() with `number` or
  /// more. A nil gfid: everything.
  virtual void recall(std::span<const Gfid> gfids, std::uint64_t number) = 0;
  /// Boot time of its last request. Its leases end lease_term() after it at the latest.
  virtual std::chrono::nanoseconds heard_at() const = 0;
};

struct LeaseNumbers {
  std::size_t leases = 0;
  std::uint64_t granted = 0;  // so far, as are:
  std::uint64_t recalls = 0;
  std::uint64_t unanswered = 0;  // recalls whose lease ended by time
};

/// The server's end.
class LeaseKeeper {
 public:
  virtual ~LeaseKeeper() = default;
  virtual std::chrono::nanoseconds lease_term() const = 0;

  /// A session of an earlier process, which may have leases that nobody knows of.
  virtual void knew_before(std::uint32_t session) = 0;
  /// `holder` has a new connection: what was granted over an older one it does not use any more. It outlives
  /// the next detached() or forgotten().
  virtual void attached(std::uint32_t session, LeaseHolder& holder) = 0;
  virtual void detached(std::uint32_t session) = 0;
  /// It has said goodbye, and uses none of its leases any more.
  virtual void left(std::uint32_t session) = 0;
  virtual void forgotten(std::uint32_t session) = 0;
  virtual void answered(std::uint32_t session, std::uint64_t number) = 0;

  /// The point in the order of changes from which on a question is asked, for grant().
  virtual std::uint64_t mark() const = 0;
  /// When the answer to a question asked at `mark` is sent in this moment: whether it may say that `gfid` is
  /// leased. Not when another session has changed the object since, or is about to.
  virtual bool grant(std::uint32_t session, const Gfid& gfid, std::uint64_t mark) = 0;

  virtual LeaseNumbers numbers() const = 0;
};

}  // namespace polder
