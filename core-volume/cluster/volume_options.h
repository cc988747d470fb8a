// SPDX-License-Identifier: GPL-3.0-or-later
// The options of volumes: one table, which parsing, help and the effective values come from. An option stands
// here only when it has an effect.
#pragma once
#include <chrono>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace polder {

enum class OptionType { kBool, kSize, kTime, kInteger, kEnum };

struct VolumeOption {
  std::string_view name;
  OptionType type;
  std::string_view default_value;
  std::uint64_t minimum;  // bytes, nanoseconds or a number
  std::uint64_t maximum;
  std::string_view choices;  // kEnum: separated by '|'
  std::string_view help;
  bool needs_restart;  // takes effect at the volume's next start
};

std::span<const VolumeOption> volume_options();
/// EINVAL names the nearest option.
Result<const VolumeOption*> find_volume_option(std::string_view name);
/// The value in its one canonical text ("64MiB", "60s", "on"). EINVAL, ERANGE say what is allowed.
Result<std::string> normalize_option(std::string_view name, std::string_view value);

using OptionMap = std::map<std::string, std::string>;
/// What is set, or the default. The name must exist.
std::string option_text(const OptionMap& set, std::string_view name);
bool option_bool(const OptionMap& set, std::string_view name);
std::uint64_t option_size(const OptionMap& set, std::string_view name);
std::chrono::nanoseconds option_time(const OptionMap& set, std::string_view name);

}  // namespace polder
