// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/cluster/tokens.h"

#include <array>

#include "base/clock.h"
#include "base/coro.h"
#include "base/random.h"
#include "base/transport.h"
#include "core-volume/cluster/certificates.h"
#include "core-volume/cluster/records.h"

namespace polder {

namespace {

constexpr std::string_view kPrefix = "polder1-";
constexpr std::size_t kText_bytes_max = 8192;
constexpr std::size_t kAddressesMax = 16;
constexpr std::size_t kSecret_bytes = 32;
constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
constexpr std::array<std::string_view, 3> kRoles = {"node", "client", "site"};

std::int64_t now_s(Seams& seams) {
  return std::chrono::duration_cast<std::chrono::seconds>(seams.clock.wall_time()).count();
}

/// Seconds since the epoch, of a time that one can count on from.
Result<std::int64_t> expiry_field(const json::object& from) {
  constexpr std::uint64_t kEnd_s = 253'402'300'800;  // of the year 9999
  TRY(auto seconds, json::number_field(from, "expires", kEnd_s));
  return static_cast<std::int64_t>(seconds);
}

bool is_fingerprint(std::string_view text) {
  if (text.size() != 64) return false;
  return std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

Result<JoinToken> from_json(const json::value& value) {
  TRY(auto fields, json::as_object(value));
  JoinToken token;
  TRY(auto role, json::string_field(fields, "role"));
  TRY(token.role, parse_token_role(role));
  TRY(token.volume, json::string_field_or(fields, "volume", ""));
  if (!token.volume.empty()) {
    TRY(check_name("volume name", token.volume));
  }
  TRY(token.addresses, json::strings_field(fields, "addresses"));
  if (token.addresses.empty() || token.addresses.size() > kAddressesMax) {
    return Error(EINVAL).with("{} addresses", token.addresses.size());
  }
  for (const auto& address : token.addresses) {
    TRY(Endpoint::parse(address));
  }
  TRY(token.ca_fingerprint, json::string_field(fields, "ca"));
  if (!is_fingerprint(token.ca_fingerprint)) return Error(EINVAL).with("no fingerprint of a CA");
  TRY(token.secret, json::string_field(fields, "secret"));
  TRY(auto secret, decode_base64url(token.secret));
  if (secret.size() != kSecret_bytes) return Error(EINVAL).with("a secret of {} bytes", secret.size());
  TRY(token.expires_s, expiry_field(fields));
  return token;
}

Error not_a_token(std::string_view why) {
  return Error(EINVAL).with("this is not a join token ({}); 'polder cluster token' prints one", why);
}

/// Tokens that can't be used any more are only of interest for the error that names the reason.
Task<Result<void>> drop_expired(Seams& seams, ClusterStore& store) {
  constexpr std::int64_t kRemember_s = 86'400;
  CO_TRY(auto tokens, co_await list_records(store, "token"));
  ClusterTransaction transaction;
  for (const auto& [name, record] : tokens) {
    auto fields = json::as_object(record.value);
    auto expires = fields ? expiry_field(*fields) : Result<std::int64_t>(Error(EINVAL));
    if (!expires || *expires + kRemember_s > now_s(seams)) continue;
    transaction.remove("token/" + name);
  }
  if (!transaction.changes.empty()) {
    CO_TRY(co_await store.commit(std::move(transaction)));
  }
  co_return Result<void>();
}

}  // namespace

std::string_view to_string(TokenRole role) {
  return kRoles.at(static_cast<std::size_t>(role));
}

Result<TokenRole> parse_token_role(std::string_view text) {
  for (std::size_t i = 0; i < kRoles.size(); ++i) {
    if (text == kRoles[i]) return static_cast<TokenRole>(i);
  }
  return Error(EINVAL).with("'{}' is not a role; node, client or site", text);
}

std::string JoinToken::text() const {
  json::object fields{{"role", to_string(role)},
                      {"addresses", json::array(addresses.begin(), addresses.end())},
                      {"ca", ca_fingerprint},
                      {"secret", secret},
                      {"expires", expires_s}};
  if (!volume.empty()) fields["volume"] = volume;
  return std::string(kPrefix) + encode_base64url(json::text(fields));
}

Result<JoinToken> JoinToken::parse(std::string_view text) {
  auto is_space = [](char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; };
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  if (text.size() > kText_bytes_max) return not_a_token("too long");
  if (!text.starts_with(kPrefix)) return not_a_token("it does not begin with polder1-");
  auto bytes = decode_base64url(text.substr(kPrefix.size()));
  if (!bytes) return not_a_token("damaged; was it copied completely?");
  auto value = json::parse(*bytes);
  if (!value) return not_a_token("damaged; was it copied completely?");
  auto token = from_json(*value);
  if (!token) return not_a_token(token.error().context());
  return token;
}

Task<Result<JoinToken>> create_token(Seams& seams, ClusterStore& store, TokenRequest request) {
  if (request.ttl <= std::chrono::seconds(0) || request.ttl > kTokenTtlMax) {
    co_return Error(EINVAL).with("a token may live from one second to 30 days");
  }
  CO_TRY(co_await drop_expired(seams, store));
  std::array<std::uint8_t, kSecret_bytes> secret{};
  seams.random.fill(secret);
  JoinToken token{.role = request.role,
                  .volume = request.volume,
                  .addresses = request.addresses,
                  .ca_fingerprint = request.ca_fingerprint,
                  .secret = encode_base64url({reinterpret_cast<const char*>(secret.data()), secret.size()}),
                  .expires_s = now_s(seams) + request.ttl.count()};
  json::object record{{"role", to_string(token.role)},
                      {"volume", token.volume},
                      {"expires", token.expires_s},
                      {"used", false}};
  CO_TRY(co_await put_record(store, "token", sha256_hex(token.secret), record, 0));
  co_return token;
}

Task<Result<TokenGrant>> redeem_token(Seams& seams, ClusterStore& store, std::string secret) {
  auto name = sha256_hex(secret);
  auto record = co_await get_record(store, "token", name);
  if (record.failed_with(ENOENT))
    co_return Error(EACCES).with("this cluster never gave out this token, or long ago");
  if (!record) co_return record.error();
  CO_TRY(auto fields, json::as_object(record->value));
  CO_TRY(auto used, json::bool_field(fields, "used"));
  if (used) co_return Error(EACCES).with("the token was used already; each works once");
  CO_TRY(auto expires, expiry_field(fields));
  if (now_s(seams) >= expires) {
    co_return Error(EACCES).with("the token has expired; make a new one with 'polder cluster token'");
  }
  TokenGrant grant;
  CO_TRY(auto role, json::string_field(fields, "role"));
  CO_TRY(grant.role, parse_token_role(role));
  CO_TRY(grant.volume, json::string_field(fields, "volume"));
  fields["used"] = true;
  auto marked = co_await put_record(store, "token", name, fields, record->version);
  if (marked.failed_with(EAGAIN)) co_return Error(EACCES).with("the token was used already; each works once");
  if (!marked) co_return marked.error();
  co_return grant;
}

std::string encode_base64url(std::string_view bytes) {
  std::string out;
  std::uint32_t bits = 0;
  int count = 0;
  for (char c : bytes) {
    bits = bits << 8 | static_cast<unsigned char>(c);
    count += 8;
    while (count >= 6) {
      count -= 6;
      out += kAlphabet[bits >> count & 63];
    }
  }
  if (count > 0) out += kAlphabet[bits << (6 - count) & 63];
  return out;
}

Result<std::string> decode_base64url(std::string_view text) {
  std::string out;
  std::uint32_t bits = 0;
  int count = 0;
  for (char c : text) {
    auto value = kAlphabet.find(c);
    if (value == std::string_view::npos) return Error(EINVAL).with("not base64url");
    bits = bits << 6 | static_cast<std::uint32_t>(value);
    count += 6;
    if (count >= 8) {
      count -= 8;
      out += static_cast<char>(bits >> count & 255);
    }
  }
  // What is left over must be padding of zeros: each value has one text.
  if (count >= 6 || (bits & ((1u << count) - 1)) != 0) return Error(EINVAL).with("not base64url");
  return out;
}

}  // namespace polder
