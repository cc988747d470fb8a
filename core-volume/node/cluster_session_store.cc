// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/node/cluster_session_store.h"

#include <charconv>
#include <limits>

#include "base/coro.h"
#include "core-volume/cluster/json_fields.h"
#include "core-volume/cluster/tokens.h"

namespace polder {

namespace {

std::string last_key(const std::string& volume) {
  return "session-number/" + volume;
}
std::string prefix_of(const std::string& volume) {
  return "session/" + volume + "/";
}
std::string key_of(const std::string& volume, std::uint32_t number) {
  return prefix_of(volume) + fmt::format("{:010}", number);
}

std::string encode(const StoredSession& session) {
  return json::text(json::object{{"number", session.number},
                                 {"token", encode_base64url(session.token)},
                                 {"owner", session.owner},
                                 {"client_name", session.client_name}});
}

Result<StoredSession> decode(const VersionedValue& entry) {
  TRY(auto value, json::parse(entry.value));
  TRY(auto fields, json::as_object(value));
  StoredSession session;
  TRY(auto number, json::number_field(fields, "number", UINT32_MAX));
  session.number = static_cast<std::uint32_t>(number);
  TRY(auto token, json::string_field(fields, "token"));
  TRY(session.token, decode_base64url(token));
  TRY(session.owner, json::string_field(fields, "owner"));
  TRY(session.client_name, json::string_field(fields, "client_name"));
  return session;
}

/// Client names come from the network and need not be UTF-8, which JSON does.
std::string printable(std::string text) {
  for (auto& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) > 0x7e) c = '?';
  }
  return text;
}

}  // namespace

Task<Result<std::uint32_t>> ClusterSessionStore::add(const std::string& volume,
                                                     const StoredSession& session) {
  constexpr int kAttempts = 64;  // two mounts at once: one of them counts again
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    CO_TRY(auto last, co_await store_.get(last_key(volume)));
    std::uint32_t number = 0;
    if (last) std::from_chars(last->value.data(), last->value.data() + last->value.size(), number);
    if (number == std::numeric_limits<std::uint32_t>::max()) {
      co_return Error(EOVERFLOW).with("volume {} has given out all session numbers", volume);
    }
    auto stored = session;
    stored.number = number + 1;
    stored.client_name = printable(session.client_name);
    ClusterTransaction transaction;
    transaction.expect(last_key(volume), last ? last->version : 0)
        .put(last_key(volume), std::to_string(stored.number))
        .put(key_of(volume, stored.number), encode(stored));
    auto done = co_await store_.commit(std::move(transaction));
    if (done) co_return stored.number;
    if (!done.failed_with(EAGAIN)) co_return done.error();
  }
  co_return Error(EAGAIN).with("too many sessions of volume {} begin at once", volume);
}

Task<Result<std::vector<StoredSession>>> ClusterSessionStore::list(const std::string& volume) {
  CO_TRY(auto entries, co_await store_.list(prefix_of(volume)));
  std::vector<StoredSession> out;
  for (const auto& entry : entries) {
    auto session = decode(entry);
    if (!session)
      co_return Error(EUCLEAN).with("{} in the cluster's store: {}", entry.key, session.error().message());
    out.push_back(*std::move(session));
  }
  co_return out;
}

Task<Result<void>> ClusterSessionStore::forget(const std::string& volume, std::uint32_t number) {
  CO_TRY(co_await store_.commit(ClusterTransaction().remove(key_of(volume, number))));
  co_return Result<void>();
}

}  // namespace polder
