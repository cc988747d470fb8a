// SPDX-License-Identifier: GPL-3.0-or-later
#include "snapshot/backend/mounts.h"

#include <fstream>
#include <sstream>

namespace polder {

namespace {

/// The kernel writes space, tab, newline and backslash as \ooo.
std::string unescape(const std::string& word) {
  std::string text;
  for (std::size_t i = 0; i < word.size(); ++i) {
    const bool octal = word[i] == '\\' && i + 3 < word.size() && word[i + 1] >= '0' && word[i + 1] <= '3';
    if (!octal) {
      text += word[i];
      continue;
    }
    text += static_cast<char>((word[i + 1] - '0') * 64 + (word[i + 2] - '0') * 8 + (word[i + 3] - '0'));
    i += 3;
  }
  return text;
}

bool is_below(const std::string& path, const std::string& directory) {
  if (directory == "/") return true;
  return path.starts_with(directory) && (path.size() == directory.size() || path[directory.size()] == '/');
}

}  // namespace

std::vector<Mount> parse_mountinfo(std::string_view text) {
  // 36 35 98:0 /root /target rw,noatime optional… - type source super-options
  std::vector<Mount> mounts;
  std::istringstream lines{std::string(text)};
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string id, parent, device, root, target, options, word;
    words >> id >> parent >> device >> root >> target >> options;
    while (words >> word && word != "-") {
    }
    Mount mount;
    std::string source;
    if (!(words >> mount.type >> source)) continue;
    mount.source = unescape(source);
    mount.target = unescape(target);
    mount.options = options;
    mounts.push_back(std::move(mount));
  }
  return mounts;
}

Result<std::vector<Mount>> read_mounts() {
  std::ifstream file("/proc/self/mountinfo");
  std::stringstream text;
  text << file.rdbuf();
  if (!file) return Error(EIO).with("read /proc/self/mountinfo");
  return parse_mountinfo(text.str());
}

Result<Mount> find_mount_of(const std::string& path) {
  TRY(auto mounts, read_mounts());
  const Mount* best = nullptr;
  for (const auto& mount : mounts) {  // of equal targets the later one is on top
    if (is_below(path, mount.target) && (!best || mount.target.size() >= best->target.size())) best = &mount;
  }
  if (!best) return Error(ENOENT).with("no mount holds {}", path);
  return *best;
}

Result<std::optional<Mount>> find_mounted_at(const std::string& target) {
  TRY(auto mounts, read_mounts());
  std::optional<Mount> found;
  for (auto& mount : mounts) {
    if (mount.target == target) found = std::move(mount);
  }
  return found;
}

}  // namespace polder
