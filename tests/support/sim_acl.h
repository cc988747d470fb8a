// SPDX-License-Identifier: GPL-3.0-or-later
// POSIX ACLs as the kernel treats them: the xattr form is checked, bound to the mode bits, and inherited.
#pragma once
#include <sys/stat.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace polder {

class SimAcl {
 public:
  static constexpr const char* kAccess = "system.posix_acl_access";
  static constexpr const char* kDefault = "system.posix_acl_default";

  /// No value for an ACL without entries, which means to remove it. EINVAL when malformed;
  /// whether the entries make sense together is another question.
  static Result<std::optional<SimAcl>> parse(std::string_view xattr);
  std::string serialize() const;
  /// What the others need.
  bool is_valid() const;

  /// True when mode bits can say all of it; such an access ACL is not stored.
  bool is_only_mode() const;
  mode_t mode_bits() const;
  /// What chmod does to the access ACL of a file.
  void set_mode_bits(mode_t mode);
  /// What creation with `mode` makes of a directory's default ACL: allows no more than both do.
  void restrict_to(mode_t mode);

 private:
  struct Entry {
    std::uint16_t tag;
    std::uint16_t permissions;
    std::uint32_t id;
  };
  Entry* find(std::uint16_t tag);
  Entry& group_class();
  static bool is_known(const Entry& entry);

  std::vector<Entry> entries_;
};

}  // namespace polder
