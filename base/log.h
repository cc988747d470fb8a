// SPDX-License-Identifier: GPL-3.0-or-later
// Logging: one line per event, to standard error or a file, spdlog behind it (not in this header).
#pragma once
#include <fmt/core.h>

#include <string>
#include <string_view>
#include <utility>

namespace polder::log {

enum class Level { kDebug, kInfo, kWarning, kError };

/// `file` empty: standard error. `program` stands in each line.
void configure(std::string_view program, Level level, const std::string& file = {});
bool enabled(Level level);
/// Control characters in `text` are escaped: one event stays one line.
void write(Level level, std::string_view text);
/// For broken promises inside the program: logs, then aborts.
[[noreturn]] void fatal(std::string_view text);
/// "debug", "info", "warning", "error".
bool parse_level(std::string_view text, Level& out);

template <typename... Args>
void debug(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::kDebug)) write(Level::kDebug, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void info(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::kInfo, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void warning(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::kWarning, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void error(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::kError, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace polder::log
