// SPDX-License-Identifier: GPL-3.0-or-later
// What records say about the volume as a whole: kept as attributes of the brick's state directory, so that
// snapshots, restores and replicas of the brick carry them along.
#include "core-volume/layers/store/store.h"

namespace polder {

namespace {

constexpr std::size_t kNameMax = 200;  // an attribute's name has 255 bytes

Result<std::string> attribute(std::string_view kind, const std::string& name) {
  if (name.empty() || name.size() > kNameMax || name.find('\0') != std::string::npos) {
    return Error(EINVAL).with("{} '{}' of a volume: 1 to {} characters", kind, name, kNameMax);
  }
  return fmt::format("{}{}.{}", layout::kHidden, kind, name);
}

}  // namespace

Result<void> Store::apply_fact(std::string_view kind, const std::string& name,
                               const std::optional<std::string>& value) {
  TRY(const auto key, attribute(kind, name));
  if (value) {
    return disk_.set_xattr_at(root_.fd(), layout::kState, key, *value)
        .with("keep {} of brick {}", key, path_);
  }
  auto removed = disk_.remove_xattr_at(root_.fd(), layout::kState, key);
  if (removed.failed_with(ENODATA)) return {};
  return std::move(removed).with("drop {} of brick {}", key, path_);
}

Result<std::optional<std::string>> Store::fact(std::string_view kind, const std::string& name) {
  TRY(const auto key, attribute(kind, name));
  auto value = disk_.get_xattr_at(root_.fd(), layout::kState, key);
  if (value.failed_with(ENODATA)) return std::optional<std::string>();
  TRY(auto text, std::move(value).with("read {} of brick {}", key, path_));
  return std::optional(std::move(text));
}

Result<std::optional<std::string>> Store::applied(const std::string& session) {
  return fact("applied", session);
}
Result<std::optional<std::string>> Store::volume_fact(const std::string& key) {
  return fact("fact", key);
}

}  // namespace polder
