// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/cluster/units.h"

#include <fmt/chrono.h>

#include <array>
#include <cctype>
#include <charconv>
#include <cmath>
#include <ctime>

namespace polder {

namespace {

struct Unit {
  std::string_view name;
  std::uint64_t factor;
};

constexpr std::array kSizeUnits = {Unit{"", 1},
                                   Unit{"B", 1},
                                   Unit{"KiB", 1ull << 10},
                                   Unit{"MiB", 1ull << 20},
                                   Unit{"GiB", 1ull << 30},
                                   Unit{"TiB", 1ull << 40},
                                   Unit{"K", 1ull << 10},
                                   Unit{"M", 1ull << 20},
                                   Unit{"G", 1ull << 30},
                                   Unit{"T", 1ull << 40},
                                   Unit{"KB", 1'000},
                                   Unit{"MB", 1'000'000},
                                   Unit{"GB", 1'000'000'000},
                                   Unit{"TB", 1'000'000'000'000}};
constexpr std::array kTimeUnits = {Unit{"ms", 1'000'000}, Unit{"s", 1'000'000'000}, Unit{"m", 60'000'000'000},
                                   Unit{"h", 3'600'000'000'000}, Unit{"d", 86'400'000'000'000}};

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool same(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (std::tolower(static_cast<unsigned char>(a[i])) != std::tolower(static_cast<unsigned char>(b[i]))) {
      return false;
    }
  }
  return true;
}
void skip_spaces(std::string_view& text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
}

/// "12" or "1.5", taken off the front; scaled by `factor` of the unit that follows.
Result<double> take_number(std::string_view& text) {
  std::size_t length = 0;
  while (length < text.size() && (is_digit(text[length]) || text[length] == '.')) ++length;
  double value = 0;
  auto [end, failure] = std::from_chars(text.data(), text.data() + length, value, std::chars_format::fixed);
  if (failure != std::errc() || end != text.data() + length) return Error(EINVAL);
  text.remove_prefix(length);
  return value;
}
std::string_view take_word(std::string_view& text) {
  std::size_t length = 0;
  while (length < text.size() && std::isalpha(static_cast<unsigned char>(text[length]))) ++length;
  auto word = text.substr(0, length);
  text.remove_prefix(length);
  return word;
}
template <std::size_t n>
const Unit* find_unit(const std::array<Unit, n>& units, std::string_view name) {
  for (const auto& unit : units) {
    if (same(unit.name, name)) return &unit;
  }
  return nullptr;
}

Error bad_size(std::string_view text) {
  return Error(EINVAL).with("'{}' is not a size; write for example 64MiB or 4GiB", text);
}
Error bad_duration(std::string_view text) {
  return Error(EINVAL).with("'{}' is not a time; write for example 60s, 5m, 2h or 7d", text);
}

}  // namespace

Result<std::uint64_t> parse_size(std::string_view text) {
  auto rest = text;
  auto number = take_number(rest);
  if (!number) return bad_size(text);
  skip_spaces(rest);
  const auto* unit = find_unit(kSizeUnits, take_word(rest));
  if (!unit || !rest.empty()) return bad_size(text);
  auto bytes = *number * static_cast<double>(unit->factor);
  if (bytes >= 9.2e18) return Error(ERANGE).with("'{}' is too large", text);
  if (bytes != std::floor(bytes)) return bad_size(text);
  return static_cast<std::uint64_t>(bytes);
}

Result<std::chrono::nanoseconds> parse_duration(std::string_view text) {
  auto rest = text;
  double total_ns = 0;
  if (rest.empty()) return bad_duration(text);
  for (bool first = true; !rest.empty(); first = false) {
    auto number = take_number(rest);
    if (!number) return bad_duration(text);
    auto word = take_word(rest);
    if (word.empty() && (!first || !rest.empty())) return bad_duration(text);
    const auto* unit = find_unit(kTimeUnits, word.empty() ? "s" : word);
    if (!unit) return bad_duration(text);
    total_ns += *number * static_cast<double>(unit->factor);
  }
  if (total_ns >= 9.2e18) return Error(ERANGE).with("'{}' is too long", text);
  return std::chrono::nanoseconds(std::llround(total_ns));  // 1.001 s is a hair less than that in binary
}

std::string format_size(std::uint64_t bytes) {
  constexpr std::array names = {"TiB", "GiB", "MiB", "KiB"};
  for (std::size_t i = 0; i < names.size(); ++i) {
    auto factor = 1ull << (10 * (names.size() - i));
    if (bytes >= factor && bytes % factor == 0) return fmt::format("{}{}", bytes / factor, names[i]);
  }
  return fmt::format("{}", bytes);
}

std::string format_size_rounded(std::uint64_t bytes) {
  constexpr std::array names = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  auto value = static_cast<double>(bytes);
  std::size_t i = 0;
  while (value >= 1024 && i + 1 < names.size()) {
    value /= 1024;
    ++i;
  }
  return i == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", value, names[i]);
}

std::string format_duration(std::chrono::nanoseconds duration) {
  auto ns = static_cast<std::uint64_t>(duration.count());
  for (std::size_t i = kTimeUnits.size(); i-- > 0;) {
    const auto& unit = kTimeUnits[i];
    if (ns > 0 && ns % unit.factor == 0) return fmt::format("{}{}", ns / unit.factor, unit.name);
  }
  return ns == 0 ? "0s" : fmt::format("{:.3f}s", static_cast<double>(ns) / 1e9);
}

std::string format_time(std::uint64_t ns_since_epoch) {
  auto seconds = static_cast<std::time_t>(ns_since_epoch / 1'000'000'000);
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", utc);
}

}  // namespace polder
