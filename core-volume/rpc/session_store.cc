// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/rpc/session_store.h"

#include "base/coro.h"

namespace polder {

Task<Result<std::uint32_t>> MemorySessionStore::add(const std::string& volume, const StoredSession& session) {
  auto& there = volumes_[volume];
  const auto number = ++there.last;
  there.sessions[number] = session;
  there.sessions[number].number = number;
  co_return number;
}

Task<Result<std::vector<StoredSession>>> MemorySessionStore::list(const std::string& volume) {
  std::vector<StoredSession> all;
  for (const auto& [number, session] : volumes_[volume].sessions) all.push_back(session);
  co_return all;
}

Task<Result<void>> MemorySessionStore::forget(const std::string& volume, std::uint32_t number) {
  volumes_[volume].sessions.erase(number);
  co_return Result<void>();
}

}  // namespace polder
