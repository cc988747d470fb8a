// SPDX-License-Identifier: GPL-3.0-or-later
// Error: what every fallible call returns instead of throwing. An errno that callers branch on, whether
// the change may have happened all the same, and context for the person who reads it.
#pragma once
#include <fmt/core.h>

#include <cerrno>
#include <memory>
#include <string>
#include <utility>

namespace polder {

/// Cheap while nobody adds context (no allocation): ENOENT is ordinary traffic.
class Error {
 public:
  explicit Error(int code) : code_(code) {}

  int code() const { return code_; }
  bool is(int code) const { return code_ == code; }

  /// True when the outcome is unknown: a connection was lost after the request left. A caller that retries
  /// must do it with the same (session, sequence).
  bool maybe_applied() const { return maybe_applied_; }
  Error set_maybe_applied() && {
    maybe_applied_ = true;
    return std::move(*this);
  }

  /// Puts context before what is there: Error(ENOSPC).with("create {}", name) reads
  /// "create NAME: No space left on device".
  template <typename... Args>
  Error with(fmt::format_string<Args...> format, Args&&... args) && {
    add_context(fmt::format(format, std::forward<Args>(args)...));
    return std::move(*this);
  }

  /// Context without the errno text; empty when nobody added any.
  std::string_view context() const { return context_ ? std::string_view(*context_) : std::string_view(); }
  /// The whole sentence: context, then the system's text of the errno.
  std::string message() const;

 private:
  void add_context(std::string text);

  int code_;
  bool maybe_applied_ = false;
  std::shared_ptr<const std::string> context_;
};

}  // namespace polder
