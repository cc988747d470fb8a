// SPDX-License-Identifier: GPL-3.0-or-later
// Launcher: a program that becomes a daemon, but lets its caller wait for the news whether it came up.
#pragma once
#include <functional>
#include <string>

namespace polder {

/// The daemon's side of the news.
class Report {
 public:
  /// `fd`: the pipe to the waiting parent; -1: in the foreground, news goes to standard error.
  explicit Report(int fd) : fd_(fd) {}
  /// It works; from now on the daemon is on its own (no terminal, no standard streams).
  void ready();
  /// It does not, and the daemon is about to end. Returns `exit_status`.
  int failed(int exit_status, const std::string& sentence);

 private:
  int fd_;
};

/// Runs `daemon` in a process of its own session and returns 0 once it has reported ready(); else its exit
/// status, with its sentence on standard error. In the foreground: runs it here.
int launch(bool foreground, const std::function<int(Report&)>& daemon);

}  // namespace polder
