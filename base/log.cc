// SPDX-License-Identifier: GPL-3.0-or-later
#include "base/log.h"

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <memory>

namespace polder::log {

namespace {

constexpr std::array<std::string_view, 4> kNames = {"debug", "info", "warning", "error"};

std::atomic<Level> least_level{Level::kInfo};

std::shared_ptr<spdlog::logger> make_logger(const std::string& program, spdlog::sink_ptr sink) {
  auto logger = std::make_shared<spdlog::logger>(program, std::move(sink));
  logger->set_level(spdlog::level::trace);  // the level is checked here, before anything is formatted
  logger->set_pattern("%Y-%m-%dT%H:%M:%S.%fZ %n[%P] %l: %v", spdlog::pattern_time_type::utc);
  logger->flush_on(spdlog::level::trace);  // the line before a crash is the one that is needed
  return logger;
}

std::shared_ptr<spdlog::logger> make_stderr_logger(const std::string& program) {
  return make_logger(program, std::make_shared<spdlog::sinks::stderr_sink_mt>());
}

/// Never destroyed: static destructors of others may still log.
std::shared_ptr<spdlog::logger>& logger() {
  static auto* instance = new std::shared_ptr<spdlog::logger>(make_stderr_logger("polder"));
  return *instance;
}

bool is_control(char c) {
  return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
}

/// Names come from users and the network: they must not be able to write lines of their own.
std::string escaped(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (is_control(c))
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    else
      out += c;
  }
  return out;
}

}  // namespace

void configure(std::string_view program, Level level, const std::string& file) {
  least_level = level;
  std::string name(program);
  logger() = make_stderr_logger(name);
  if (file.empty()) return;
  try {
    logger() = make_logger(name, std::make_shared<spdlog::sinks::basic_file_sink_mt>(file));
  } catch (const spdlog::spdlog_ex& failure) {
    error("cannot log to {} ({}); logging to standard error instead", file, failure.what());
  }
}

bool enabled(Level level) {
  return level >= least_level.load(std::memory_order_relaxed);
}

void write(Level level, std::string_view text) {
  if (!enabled(level)) return;
  constexpr spdlog::level::level_enum kLevels[] = {spdlog::level::debug, spdlog::level::info,
                                                   spdlog::level::warn, spdlog::level::err};
  auto spdlog_level = kLevels[static_cast<std::size_t>(level)];
  if (std::none_of(text.begin(), text.end(), is_control))
    logger()->log(spdlog_level, spdlog::string_view_t(text.data(), text.size()));
  else
    logger()->log(spdlog_level, escaped(text));
}

void fatal(std::string_view text) {
  write(Level::kError, fmt::format("bug, ending the process: {}", text));
  std::abort();
}

bool parse_level(std::string_view text, Level& out) {
  auto found = std::find(kNames.begin(), kNames.end(), text);
  if (found == kNames.end()) return false;
  out = static_cast<Level>(found - kNames.begin());
  return true;
}

}  // namespace polder::log
