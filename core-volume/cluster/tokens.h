// SPDX-License-Identifier: GPL-3.0-or-later
// One-time join tokens: what somebody needs to become a node, a client or another site's sender. The text
// says whom to ask and whose CA to trust; its secret is kept by the cluster as a hash, works once, and until
// it expires.
#pragma once
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/seams.h"
#include "base/task.h"
#include "core-volume/cluster/cluster_store.h"

namespace polder {

enum class TokenRole { kNode, kClient, kSite };
std::string_view to_string(TokenRole role);  // "node", "client", "site"
Result<TokenRole> parse_token_role(std::string_view text);

struct JoinToken {
  TokenRole role = TokenRole::kClient;
  std::string volume;                  // site: the secondary volume; client: only this one, or empty
  std::vector<std::string> addresses;  // HOST:PORT of nodes
  std::string ca_fingerprint;
  std::string secret;  // 32 random bytes, base64url
  std::int64_t expires_s = 0;

  /// "polder1-…", one line, for a file or standard input.
  std::string text() const;
  /// EINVAL: not a token; spaces and line ends around it are forgiven. Does not look at the expiry.
  static Result<JoinToken> parse(std::string_view text);
};

struct TokenRequest {
  TokenRole role = TokenRole::kClient;
  std::string volume;
  std::vector<std::string> addresses;
  std::string ca_fingerprint;
  std::chrono::seconds ttl = std::chrono::hours(1);
};

inline constexpr std::chrono::seconds kTokenTtlMax = std::chrono::hours(24 * 30);

/// Makes a token and keeps the hash of its secret. EINVAL for a ttl out of bounds.
Task<Result<JoinToken>> create_token(Seams& seams, ClusterStore& store, TokenRequest request);

/// What a redeemed token allows.
struct TokenGrant {
  TokenRole role = TokenRole::kClient;
  std::string volume;
};
/// Uses the token up. EACCES says whether it is unknown, used or expired. Of two at once, one wins.
Task<Result<TokenGrant>> redeem_token(Seams& seams, ClusterStore& store, std::string secret);

/// base64url without padding.
std::string encode_base64url(std::string_view bytes);
Result<std::string> decode_base64url(std::string_view text);

}  // namespace polder
