// SPDX-License-Identifier: GPL-3.0-or-later
// Cli: what the commands of `polder` share. A command parses its words (CLI11), calls the admin API, prints,
// and returns the exit status.
#pragma once
#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <functional>
#include <iosfwd>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "core-volume/cluster/json_fields.h"

namespace polder {

enum ExitStatus { kDone = 0, kFailed = 1, kUsage = 2, kDegraded = 3, kUnreachable = 4 };

struct GlobalOptions {
  std::string cluster;
  std::string socket;
  std::string mode;
  bool json = false;
  bool yes = false;
  bool dry_run = false;

  bool script() const { return mode == "script"; }
};

class Cli {
 public:
  /// `api` replaces the daemon, in tests.
  using Api = std::function<Result<json::value>(const std::string& method, const std::string& path,
                                                const json::object& body,
                                                const std::function<void(const json::value&)>& on_progress)>;
  Cli(std::ostream& out, std::ostream& err, Api api = nullptr);

  /// Runs one command line without the program's name.
  int run(std::vector<std::string> words);

  // For commands.

  CLI::App& app() { return app_; }
  /// The group `name` below `parent` (`polder volume …`), made on first use.
  CLI::App& group(CLI::App& parent, const std::string& name, const std::string& help);
  /// A command; `action` runs after everything was parsed. `example` is shown by --help.
  CLI::App& command(CLI::App& parent, const std::string& name, const std::string& help,
                    const std::string& example, std::function<int()> action);

  /// Plain words that a command takes, for the shell's completion.
  void suggest(const CLI::App& command, std::vector<std::string> words) {
    suggestions_[&command] = std::move(words);
  }
  const std::vector<std::string>& suggestions(const CLI::App& command) const {
    static const std::vector<std::string> none;
    auto found = suggestions_.find(&command);
    return found == suggestions_.end() ? none : found->second;
  }

  const GlobalOptions& options() const { return options_; }
  Result<json::value> call(const std::string& method, const std::string& path, const json::object& body = {},
                           const std::function<void(const json::value&)>& on_progress = nullptr);
  /// Prints "polder: reason" and returns the status for it: 4 when no daemon was reached, else 1.
  int fail(const Error& error);
  /// With --json: the value, and nothing else.
  int done(const json::value& value, const std::string& text);
  std::ostream& out() { return out_; }
  std::ostream& err() { return err_; }

  /// Before something is destroyed: prints `effects`, then asks for `name`. An error says why not to go on;
  /// with
  /// --dry-run that is ECANCELED.
  Result<void> confirm(const std::string& name, const std::vector<std::string>& effects);

  /// The daemon's admin socket, as chosen by --socket, POLDER_SOCKET, --cluster, or the only one that runs.
  Result<std::string> socket_path() const;

 private:
  void add_global_options();
  Result<json::value> call_daemon(const std::string& method, const std::string& path,
                                  const json::object& body,
                                  const std::function<void(const json::value&)>& on_progress);
  Error explain_unreachable(const Error& error, const std::string& socket) const;

  std::ostream& out_;
  std::ostream& err_;
  Api api_;
  CLI::App app_;
  GlobalOptions options_;
  std::function<int()> chosen_;
  std::map<const CLI::App*, std::vector<std::string>> suggestions_;
  bool unreachable_ = false;
};

/// A field for people: strings as they are, numbers as text, missing ones "-".
std::string shown(const json::object& from, std::string_view name);
/// A volume's name that may stand in a path of the API. EINVAL.
Result<std::string> volume_path(const std::string& volume, std::string_view rest = "");

// Every subject.
void add_commands(Cli& cli);
void add_cluster_commands(Cli& cli);
void add_client_commands(Cli& cli);
void add_volume_commands(Cli& cli);
void add_volume_status_commands(Cli& cli);
void add_usage_commands(Cli& cli);
void add_option_commands(Cli& cli);
void add_georep_commands(Cli& cli);
void add_snapshot_commands(Cli& cli);
void add_brick_commands(Cli& cli);
void add_add_brick_commands(Cli& cli);
void add_changelog_commands(Cli& cli);
void add_doctor_command(Cli& cli);
void add_completion_command(Cli& cli);

}  // namespace polder
