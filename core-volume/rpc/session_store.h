// SPDX-License-Identifier: GPL-3.0-or-later
// SessionStore: which numbers a volume's sessions have, across restarts of the daemon. The changelog knows
// sessions by number, so a number is given out once, ever. Loop thread only.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/task.h"

namespace polder {

struct StoredSession {
  std::uint32_t number = 0;  // from 1
  std::string token;         // 16 bytes, secret
  std::string owner;         // whose it is (PeerIdentity): the token in other hands is refused
  std::string client_name;
};

class SessionStore {
 public:
  virtual ~SessionStore() = default;
  /// Gives `session` the volume's next number and keeps it. Durable when it returns.
  virtual Task<Result<std::uint32_t>> add(const std::string& volume, const StoredSession& session) = 0;
  virtual Task<Result<std::vector<StoredSession>>> list(const std::string& volume) = 0;
  /// The session is over; its number stays used.
  virtual Task<Result<void>> forget(const std::string& volume, std::uint32_t number) = 0;
};

/// For tests and volumes without a disk.
class MemorySessionStore : public SessionStore {
 public:
  Task<Result<std::uint32_t>> add(const std::string& volume, const StoredSession& session) override;
  Task<Result<std::vector<StoredSession>>> list(const std::string& volume) override;
  Task<Result<void>> forget(const std::string& volume, std::uint32_t number) override;

 private:
  struct Volume {
    std::uint32_t last = 0;
    std::map<std::uint32_t, StoredSession> sessions;
  };
  std::map<std::string, Volume> volumes_;
};

}  // namespace polder
