// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/cluster/volume_options.h"

#include <array>
#include <charconv>

#include "base/log.h"
#include "core-volume/cluster/nearest.h"
#include "core-volume/cluster/units.h"

namespace polder {

namespace {

constexpr std::uint64_t kMiB = 1ull << 20;
constexpr std::uint64_t kSecond_ns = 1'000'000'000;
constexpr std::uint64_t kMillisecond_ns = 1'000'000;

constexpr std::array kOptions = {
    VolumeOption{"brick.inline-operations", OptionType::kBool, "on", 0, 0, "",
                 "short operations run on the daemon's loop thread while they are short; off: on its workers",
                 true},
    VolumeOption{"changelog.inline-data", OptionType::kSize, "4KiB", 0, 64ull << 10, "",
                 "writes up to this size travel in the changelog itself; 0: none", true},
    VolumeOption{"changelog.retention-size", OptionType::kSize, "4GiB", 16 * kMiB, 1ull << 50, "",
                 "cap over all segments of a brick's changelog; past it the slowest consumer must rescan",
                 true},
    VolumeOption{"changelog.segment-size", OptionType::kSize, "64MiB", 64ull << 10, 1024 * kMiB, "",
                 "a segment of the changelog is sealed when it is larger", true},
    VolumeOption{"distribute.spread", OptionType::kEnum, "auto", 0, 0, "auto|dirs|files",
                 "which new files leave the set of their directory: none (dirs), all (files), those of large "
                 "directories (auto)",
                 false},
    VolumeOption{"diagnostics.profile", OptionType::kBool, "off", 0, 0, "",
                 "operations are shown by 'volume profile info'; what 'volume profile start' sets", false},
    VolumeOption{"network.session-timeout", OptionType::kTime, "60s", 5 * kSecond_ns, 3600 * kSecond_ns, "",
                 "how long a client may stay away before its locks and open files are given up", false},
};

Result<std::string> normalize_bool(std::string_view value) {
  for (auto yes : {"on", "true", "yes", "enable", "1"}) {
    if (value == yes) return "on";
  }
  for (auto no : {"off", "false", "no", "disable", "0"}) {
    if (value == no) return "off";
  }
  return Error(EINVAL).with("'{}' is neither on nor off", value);
}

Result<std::string> normalize_choice(const VolumeOption& option, std::string_view value) {
  for (auto rest = option.choices; !rest.empty();) {
    auto choice = rest.substr(0, rest.find('|'));
    if (value == choice) return std::string(value);
    rest.remove_prefix(std::min(rest.size(), choice.size() + 1));
  }
  return Error(EINVAL).with("'{}' is none of {}", value, option.choices);
}

std::string show(const VolumeOption& option, std::uint64_t number) {
  if (option.type == OptionType::kSize) return format_size(number);
  if (option.type == OptionType::kTime) return format_duration(std::chrono::nanoseconds(number));
  return std::to_string(number);
}

Result<std::uint64_t> parse_number(const VolumeOption& option, std::string_view value) {
  if (option.type == OptionType::kSize) return parse_size(value);
  if (option.type == OptionType::kTime) {
    TRY(auto duration, parse_duration(value));
    // Whole milliseconds: what format_duration() says exactly, so that a value has one text.
    return static_cast<std::uint64_t>(std::chrono::round<std::chrono::milliseconds>(duration).count()) *
           kMillisecond_ns;
  }
  std::uint64_t number = 0;
  auto [end, failure] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (failure != std::errc() || end != value.data() + value.size()) {
    return Error(EINVAL).with("'{}' is not a whole number", value);
  }
  return number;
}

Result<std::string> normalize(const VolumeOption& option, std::string_view value) {
  if (option.type == OptionType::kBool) return normalize_bool(value);
  if (option.type == OptionType::kEnum) return normalize_choice(option, value);
  TRY(auto number, parse_number(option, value));
  if (number < option.minimum || number > option.maximum) {
    return Error(ERANGE).with("{} is outside of {} to {}", value, show(option, option.minimum),
                              show(option, option.maximum));
  }
  return show(option, number);
}

const VolumeOption& known(std::string_view name) {
  auto option = find_volume_option(name);
  if (!option) log::fatal(option.error().message());
  return **option;
}

std::uint64_t number_of(const OptionMap& set, std::string_view name) {
  const auto& option = known(name);
  auto number = parse_number(option, option_text(set, name));
  // Only normalized values are stored; a store edited by hand gets the default.
  return number ? *number : parse_number(option, option.default_value).value();
}

}  // namespace

std::span<const VolumeOption> volume_options() {
  return kOptions;
}

Result<const VolumeOption*> find_volume_option(std::string_view name) {
  std::vector<std::string> names;
  for (const auto& option : kOptions) {
    if (option.name == name) return &option;
    names.emplace_back(option.name);
  }
  auto nearest = nearest_name(name, names);
  if (nearest.empty()) {
    return Error(EINVAL).with("there is no option '{}'; 'polder volume set help' lists all", name);
  }
  return Error(EINVAL).with("there is no option '{}'; did you mean {}?", name, nearest);
}

Result<std::string> normalize_option(std::string_view name, std::string_view value) {
  TRY(const auto* option, find_volume_option(name));
  return normalize(*option, value).with("{}", name);
}

std::string option_text(const OptionMap& set, std::string_view name) {
  auto found = set.find(std::string(name));
  return found == set.end() ? std::string(known(name).default_value) : found->second;
}

bool option_bool(const OptionMap& set, std::string_view name) {
  return option_text(set, name) == "on";
}

std::uint64_t option_size(const OptionMap& set, std::string_view name) {
  return number_of(set, name);
}

std::chrono::nanoseconds option_time(const OptionMap& set, std::string_view name) {
  return std::chrono::nanoseconds(number_of(set, name));
}

}  // namespace polder
