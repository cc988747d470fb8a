// SPDX-License-Identifier: GPL-3.0-or-later
// RetryTable: which changes of which sessions have happened, so that one that is sent again (its reply was
// lost, or the daemon started anew) is answered, not repeated. Rebuilt at start from the log, where every
// record carries (session, sequence). Loop thread only, but for the rebuilding.
#pragma once
#include <deque>
#include <unordered_map>

#include "changelog/record/record.h"

namespace polder {

class RetryTable {
 public:
  /// Enough to give the first answer again, from the present state.
  struct Done {
    RecordKind kind{};
    Gfid gfid;
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
  };
  static constexpr std::size_t kPerSession = 4096;  // more than a client has under way, by far

  /// Null when the change has not happened, or too long ago.
  const Done* find(std::uint32_t session, std::uint64_t sequence) const;
  /// Several records of one operation (truncate and setattr): the last one counts. One that undoes the one
  /// before it takes the operation out: it failed.
  void note(const Record& record);
  void end_session(std::uint32_t session) { sessions_.erase(session); }
  std::size_t size() const {
    std::size_t sum = 0;
    for (const auto& [session, table] : sessions_) sum += table.done.size();
    return sum;
  }

 private:
  struct Session {
    std::unordered_map<std::uint64_t, Done> done;
    std::deque<std::uint64_t> order;
  };
  std::unordered_map<std::uint32_t, Session> sessions_;
};

}  // namespace polder
