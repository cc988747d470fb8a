// SPDX-License-Identifier: GPL-3.0-or-later
// POSIX ACLs (IEEE 1003.1e draft 17, as Linux has them): the xattr format and the rules that tie an ACL to
// the mode. Pure functions; the bytes come from callers and are hostile until parse_acl() has accepted them.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace polder {

inline constexpr std::string_view kAclAccess = "system.posix_acl_access";
inline constexpr std::string_view kAclDefault = "system.posix_acl_default";

constexpr bool is_acl_key(std::string_view key) {
  return key == kAclAccess || key == kAclDefault;
}

enum class AclTag : std::uint16_t {
  kUserObj = 0x01,
  kUser = 0x02,
  kGroupObj = 0x04,
  kGroup = 0x08,
  kMask = 0x10,
  kOther = 0x20,
};

struct AclEntry {
  AclTag tag{};
  std::uint16_t perm = 0;         // rwx: 0..7
  std::uint32_t id = 0xffffffff;  // of kUser and kGroup only
  bool operator==(const AclEntry&) const = default;
};

/// Invariant: valid, as acl(5) defines it: user::, user:x:…, group::, group:x:…, mask (if there are named
/// entries), other:: in this order.
struct Acl {
  std::vector<AclEntry> entries;

  /// True when the ACL says no more than the nine permission bits do: then it is not stored, only the mode
  /// is.
  bool equals_mode() const;
  /// The nine permission bits that the ACL implies: the group's are the mask, where there is one.
  std::uint32_t mode_bits() const;
  bool operator==(const Acl&) const = default;
};

/// The xattr's value, version 2, little-endian. An empty value, or a header alone, means "no ACL": nullopt.
/// EINVAL when malformed or not valid, EOPNOTSUPP for another version.
Result<std::optional<Acl>> parse_acl(std::string_view bytes);
std::string build_acl(const Acl& acl);

/// chmod on an object with an access ACL: owner, mask (or group::) and other follow the mode.
Acl acl_after_chmod(Acl acl, std::uint32_t mode);

/// A new object below a directory with default ACL `acl`: returns its access ACL and takes from `mode` what
/// the ACL does not grant. The umask plays no part.
Acl acl_for_new_object(Acl acl, std::uint32_t& mode);

}  // namespace polder
