// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/support/sim_acl.h"

#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>

#include <algorithm>
#include <cstring>

namespace polder {

namespace {

constexpr std::size_t kHeadBytes = sizeof(posix_acl_xattr_header);
constexpr auto kNoId = static_cast<std::uint32_t>(ACL_UNDEFINED_ID);
constexpr std::size_t kEntryBytes = sizeof(posix_acl_xattr_entry);

}  // namespace

Result<std::optional<SimAcl>> SimAcl::parse(std::string_view xattr) {
  if (xattr.empty()) return std::optional<SimAcl>();
  if (xattr.size() < kHeadBytes) return Error(EINVAL);
  posix_acl_xattr_header head;
  std::memcpy(&head, xattr.data(), kHeadBytes);
  if (head.a_version != POSIX_ACL_XATTR_VERSION) return Error(EOPNOTSUPP);
  xattr.remove_prefix(kHeadBytes);
  if (xattr.size() % kEntryBytes != 0) return Error(EINVAL);
  SimAcl acl;
  for (; !xattr.empty(); xattr.remove_prefix(kEntryBytes)) {
    posix_acl_xattr_entry raw;
    std::memcpy(&raw, xattr.data(), kEntryBytes);
    bool named = raw.e_tag == ACL_USER || raw.e_tag == ACL_GROUP;
    acl.entries_.push_back({raw.e_tag, raw.e_perm, named ? raw.e_id : kNoId});
  }
  if (acl.entries_.empty()) return std::optional<SimAcl>();
  if (!std::ranges::all_of(acl.entries_, is_known)) return Error(EINVAL);
  return std::optional(std::move(acl));
}

bool SimAcl::is_known(const Entry& entry) {
  bool named = entry.tag == ACL_USER || entry.tag == ACL_GROUP;
  if (named) return entry.id != kNoId;
  return entry.tag == ACL_USER_OBJ || entry.tag == ACL_GROUP_OBJ || entry.tag == ACL_MASK ||
         entry.tag == ACL_OTHER;
}

bool SimAcl::is_valid() const {
  auto count = [&](int tag) {
    return std::ranges::count_if(entries_, [&](const Entry& entry) { return entry.tag == tag; });
  };
  auto fits = [](const Entry& entry) { return (entry.permissions & ~7) == 0; };
  bool has_named = count(ACL_USER) + count(ACL_GROUP) > 0;
  // The kernel's order of tags is that of their numbers.
  return std::ranges::all_of(entries_, fits) && std::ranges::is_sorted(entries_, {}, &Entry::tag) &&
         count(ACL_USER_OBJ) == 1 && count(ACL_GROUP_OBJ) == 1 && count(ACL_OTHER) == 1 &&
         count(ACL_MASK) <= 1 && (!has_named || count(ACL_MASK) == 1);
}

std::string SimAcl::serialize() const {
  std::string out(kHeadBytes + entries_.size() * kEntryBytes, '\0');
  posix_acl_xattr_header head{POSIX_ACL_XATTR_VERSION};
  std::memcpy(out.data(), &head, kHeadBytes);
  char* at = out.data() + kHeadBytes;
  for (const auto& entry : entries_) {
    posix_acl_xattr_entry raw{entry.tag, entry.permissions, entry.id};
    std::memcpy(at, &raw, kEntryBytes);
    at += kEntryBytes;
  }
  return out;
}

SimAcl::Entry* SimAcl::find(std::uint16_t tag) {
  auto found = std::ranges::find(entries_, tag, &Entry::tag);
  return found == entries_.end() ? nullptr : &*found;
}

SimAcl::Entry& SimAcl::group_class() {
  auto* mask = find(ACL_MASK);
  return mask ? *mask : *find(ACL_GROUP_OBJ);
}

bool SimAcl::is_only_mode() const {
  return entries_.size() == 3;
}

mode_t SimAcl::mode_bits() const {
  auto& self = const_cast<SimAcl&>(*this);
  return static_cast<mode_t>(self.find(ACL_USER_OBJ)->permissions << 6 | self.group_class().permissions << 3 |
                             self.find(ACL_OTHER)->permissions);
}

void SimAcl::set_mode_bits(mode_t mode) {
  find(ACL_USER_OBJ)->permissions = mode >> 6 & 7;
  group_class().permissions = mode >> 3 & 7;
  find(ACL_OTHER)->permissions = mode & 7;
}

void SimAcl::restrict_to(mode_t mode) {
  set_mode_bits(mode_bits() & mode);
}

}  // namespace polder
