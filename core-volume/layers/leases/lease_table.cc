// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/layers/leases/lease_table.h"

#include <algorithm>

namespace polder {
namespace {

constexpr std::size_t kEndedKept = 1024;  // an answer that took longer than so many changes grants nothing
constexpr std::size_t kRoomAtOnce = 256;  // leases that are recalled when a session has too many

bool contains(const RunningChange::Gfids& gfids, const Gfid& gfid) {
  return std::ranges::find(gfids, gfid) != gfids.end();
}

}  // namespace

struct LeaseTable::Session {
  explicit Session(std::uint32_t the_number) : number(the_number) {}

  const std::uint32_t number;
  std::uint64_t connection = 1;
  LeaseHolder* holder = nullptr;  // null: no connection
  bool gone = false;              // forgotten; what it had ends by time
  nanoseconds heard_at{};         // when there is no holder to ask
  nanoseconds wanted_at = nanoseconds::min();
  std::uint64_t recalls_sent = 0;
  boost::intrusive::list<Entry> held;      // first whose last grant is the oldest
  boost::intrusive::list<Entry> recalled;  // in the order of the recalls
  std::size_t count() const { return held.size() + recalled.size(); }
  /// Whether somebody else changed something, or this session did on an older connection.
  bool is_foreign(std::uint32_t by_session, std::uint64_t by_connection) const {
    return by_session != number || by_connection != connection;
  }
};

LeaseTable::LeaseTable(Clock& clock, LeaseOptions options)
    : clock_(clock),
      options_(options),
      earlier_end_at_(clock.boot_time() + options.term + options.margin),
      ended_(kEndedKept) {}

LeaseTable::~LeaseTable() {
  for (auto& [number, session] : sessions_) erase_all(*session);
}

// ---- sessions ----

LeaseTable::Session* LeaseTable::find(std::uint32_t session) {
  auto found = sessions_.find(session);
  return found == sessions_.end() ? nullptr : found->second.get();
}

void LeaseTable::attached(std::uint32_t number, LeaseHolder& holder) {
  auto& session = sessions_[number];
  if (!session) session = std::make_unique<Session>(number);
  erase_all(*session);
  ++session->connection;
  session->holder = &holder;
  session->gone = false;
  earlier_.erase(number);
}

void LeaseTable::detached(std::uint32_t number) {
  auto* session = find(number);
  if (!session || !session->holder) return;
  session->heard_at = session->holder->heard_at();
  session->holder = nullptr;
}

void LeaseTable::left(std::uint32_t number) {
  if (auto* session = find(number)) erase_all(*session);
}

void LeaseTable::forgotten(std::uint32_t number) {
  detached(number);
  if (auto* session = find(number)) session->gone = true;
  std::vector<std::uint32_t> all;
  for (const auto& [other, session] : sessions_) all.push_back(other);
  for (auto other : all) forget_if_gone(other);
}

void LeaseTable::forget_if_gone(std::uint32_t number) {
  auto& session = *sessions_.at(number);
  if (!session.gone) return;
  if (ends_at(session) <= clock_.boot_time()) erase_all(session);
  if (session.count() == 0) sessions_.erase(number);
}

void LeaseTable::answered(std::uint32_t number, std::uint64_t recall) {
  auto* session = find(number);
  if (!session) return;
  while (!session->recalled.empty() && session->recalled.front().recall <= recall)
    erase(session->recalled.front());
}

/// When the leases that it has now end, if it does not say anything more: a client counts from when it sent
/// its last request that was answered.
nanoseconds LeaseTable::ends_at(const Session& session) const {
  const auto heard_at = session.holder ? session.holder->heard_at() : session.heard_at;
  return heard_at + options_.term + options_.margin;
}

// ---- granting ----

bool LeaseTable::grant(std::uint32_t number, const Gfid& gfid, std::uint64_t mark) {
  auto* session = find(number);
  if (!session || !session->holder || gfid.is_nil()) return false;
  session->wanted_at = clock_.boot_time();
  if (changed_since(*session, gfid, mark) || is_cooling(gfid)) return false;
  auto [begin, end] = entries_.equal_range(gfid);
  for (auto at = begin; at != end; ++at) {
    auto& entry = at->second;
    if (&entry.session != session) continue;
    if (entry.recall == 0)
      session->held.splice(session->held.end(), session->held, session->held.iterator_to(entry));
    return entry.recall == 0;
  }
  if (!make_room(*session)) return false;
  auto at = entries_.emplace(std::piecewise_construct, std::forward_as_tuple(gfid),
                             std::forward_as_tuple(gfid, *session));
  session->held.push_back(at->second);
  ++numbers_.granted;
  return true;
}

bool LeaseTable::changed_since(const Session& session, const Gfid& gfid, std::uint64_t mark) const {
  for (const auto& change : running_)
    if (session.is_foreign(change.session, change.connection) &&
        (change.everything || contains(change.gfids, gfid)))
      return true;
  if (changes_ended_ - mark > kEndedKept) return true;
  for (auto number = mark; number < changes_ended_; ++number) {
    const auto& ended = ended_[number % kEndedKept];
    if (session.is_foreign(ended.session, ended.connection) &&
        (ended.everything || contains(ended.gfids, gfid)))
      return true;
  }
  return false;
}

/// The oldest give way to new ones, once their holder has answered.
bool LeaseTable::make_room(Session& session) {
  if (session.count() < options_.leases_per_session_max && entries_.size() < options_.leases_max) return true;
  if (session.recalled.empty() && !session.held.empty()) recall_oldest(session);
  return false;
}

/// With one message: a client that works through many files would have to read one for each.
void LeaseTable::recall_oldest(Session& session) {
  boost::container::static_vector<Gfid, kRoomAtOnce> gfids;
  for (const auto& entry : session.held) {
    if (gfids.size() == kRoomAtOnce) break;
    gfids.push_back(entry.gfid);
  }
  const auto number = send_recall(session, gfids);
  for (std::size_t i = 0; i < gfids.size(); ++i) set_recalled(session.held.front(), number);
}

bool LeaseTable::is_cooling(const Gfid& gfid) {
  const auto now = clock_.boot_time();
  while (!cooling_order_.empty() && cooling_order_.front().first <= now) {
    auto found = cooling_.find(cooling_order_.front().second);
    if (found != cooling_.end() && found->second <= now) cooling_.erase(found);
    cooling_order_.pop_front();
  }
  return cooling_.contains(gfid);
}

void LeaseTable::cool(const Gfid& gfid) {
  const auto until = clock_.boot_time() + options_.cool_down;
  cooling_[gfid] = until;
  cooling_order_.emplace_back(until, gfid);
}

// ---- changes ----

void LeaseTable::begin(RunningChange& change) {
  auto* session = find(change.session);
  change.connection = session ? session->connection : 0;
  running_.push_back(change);
}

void LeaseTable::end(RunningChange& change) {
  running_.erase(running_.iterator_to(change));
  note_ended({change.session, change.connection, change.gfids, change.everything});
  if (!change.recalled) return;
  for (const auto& gfid : change.gfids) cool(gfid);
}

void LeaseTable::note_ended(Ended ended) {
  ended_[changes_ended_++ % kEndedKept] = std::move(ended);
}

bool LeaseTable::name_is_busy(const RunningChange& change) const {
  for (const auto& other : running_) {
    if (&other == &change) return false;
    for (const auto& name : change.names)
      if (std::ranges::find(other.names, name) != other.names.end()) return true;
  }
  return false;
}

bool LeaseTable::others_take_part(std::uint32_t number) const {
  const auto lately = clock_.boot_time() - options_.term - options_.margin;
  return std::ranges::any_of(sessions_, [&](const auto& one) {
    const auto& session = *one.second;
    return one.first != number && (session.count() > 0 || session.wanted_at > lately);
  });
}

std::uint64_t LeaseTable::send_recall(Session& session, std::span<const Gfid> gfids) {
  numbers_.recalls += gfids.size();
  const auto number = ++session.recalls_sent;
  // Without a connection there is nobody to tell: it drops everything before it comes back.
  if (session.holder) session.holder->recall(gfids, number);
  return number;
}

void LeaseTable::recall_one(Session& session, Entry& entry) {
  if (entry.recall != 0) return;
  set_recalled(entry, send_recall(session, {&entry.gfid, 1}));
}

void LeaseTable::set_recalled(Entry& entry, std::uint64_t number) {
  auto& session = entry.session;
  entry.ends_at = ends_at(session);
  entry.recall = number;
  session.held.erase(session.held.iterator_to(entry));
  session.recalled.push_back(entry);
}

void LeaseTable::recall_all(Session& session) {
  if (session.held.empty()) return;
  const auto end = ends_at(session);
  const Gfid everything;
  const auto number = send_recall(session, {&everything, 1});
  for (auto& entry : session.held) {
    entry.ends_at = end;
    entry.recall = number;
  }
  session.recalled.splice(session.recalled.end(), session.held);
}

void LeaseTable::recall(RunningChange& change) {
  if (change.everything) {
    for (auto& [number, session] : sessions_) {
      if (number == change.session) continue;
      change.recalled |= !session->held.empty();
      recall_all(*session);
    }
    return;
  }
  for (const auto& gfid : change.gfids) {
    auto [begin, end] = entries_.equal_range(gfid);
    for (auto at = begin; at != end; ++at) {
      auto& session = at->second.session;
      if (session.number == change.session) continue;
      change.recalled = true;
      recall_one(session, at->second);
    }
  }
}

std::optional<nanoseconds> LeaseTable::must_wait(const RunningChange& change) {
  const auto now = clock_.boot_time();
  std::optional<nanoseconds> until;
  std::vector<Entry*> over;
  auto look = [&](Entry& entry) {
    if (entry.ends_at <= now)
      over.push_back(&entry);
    else
      until = until ? std::min(*until, entry.ends_at) : entry.ends_at;
  };
  if (change.everything) {
    for (auto& [number, session] : sessions_)
      if (number != change.session)
        for (auto& entry : session->recalled) look(entry);
  } else {
    for (const auto& gfid : change.gfids) {
      auto [begin, end] = entries_.equal_range(gfid);
      for (auto at = begin; at != end; ++at)
        if (at->second.session.number != change.session) look(at->second);
    }
  }
  numbers_.unanswered += over.size();
  for (auto* entry : over) erase(*entry);
  return until;
}

std::optional<nanoseconds> LeaseTable::must_wait_for_earlier(std::uint32_t session) const {
  const bool others = earlier_.size() > (earlier_.contains(session) ? 1u : 0u);
  if (!others || clock_.boot_time() >= earlier_end_at_) return std::nullopt;
  return earlier_end_at_;
}

void LeaseTable::changed(const Gfid& gfid, std::uint32_t number) {
  if (number == 0) {
    Ended ended{.session = 0, .connection = 0, .gfids = {}, .everything = gfid.is_nil()};
    if (!gfid.is_nil()) ended.gfids.push_back(gfid);
    note_ended(std::move(ended));
  }
  if (entries_.empty()) return;
  if (gfid.is_nil()) {
    for (auto& [other, session] : sessions_)
      if (other != number) recall_all(*session);
    return;
  }
  auto [begin, end] = entries_.equal_range(gfid);
  for (auto at = begin; at != end; ++at)
    if (at->second.session.number != number) recall_one(at->second.session, at->second);
}

// ---- ending ----

void LeaseTable::erase(Entry& entry) {
  auto& list = entry.recall == 0 ? entry.session.held : entry.session.recalled;
  list.erase(list.iterator_to(entry));
  auto [begin, end] = entries_.equal_range(entry.gfid);
  for (auto at = begin; at != end; ++at)
    if (&at->second == &entry) return void(entries_.erase(at));
}

void LeaseTable::erase_all(Session& session) {
  while (!session.held.empty()) erase(session.held.front());
  while (!session.recalled.empty()) erase(session.recalled.front());
}

LeaseNumbers LeaseTable::numbers() const {
  auto numbers = numbers_;
  numbers.leases = entries_.size();
  return numbers;
}

}  // namespace polder
