// SPDX-License-Identifier: GPL-3.0-or-later
// polder volume status [VOL|all] [detail|clients]
#include <CLI/CLI.hpp>

#include "core-volume/cluster/units.h"
#include "tools/polder/cli.h"
#include "tools/polder/table.h"

namespace polder {

namespace {

struct StatusWords {
  std::string volume = "all";
  std::string what;
};

std::uint64_t number(const json::object& from, std::string_view name) {
  return json::number_field_or(from, name, 0).value_or(0);
}

std::string brick_table(const json::object& status) {
  Table table({"BRICK", "ONLINE", "PID", "AVAILABLE", "TOTAL", "CHANGES", "STABLE"});
  for (const auto& item : status.at("brick_status").as_array()) {
    const auto& brick = item.as_object();
    if (!brick.at("online").as_bool()) {
      table.add({shown(brick, "brick"), "no", "-", "-", "-", "-", "-"});
      continue;
    }
    table.add({shown(brick, "brick"), "yes", shown(brick, "pid"),
               format_size_rounded(number(brick, "available_bytes")),
               format_size_rounded(number(brick, "total_bytes")), shown(brick, "changelog_appended"),
               shown(brick, "changelog_stable")});
  }
  return table.text();
}

std::string detail_text(const json::object& status) {
  std::string out;
  for (const auto& item : status.at("brick_status").as_array()) {
    std::vector<std::pair<std::string, std::string>> lines;
    for (const auto& field : item.as_object())
      lines.emplace_back(field.key(), shown(item.as_object(), field.key()));
    out += facts(lines);
  }
  return out;
}

std::string clients_text(const json::object& status) {
  Table table({"SESSION", "CLIENT", "OWNER", "CONNECTED", "IN FLIGHT", "REQUESTS"});
  for (const auto& item : status.at("clients").as_array()) {
    const auto& client = item.as_object();
    table.add({shown(client, "session"), shown(client, "client"), shown(client, "owner"),
               shown(client, "connected"), shown(client, "requests"), shown(client, "requests_total")});
  }
  return table.text();
}

std::string status_text(const json::object& status, const std::string& what) {
  auto out =
      fmt::format("volume {}: {}{}, {} clients\n", shown(status, "name"), shown(status, "state"),
                  status.at("read_only").as_bool() ? ", read-only (" + shown(status, "role") + ")" : "",
                  status.at("clients").as_array().size());
  if (what == "clients") return out + clients_text(status);
  if (what == "detail") return out + detail_text(status);
  out += brick_table(status);
  for (const auto& item : status.at("brick_status").as_array()) {
    const auto& brick = item.as_object();
    if (brick.contains("failure"))
      out += fmt::format("degraded: {}: {}\n", shown(brick, "brick"), shown(brick, "failure"));
  }
  if (shown(status, "failure") != "-") out += "degraded: " + shown(status, "failure") + "\n";
  return out;
}

/// Started, but not all of it runs here.
bool is_degraded(const json::object& status) {
  if (shown(status, "state") != "Started") return false;
  return std::ranges::any_of(status.at("brick_status").as_array(),
                             [](const json::value& brick) { return !brick.at("online").as_bool(); });
}

Result<std::vector<std::string>> names_of(Cli& cli, const std::string& volume) {
  if (volume != "all") return std::vector{volume};
  TRY(auto volumes, cli.call("GET", "/v1/volumes"));
  std::vector<std::string> names;
  for (const auto& item : volumes.get_array()) names.push_back(shown(item.as_object(), "name"));
  return names;
}

int status(Cli& cli, const StatusWords& words) {
  auto names = names_of(cli, words.volume);
  if (!names) return cli.fail(names.error());
  json::array all;
  std::string text;
  bool degraded = false;
  for (const auto& name : *names) {
    auto path = volume_path(name, "/status");
    if (!path) return cli.fail(path.error());
    auto found = cli.call("GET", *path);
    if (!found) return cli.fail(found.error());
    text += (text.empty() ? "" : "\n") + status_text(found->get_object(), words.what);
    degraded = degraded || is_degraded(found->get_object());
    all.push_back(*found);
  }
  auto value = words.volume == "all" ? json::value(all) : all.front();
  cli.done(value, text.empty() ? "no volumes yet\nnext: polder volume create VOL NODE:/path/to/brick" : text);
  return degraded ? kDegraded : kDone;
}

}  // namespace

void add_volume_status_commands(Cli& cli) {
  auto& volume = cli.group(cli.app(), "volume", "Volumes");
  auto words = std::make_shared<StatusWords>();
  auto& command =
      cli.command(volume, "status", "[VOL|all] [detail|clients]: how a volume does",
                  "polder volume status data clients", [&cli, words] { return status(cli, *words); });
  command.add_option("VOL", words->volume, "Which volume (default: all)");
  command.add_option("what", words->what, "detail or clients")->check(CLI::IsMember({"detail", "clients"}));
}

}  // namespace polder
