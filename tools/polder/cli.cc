// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/polder/cli.h"

#include <fmt/ranges.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <boost/asio/io_context.hpp>
#include <filesystem>
#include <iostream>

#include "base/concurrency.h"
#include "base/coro.h"
#include "base/transport.h"
#include "core-volume/admin/admin_client.h"
#include "core-volume/cluster/records.h"

namespace polder {

namespace {

constexpr const char* kRunRoot = "/run/polder";

std::vector<std::string> running_clusters() {
  std::vector<std::string> names;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(kRunRoot, ignored)) {
    if (std::filesystem::is_socket(entry.path() / "admin.sock", ignored))
      names.push_back(entry.path().filename());
  }
  std::ranges::sort(names);
  return names;
}

std::string socket_of(const std::string& cluster) {
  return fmt::format("{}/{}/admin.sock", kRunRoot, cluster);
}

/// What was wrong, and how the command that was meant is used.
std::string usage_help(const CLI::App& app, const std::string& what) {
  const CLI::App* meant = &app;
  std::string words = "polder";
  while (!meant->get_subcommands().empty()) {
    meant = meant->get_subcommands().front();
    words += " " + meant->get_name();
  }
  auto example = meant->get_footer();
  return fmt::format("polder: {}\n{}{}See: {} --help\n", what, example, example.empty() ? "" : "\n", words);
}

}  // namespace

Cli::Cli(std::ostream& out, std::ostream& err, Api api)
    : out_(out), err_(err), api_(std::move(api)), app_("Polder: distributed volumes", "polder") {
  app_.require_subcommand(1);
  app_.fallthrough();
  app_.set_version_flag("--version", std::string("polder ") + POLDER_VERSION);
  app_.set_help_all_flag("--help-all", "Help of all commands");
  add_global_options();
  add_commands(*this);
}

void Cli::add_global_options() {
  app_.add_option("--cluster", options_.cluster, "Which cluster of this machine");
  app_.add_option("--socket", options_.socket, "The daemon's admin.sock (or POLDER_SOCKET)");
  app_.add_option("--mode", options_.mode, "script: never ask")
      ->check(CLI::IsMember({"script", "interactive"}));
  app_.add_flag("--json", options_.json, "Print JSON");
  app_.add_flag("-y,--yes", options_.yes, "Do not ask");
  app_.add_flag("--dry-run", options_.dry_run, "Say what would be destroyed, and stop");
}

CLI::App& Cli::group(CLI::App& parent, const std::string& name, const std::string& help) {
  for (auto* existing :
       parent.get_subcommands([&](const CLI::App* sub) { return sub->get_name() == name; })) {
    return *existing;
  }
  auto& made = *parent.add_subcommand(name, help);
  made.require_subcommand(1);
  made.fallthrough();
  return made;
}

CLI::App& Cli::command(CLI::App& parent, const std::string& name, const std::string& help,
                       const std::string& example, std::function<int()> action) {
  auto& made = *parent.add_subcommand(name, help);
  made.fallthrough();
  made.footer("Example: " + example);
  made.callback([this, action = std::move(action)] { chosen_ = action; });
  return made;
}

int Cli::run(std::vector<std::string> words) {
  std::ranges::reverse(words);  // CLI11 takes them from the back
  try {
    app_.parse(words);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app_.exit(error, out_, err_), kDone;
    err_ << usage_help(app_, error.what());
    return kUsage;
  }
  return chosen_ ? chosen_() : kUsage;
}

Result<std::string> Cli::socket_path() const {
  if (!options_.socket.empty()) return options_.socket;
  if (!options_.cluster.empty()) {
    TRY(check_name("cluster name", options_.cluster));
    return socket_of(options_.cluster);
  }
  if (const char* from_environment = ::getenv("POLDER_SOCKET"); from_environment && *from_environment) {
    return std::string(from_environment);
  }
  auto names = running_clusters();
  if (names.size() == 1) return socket_of(names.front());
  if (names.empty() || std::ranges::count(names, "default") > 0) return socket_of("default");
  return Error(EINVAL).with("several clusters run on this machine ({}); say --cluster NAME",
                            fmt::join(names, ", "));
}

Result<json::value> Cli::call(const std::string& method, const std::string& path, const json::object& body,
                              const std::function<void(const json::value&)>& on_progress) {
  if (api_) return api_(method, path, body, on_progress);
  return call_daemon(method, path, body, on_progress);
}

Result<json::value> Cli::call_daemon(const std::string& method, const std::string& path,
                                     const json::object& body,
                                     const std::function<void(const json::value&)>& on_progress) {
  TRY(auto socket, socket_path());
  // A relative path would be refused by the transport's text form, not by the kernel.
  auto transport = make_socket_transport();
  asio::io_context context(1);
  AdminClient client(*transport, Endpoint::unix_socket(socket));
  Result<json::value> answer = Error(ECANCELED);
  auto work = [](AdminClient& client, const std::string& method, const std::string& path,
                 const json::object& body, const std::function<void(const json::value&)>& on_progress,
                 Result<json::value>& answer) -> Task<void> {
    answer = co_await client.call(method, path, body, on_progress);
  };
  TaskGroup tasks("root");
  tasks.spawn(context.get_executor(), work(client, method, path, body, on_progress, answer));
  context.run();
  if (answer || client.connected()) return answer;
  unreachable_ = true;
  return explain_unreachable(answer.error(), socket);
}

Error Cli::explain_unreachable(const Error& error, const std::string& socket) const {
  if (error.is(EACCES) || error.is(EPERM))
    return Error(EACCES).with("{}: only root may administer; use sudo", socket);
  auto unit = options_.cluster.empty() || options_.cluster == "default" ? std::string("polderd")
                                                                        : "polderd@" + options_.cluster;
  if (error.is(ENOENT) || error.is(ECONNREFUSED)) {
    return Error(error.code()).with("polderd is not running: systemctl start {} ({})", unit, socket);
  }
  return Error(error.code()).with("{}", socket);
}

int Cli::fail(const Error& error) {
  if (options_.json) {
    err_ << json::text(json::object{{"error", error.message()}}) << "\n";
  } else {
    // What comes from the daemon is a whole sentence already.
    auto context = std::string(error.context());
    err_ << "polder: " << (context.empty() ? error.message() : context) << "\n";
  }
  return unreachable_ ? kUnreachable : kFailed;
}

int Cli::done(const json::value& value, const std::string& text) {
  if (options_.json) {
    out_ << json::text(value) << "\n";
  } else {
    out_ << text;
    if (!text.empty() && text.back() != '\n') out_ << "\n";
  }
  return kDone;
}

Result<void> Cli::confirm(const std::string& name, const std::vector<std::string>& effects) {
  auto& to = options_.json ? err_ : out_;
  if (!options_.yes || options_.dry_run) {
    for (const auto& effect : effects) to << effect << "\n";
  }
  if (options_.dry_run) return Error(ECANCELED).with("nothing was done (--dry-run)");
  if (options_.yes) return {};
  if (options_.script() || ::isatty(STDIN_FILENO) == 0) {
    return Error(EPERM).with("this destroys something and nobody can be asked; add --yes if that is meant");
  }
  to << "Type '" << name << "' to go on: " << std::flush;
  std::string typed;
  std::getline(std::cin, typed);
  if (typed == name) return {};
  return Error(ECANCELED).with("nothing was done: '{}' is not '{}'", typed, name);
}

std::string shown(const json::object& from, std::string_view name) {
  auto found = from.find(name);
  if (found == from.end() || found->value().is_null()) return "-";
  const auto& value = found->value();
  if (value.is_string()) return value.get_string().empty() ? "-" : std::string(value.get_string());
  if (value.is_bool()) return value.get_bool() ? "yes" : "no";
  return json::text(value);
}

Result<std::string> volume_path(const std::string& volume, std::string_view rest) {
  TRY(check_name("volume name", volume));
  return fmt::format("/v1/volumes/{}{}", volume, rest);
}

}  // namespace polder
