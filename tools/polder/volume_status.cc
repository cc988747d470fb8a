// SPDX-License-Identifier: GPL-3.0-or-later
// polder volume status [VOL|all [BRICK] [detail|clients|mem|fd|inode|callpool|locks|journal|tasks]]
#include <CLI/CLI.hpp>
#include <cctype>

#include "core-volume/cluster/units.h"
#include "tools/polder/cli.h"
#include "tools/polder/table.h"

namespace polder {

namespace {

constexpr std::string_view kViews[] = {"detail", "clients",  "mem",   "fd",      "inode",
                                       "iobuf",  "callpool", "locks", "journal", "tasks"};

struct StatusWords {
  std::string volume = "all";
  std::vector<std::string> rest;
};

/// What `rest` says.
struct View {
  std::string brick;
  std::string what;
  bool is_section() const {
    return !what.empty() && what != "detail" && what != "clients" && what != "tasks";
  }
};

bool is_view(const std::string& word) {
  return std::ranges::find(kViews, word) != std::end(kViews);
}

/// Empty: understood.
std::string parse_view(const std::vector<std::string>& rest, View& view) {
  for (const auto& word : rest) {
    if (is_view(word) && view.what.empty()) {
      view.what = word;
    } else if (word.find(":/") != std::string::npos && view.brick.empty() && view.what.empty()) {
      view.brick = word;
    } else {
      return fmt::format(
          "'{}' is not understood; the form is: VOL [NODE:/path] "
          "[detail|clients|mem|fd|inode|iobuf|callpool|locks|journal|tasks]",
          word);
    }
  }
  return "";
}

std::uint64_t number(const json::object& from, std::string_view name) {
  return json::number_field_or(from, name, 0).value_or(0);
}

/// "N/A" for what does not apply, as GlusterFS writes.
std::string or_na(const json::object& from, std::string_view name) {
  auto text = shown(from, name);
  return text == "-" ? "N/A" : text;
}

std::string size_or_na(const json::object& from, std::string_view name) {
  return from.contains(name) ? format_size_rounded(number(from, name)) : "N/A";
}

std::string brick_table(const json::object& status) {
  Table table({"BRICK", "PORT", "ONLINE", "PID", "AVAILABLE", "TOTAL", "CHANGES", "STABLE"});
  for (const auto& item : status.at("brick_status").as_array()) {
    const auto& brick = item.as_object();
    if (!brick.at("online").as_bool()) {
      table.add({shown(brick, "brick"), "N/A", "N", "N/A", "N/A", "N/A", "N/A", "N/A"});
      continue;
    }
    table.add({shown(brick, "brick"), or_na(brick, "port"), "Y", shown(brick, "pid"),
               size_or_na(brick, "available_bytes"), size_or_na(brick, "total_bytes"),
               or_na(brick, "changelog_appended"), or_na(brick, "changelog_stable")});
  }
  return table.text();
}

/// One process and one port for all bricks of a node: GlusterFS's brick multiplexing, always on.
std::string multiplexing_text(const json::object& status) {
  for (const auto& item : status.at("brick_status").as_array()) {
    const auto& brick = item.as_object();
    if (!brick.contains("bricks_in_process")) continue;
    return fmt::format("brick multiplexing: on; this node's {} running bricks share pid {} and port {}\n",
                       shown(brick, "bricks_in_process"), shown(brick, "pid"), or_na(brick, "port"));
  }
  return "";
}

std::string inodes_or_na(const json::object& brick, std::string_view name) {
  return number(brick, "inodes") == 0 ? "N/A" : shown(brick, name);  // btrfs makes them as needed
}

std::string detail_text(const json::object& status) {
  std::string out;
  for (const auto& item : status.at("brick_status").as_array()) {
    const auto& brick = item.as_object();
    out += facts(
        {{"Brick", shown(brick, "brick")},
         {"Set", or_na(brick, "set")},
         {"TCP Port", or_na(brick, "port")},
         {"Online", brick.at("online").as_bool() ? "Y" : "N"},
         {"Pid", or_na(brick, "pid")},
         {"Multiplexed", brick.contains("bricks_in_process")
                             ? "yes, with " + shown(brick, "bricks_in_process") + " bricks in the process"
                             : "N/A"},
         {"Started", or_na(brick, "started")},
         {"Uptime", brick.contains("uptime_s")
                        ? format_duration(std::chrono::seconds(number(brick, "uptime_s")))
                        : "N/A"},
         {"File System", or_na(brick, "file_system")},
         {"Device", or_na(brick, "device")},
         {"Mount Point", or_na(brick, "mount_point")},
         {"Mount Options", or_na(brick, "mount_options")},
         {"Inode Size", or_na(brick, "inode_size")},
         {"Disk Space Free", size_or_na(brick, "available_bytes")},
         {"Total Disk Space", size_or_na(brick, "total_bytes")},
         {"Inode Count", inodes_or_na(brick, "inodes")},
         {"Free Inodes", inodes_or_na(brick, "inodes_free")},
         {"Changelog Appended", or_na(brick, "changelog_appended")},
         {"Changelog Stable", or_na(brick, "changelog_stable")},
         {"Changelog Applied", or_na(brick, "changelog_applied")},
         {"Changelog Size", brick.contains("changelog_bytes")
                                ? fmt::format("{} in {} segments", size_or_na(brick, "changelog_bytes"),
                                              shown(brick, "changelog_segments"))
                                : "N/A"},
         {"Changes Held", or_na(brick, "changes_held")},
         {"Open Handles", or_na(brick, "open_handles")},
         {"Locks Held", or_na(brick, "locks_held")},
         {"Locks Waiting", or_na(brick, "locks_waiting")}});
    if (brick.contains("failure")) out += "degraded: " + shown(brick, "failure") + "\n";
    out += "\n";
  }
  if (!out.empty()) out.pop_back();
  return out;
}

std::string clients_text(const json::object& status) {
  std::string out;
  for (const auto& item : status.at("clients").as_array()) {
    const auto& client = item.as_object();
    out += facts({{"Client", shown(client, "client")},
                  {"Session", shown(client, "session")},
                  {"Owner", shown(client, "owner")},
                  {"Address", or_na(client, "address")},
                  {"Role", or_na(client, "role")},
                  {"Version", or_na(client, "version")},
                  {"Connected", shown(client, "connected")},
                  {"Connected Since", or_na(client, "connected_since")},
                  {"Bytes Read", size_or_na(client, "bytes_read")},
                  {"Bytes Written", size_or_na(client, "bytes_written")},
                  {"Operations", shown(client, "requests_total")},
                  {"In Flight", shown(client, "requests")}});
    out += "\n";
  }
  if (!out.empty()) out.pop_back();
  return out.empty() ? "no clients\n" : out;
}

std::string scalar_text(const json::value& value) {
  if (value.is_double()) return fmt::format("{:.3f}", value.get_double());
  return value.is_string() ? std::string(value.get_string()) : json::text(value);
}

std::vector<std::string> upper(std::vector<std::string> names) {
  for (auto& name : names) {
    for (char& c : name) c = c == '_' ? ' ' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  return names;
}

std::string cell_text(const json::object& row, const std::string& name) {
  const auto* value = row.if_contains(name);
  return value != nullptr && value->is_double() ? scalar_text(*value) : shown(row, name);
}

/// A section as the daemon has it: own values as lines, each list as a table.
std::string section_text(const json::object& section) {
  std::vector<std::pair<std::string, std::string>> lines;
  std::string lists;
  for (const auto& field : section) {
    const auto& value = field.value();
    if (value.is_object()) {
      lists += section_text(value.get_object());
    } else if (!value.is_array()) {
      lines.emplace_back(std::string(field.key()), scalar_text(value));
    } else if (!value.get_array().empty()) {
      std::vector<std::string> headings;
      for (const auto& column : value.get_array().front().as_object()) headings.emplace_back(column.key());
      const bool nested = std::ranges::any_of(value.get_array().front().as_object(),
                                              [](const auto& one) { return one.value().is_structured(); });
      if (nested) {
        for (const auto& item : value.get_array()) lists += section_text(item.as_object());
        continue;
      }
      Table table(upper(headings));
      for (const auto& item : value.get_array()) {
        std::vector<std::string> cells;
        for (const auto& heading : headings) cells.push_back(cell_text(item.as_object(), heading));
        table.add(std::move(cells));
      }
      lists += table.text();
    }
  }
  return (lines.empty() ? "" : facts(lines)) + lists;
}

std::string status_text(const json::object& status, const View& view) {
  auto out =
      fmt::format("volume {}: {}{}, {} clients\n", shown(status, "name"), shown(status, "state"),
                  status.at("read_only").as_bool() ? ", read-only (" + shown(status, "role") + ")" : "",
                  status.at("clients").as_array().size());
  if (view.what == "clients") return out + clients_text(status);
  if (view.what == "detail") return out + detail_text(status);
  if (view.what == "tasks") return out + "There are no active volume tasks\n";
  if (view.is_section()) {
    const auto* section = status.if_contains("section");
    return out + (section == nullptr ? "N/A: the volume does not run\n" : section_text(section->as_object()));
  }
  out += brick_table(status) + multiplexing_text(status);
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
  return std::ranges::any_of(status.at("brick_status").as_array(), [](const json::value& brick) {
    return !brick.at("online").as_bool() || brick.as_object().contains("failure");
  });
}

void keep_brick(json::array& bricks, const std::string& brick) {
  json::array kept;
  for (const auto& item : bricks) {
    if (shown(item.as_object(), "brick") == brick) kept.push_back(item);
  }
  bricks = std::move(kept);
}

Result<json::value> status_of(Cli& cli, const std::string& volume, const View& view) {
  TRY(auto path, volume_path(volume, view.is_section() ? "/status?section=" + view.what : "/status"));
  TRY(auto found, cli.call("GET", path));
  if (view.brick.empty()) return found;
  auto& status = found.get_object();
  keep_brick(status.at("brick_status").as_array(), view.brick);
  if (status.at("brick_status").as_array().empty()) {
    return Error(ENOENT).with("volume '{}' has no brick {}; type: polder volume info {}", volume, view.brick,
                              volume);
  }
  auto* section = status.if_contains("section");
  if (section != nullptr && section->as_object().contains("bricks")) {
    keep_brick(section->as_object().at("bricks").as_array(), view.brick);
  }
  return found;
}

Result<std::vector<std::string>> names_of(Cli& cli, const std::string& volume) {
  if (volume != "all") return std::vector{volume};
  TRY(auto volumes, cli.call("GET", "/v1/volumes"));
  std::vector<std::string> names;
  for (const auto& item : volumes.get_array()) names.push_back(shown(item.as_object(), "name"));
  return names;
}

int status(Cli& cli, const StatusWords& words) {
  View view;
  if (auto wrong = parse_view(words.rest, view); !wrong.empty()) {
    cli.err() << "polder: " << wrong << "\n";
    return kUsage;
  }
  auto names = names_of(cli, words.volume);
  if (!names) return cli.fail(names.error());
  json::array all;
  std::string text;
  bool degraded = false;
  for (const auto& name : *names) {
    auto found = status_of(cli, name, view);
    if (!found) return cli.fail(found.error());
    text += (text.empty() ? "" : "\n") + status_text(found->get_object(), view);
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
      cli.command(volume, "status",
                  "[VOL|all [NODE:/path] [detail|clients|mem|fd|inode|iobuf|callpool|locks|journal|tasks]]: "
                  "how a volume does",
                  "polder volume status data detail", [&cli, words] { return status(cli, *words); });
  command.add_option("VOL", words->volume, "Which volume (default: all)");
  command.add_option("what", words->rest, "A brick, and what to show of it");
  std::vector<std::string> suggested(std::begin(kViews), std::end(kViews));
  suggested.emplace_back("all");
  cli.suggest(command, std::move(suggested));
}

}  // namespace polder
