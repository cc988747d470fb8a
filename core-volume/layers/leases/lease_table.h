// SPDX-License-Identifier: GPL-3.0-or-later
// LeaseTable: who has leases on what, and what is being changed. Decides when an answer may grant a lease and
// what a change must wait for; waits for nothing itself. Loop thread only.
//
// A lease is granted when the answer is sent, and only if no change by somebody else ran on the object at any
// moment since the question was asked: such an answer is still true, and whoever changes the object later
// finds the lease. "Somebody else" is another session, and also an older connection of the same one, whose
// client does not know any more what it had asked for.
//
// A lease is never taken away silently: its holder is sent a recall first, which it reads before any later
// answer. So a client may go on with its leases after a pause, however long, as soon as an answer has come.
#pragma once
#include <boost/container/static_vector.hpp>
#include <boost/intrusive/list.hpp>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "core-volume/layer/leases.h"
#include "core-volume/layer/name_in.h"

namespace polder {

struct LeaseOptions {
  nanoseconds term = std::chrono::seconds(1);
  nanoseconds margin = std::chrono::milliseconds(100);  // for clocks that do not run equally fast
  nanoseconds cool_down =
      std::chrono::milliseconds(100);  // no new lease so soon after a recall: no ping-pong
  std::size_t leases_max = 200'000;
  std::size_t leases_per_session_max = 50'000;
};

/// One change on its way, in the frame of its coroutine. What it touches is known from the start or added
/// while it waits.
struct RunningChange : boost::intrusive::list_base_hook<> {
  using Gfids = boost::container::static_vector<Gfid, 4>;

  std::uint32_t session = 0;
  std::uint64_t connection = 0;  // of the session; filled in by LeaseTable::begin()
  Gfids gfids;
  boost::container::static_vector<NameIn, 2> names;
  bool everything = false;  // any object may be touched, as far as is known yet
  bool recalled = false;    // somebody had a lease
};

class LeaseTable {
 public:
  LeaseTable(Clock& clock, LeaseOptions options);
  ~LeaseTable();
  LeaseTable(const LeaseTable&) = delete;

  // Sessions: LeaseKeeper's words.
  void knew_before(std::uint32_t session) { earlier_.insert(session); }
  void attached(std::uint32_t session, LeaseHolder& holder);
  void detached(std::uint32_t session);
  void left(std::uint32_t session);
  void forgotten(std::uint32_t session);
  void answered(std::uint32_t session, std::uint64_t number);

  std::uint64_t mark() const { return changes_ended_; }
  bool grant(std::uint32_t session, const Gfid& gfid, std::uint64_t mark);

  // Changes. `change` stays where it is until end().
  void begin(RunningChange& change);
  void end(RunningChange& change);
  /// Whether a change that began earlier has a name of this one. The object behind the name may be another
  /// one when it has ended.
  bool name_is_busy(const RunningChange& change) const;
  /// Whether anybody but `session` has a lease, or wanted one lately.
  bool others_take_part(std::uint32_t session) const;
  /// Tells everybody else to give back what they have on what `change` touches.
  void recall(RunningChange& change);
  /// Until when at most an answer to that must be awaited; nothing: all have answered, or their leases have
  /// ended.
  std::optional<nanoseconds> must_wait(const RunningChange& change);
  /// Until when a change must wait since sessions of an earlier process may have leases; nothing: not at all.
  std::optional<nanoseconds> must_wait_for_earlier(std::uint32_t session) const;
  /// Something that nobody asked for has changed `gfid` (nil: everything), or `session` has: whoever has a
  /// lease all the same is told at once, though late.
  void changed(const Gfid& gfid, std::uint32_t session);

  LeaseNumbers numbers() const;

 private:
  struct Session;
  struct Entry : boost::intrusive::list_base_hook<> {
    Entry(const Gfid& the_gfid, Session& the_session) : gfid(the_gfid), session(the_session) {}

    const Gfid gfid;
    Session& session;
    std::uint64_t recall = 0;  // its number; 0: none was sent
    nanoseconds ends_at{};     // of a recalled one, unless it is answered earlier
  };
  struct Ended {
    std::uint32_t session = 0;
    std::uint64_t connection = 0;
    RunningChange::Gfids gfids;
    bool everything = false;
  };
  using Entries = std::unordered_multimap<Gfid, Entry>;

  Session* find(std::uint32_t session);
  bool changed_since(const Session& session, const Gfid& gfid, std::uint64_t mark) const;
  bool is_cooling(const Gfid& gfid);
  void cool(const Gfid& gfid);
  bool make_room(Session& session);
  void recall_oldest(Session& session);
  void recall_one(Session& session, Entry& entry);
  void recall_all(Session& session);
  std::uint64_t send_recall(Session& session, std::span<const Gfid> gfids);
  void set_recalled(Entry& entry, std::uint64_t number);
  nanoseconds ends_at(const Session& session) const;
  void erase(Entry& entry);
  void erase_all(Session& session);
  void forget_if_gone(std::uint32_t session);
  void note_ended(Ended ended);

  Clock& clock_;
  const LeaseOptions options_;
  const nanoseconds earlier_end_at_;
  std::set<std::uint32_t> earlier_;
  Entries entries_;
  std::map<std::uint32_t, std::unique_ptr<Session>> sessions_;
  boost::intrusive::list<RunningChange> running_;
  std::vector<Ended> ended_;  // a ring: the last changes, by number
  std::uint64_t changes_ended_ = 0;
  std::unordered_map<Gfid, nanoseconds> cooling_;
  std::deque<std::pair<nanoseconds, Gfid>> cooling_order_;
  LeaseNumbers numbers_;
};

}  // namespace polder
