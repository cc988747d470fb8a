// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/layer/posix_acl.h"

#include <cstring>

namespace polder {

namespace {

constexpr std::uint32_t kVersion = 2;
constexpr std::size_t kHeader_bytes = 4, kEntry_bytes = 8;
constexpr std::uint32_t kNoId = 0xffffffff;

template <typename T>
T load_le(const char* at) {
  T value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i)
    value =
        static_cast<T>(value | static_cast<T>(static_cast<T>(static_cast<unsigned char>(at[i])) << 8 * i));
  return value;
}

template <typename T>
void append_le(std::string& out, T value) {
  for (std::size_t i = 0; i < sizeof(T); ++i) out.push_back(static_cast<char>(value >> 8 * i));
}

bool is_named(AclTag tag) {
  return tag == AclTag::kUser || tag == AclTag::kGroup;
}

// Position of a tag in the order that acl(5) demands; -1 for no tag at all.
int rank(AclTag tag) {
  switch (tag) {
    case AclTag::kUserObj:
      return 0;
    case AclTag::kUser:
      return 1;
    case AclTag::kGroupObj:
      return 2;
    case AclTag::kGroup:
      return 3;
    case AclTag::kMask:
      return 4;
    case AclTag::kOther:
      return 5;
  }
  return -1;
}

Result<void> check_valid(const Acl& acl) {
  int last = -1;
  unsigned seen = 0;
  for (const AclEntry& entry : acl.entries) {
    const int now = rank(entry.tag);
    if (now < 0) return Error(EINVAL).with("ACL: unknown tag {:#x}", static_cast<unsigned>(entry.tag));
    if (entry.perm > 7) return Error(EINVAL).with("ACL: permissions {:#o} of an entry", entry.perm);
    if (now < last || (now == last && !is_named(entry.tag)))
      return Error(EINVAL).with("ACL: entries out of order");
    if (is_named(entry.tag) && entry.id == kNoId) return Error(EINVAL).with("ACL: named entry without an id");
    last = now;
    seen |= 1u << now;
  }
  const unsigned required = 1u << 0 | 1u << 2 | 1u << 5;
  const bool has_named = (seen & (1u << 1 | 1u << 3)) != 0, has_mask = (seen & 1u << 4) != 0;
  if ((seen & required) != required) return Error(EINVAL).with("ACL: user::, group:: or other:: is missing");
  if (has_named && !has_mask) return Error(EINVAL).with("ACL: named entries need a mask");
  return {};
}

AclEntry* find(Acl& acl, AclTag tag) {
  for (AclEntry& entry : acl.entries)
    if (entry.tag == tag) return &entry;
  return nullptr;
}

// The entry that the group bits of the mode show.
AclEntry& group_class(Acl& acl) {
  AclEntry* mask = find(acl, AclTag::kMask);
  return mask ? *mask : *find(acl, AclTag::kGroupObj);
}

}  // namespace

bool Acl::equals_mode() const {
  for (const AclEntry& entry : entries)
    if (is_named(entry.tag) || entry.tag == AclTag::kMask) return false;
  return true;
}

std::uint32_t Acl::mode_bits() const {
  Acl copy = *this;
  return static_cast<std::uint32_t>(find(copy, AclTag::kUserObj)->perm << 6 | group_class(copy).perm << 3 |
                                    find(copy, AclTag::kOther)->perm);
}

Result<std::optional<Acl>> parse_acl(std::string_view bytes) {
  if (bytes.empty()) return std::optional<Acl>();
  if (bytes.size() < kHeader_bytes) return Error(EINVAL).with("ACL of {} bytes", bytes.size());
  const auto version = load_le<std::uint32_t>(bytes.data());
  if (version != kVersion) return Error(EOPNOTSUPP).with("ACL of version {}", version);
  bytes.remove_prefix(kHeader_bytes);
  if (bytes.size() % kEntry_bytes != 0) return Error(EINVAL).with("ACL with a part of an entry");
  if (bytes.empty()) return std::optional<Acl>();
  Acl acl;
  acl.entries.reserve(bytes.size() / kEntry_bytes);
  for (; !bytes.empty(); bytes.remove_prefix(kEntry_bytes)) {
    AclEntry entry;
    entry.tag = static_cast<AclTag>(load_le<std::uint16_t>(bytes.data()));
    entry.perm = load_le<std::uint16_t>(bytes.data() + 2);
    // The id of unnamed entries is ignored, so that equal ACLs have equal bytes after build_acl().
    if (is_named(entry.tag)) entry.id = load_le<std::uint32_t>(bytes.data() + 4);
    acl.entries.push_back(entry);
  }
  TRY(check_valid(acl));
  return std::optional<Acl>(std::move(acl));
}

std::string build_acl(const Acl& acl) {
  std::string bytes;
  bytes.reserve(kHeader_bytes + acl.entries.size() * kEntry_bytes);
  append_le<std::uint32_t>(bytes, kVersion);
  for (const AclEntry& entry : acl.entries) {
    append_le<std::uint16_t>(bytes, static_cast<std::uint16_t>(entry.tag));
    append_le<std::uint16_t>(bytes, entry.perm);
    append_le<std::uint32_t>(bytes, entry.id);
  }
  return bytes;
}

Acl acl_after_chmod(Acl acl, std::uint32_t mode) {
  find(acl, AclTag::kUserObj)->perm = mode >> 6 & 7;
  group_class(acl).perm = mode >> 3 & 7;
  find(acl, AclTag::kOther)->perm = mode & 7;
  return acl;
}

Acl acl_for_new_object(Acl acl, std::uint32_t& mode) {
  find(acl, AclTag::kUserObj)->perm &= mode >> 6 & 7;
  group_class(acl).perm &= mode >> 3 & 7;
  find(acl, AclTag::kOther)->perm &= mode & 7;
  mode = (mode & ~0777u) | acl.mode_bits();
  return acl;
}

}  // namespace polder
