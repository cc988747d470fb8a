// SPDX-License-Identifier: GPL-3.0-or-later
// The kernel's table of mounts, as far as snapshots need it.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace polder {

struct Mount {
  std::string source;   // device
  std::string target;   // where it is mounted
  std::string type;     // xfs, ext4, btrfs, …
  std::string options;  // as mount(8) takes them
};

/// Parses /proc/self/mountinfo; octal escapes are undone.
std::vector<Mount> parse_mountinfo(std::string_view text);
Result<std::vector<Mount>> read_mounts();
/// The mount that holds `path`.
Result<Mount> find_mount_of(const std::string& path);
/// What is mounted at exactly `target`.
Result<std::optional<Mount>> find_mounted_at(const std::string& target);

}  // namespace polder
