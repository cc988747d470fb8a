// SPDX-License-Identifier: GPL-3.0-or-later
// polder volume top|profile|statedump: GlusterFS's words for what a volume is busy with.
#include <CLI/CLI.hpp>
#include <cctype>
#include <charconv>
#include <ostream>

#include "core-volume/cluster/units.h"
#include "tools/polder/cli.h"
#include "tools/polder/table.h"

namespace polder {

namespace {

struct UsageWords {
  std::string volume;
  std::vector<std::string> rest;
};

int wrong(Cli& cli, const std::string& sentence) {
  cli.err() << "polder: " << sentence << "\n";
  return kUsage;
}

double real(const json::object& from, std::string_view name) {
  const auto* value = from.if_contains(name);
  return value == nullptr || !value->is_number() ? 0 : value->to_number<double>();
}

/// For a query: bricks have '/' and ':' in their names, and may have anything.
std::string percent_encoded(std::string_view text) {
  std::string out;
  for (char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = std::isalnum(byte) != 0 || c == '-' || c == '_' || c == '.' || c == '/' || c == ':';
    out += plain ? std::string(1, c) : fmt::format("%{:02X}", byte);
  }
  return out;
}

// ---- top

constexpr const char* kTopForm =
    "VOL open|read|write|opendir|readdir|read-perf|write-perf|clear [brick NODE:/path] [list-cnt N]";

/// The query behind "/top?"; EINVAL for other words.
Result<std::string> top_query(const std::vector<std::string>& words) {
  std::string query = "what=" + percent_encoded(words.front());
  for (std::size_t i = 1; i + 1 < words.size(); i += 2) {
    const auto& value = words[i + 1];
    if (words[i] == "brick") {
      query += "&brick=" + percent_encoded(value);
    } else if (words[i] == "list-cnt") {
      int number = 0;
      auto [end, failure] = std::from_chars(value.data(), value.data() + value.size(), number);
      if (failure != std::errc() || end != value.data() + value.size() || number < 1 || number > 100) {
        return Error(EINVAL).with("list-cnt {}: a number from 1 to 100", value);
      }
      query += "&count=" + value;
    } else if (words[i] == "bs" || words[i] == "count") {
      return Error(EINVAL).with(
          "'{}' is not needed: Polder shows what clients measured, it writes no test files", words[i]);
    } else {
      return Error(EINVAL).with("'{}' is not understood; the form is: {}", words[i], kTopForm);
    }
  }
  if (words.size() % 2 == 0)
    return Error(EINVAL).with("'{}' needs a value; the form is: {}", words.back(), kTopForm);
  return query;
}

std::string name_of(const json::object& file) {
  const auto path = shown(file, "path");
  return path == "-" ? "<gfid:" + shown(file, "gfid") + ">" : path;
}

std::string top_text(const json::object& answer) {
  const auto what = shown(answer, "what");
  const bool perf = what.ends_with("-perf");
  const bool moves = what == "read" || what == "write";
  std::string out;
  for (const auto& item : answer.at("bricks").as_array()) {
    const auto& brick = item.as_object();
    out += fmt::format("Brick: {}\n", shown(brick, "brick"));
    if (what == "open") out += fmt::format("Current open handles: {}\n", shown(brick, "open_handles"));
    if (brick.at("files").as_array().empty()) {
      out += "nothing yet\n";
      continue;
    }
    std::vector<std::string> headings = {"CALLS", "FILE"};
    if (perf) headings = {"MiB/s", "BYTES", "FILE", "TIME"};
    if (moves) headings = {"CALLS", "BYTES", "FILE"};
    Table table(headings);
    for (const auto& entry : brick.at("files").as_array()) {
      const auto& file = entry.as_object();
      if (perf) {
        table.add({fmt::format("{:.2f}", real(file, "best_bytes_per_s") / (1 << 20)),
                   shown(file, "best_bytes"), name_of(file), shown(file, "best_at")});
      } else if (moves) {
        table.add({shown(file, "count"), shown(file, "bytes"), name_of(file)});
      } else {
        table.add({shown(file, "count"), name_of(file)});
      }
    }
    out += table.text();
  }
  return out;
}

int top(Cli& cli, const UsageWords& words) {
  auto query = top_query(words.rest);
  if (!query) return wrong(cli, std::string(query.error().context()));
  if (words.rest.front() == "clear") {
    auto path = volume_path(words.volume, "/top/clear");
    if (!path) return cli.fail(path.error());
    json::object body;
    if (words.rest.size() == 3 && words.rest[1] == "brick") body["brick"] = words.rest[2];
    auto cleared = cli.call("POST", *path, body);
    return cleared ? cli.done(*cleared, "counting begins anew") : cli.fail(cleared.error());
  }
  auto path = volume_path(words.volume, "/top?" + *query);
  if (!path) return cli.fail(path.error());
  auto answer = cli.call("GET", *path);
  if (!answer) return cli.fail(answer.error());
  return cli.done(*answer, top_text(answer->get_object()));
}

// ---- profile

constexpr const char* kProfileForm = "VOL start|stop|info [peek|incremental [peek]|cumulative|clear]";

std::string sizes_text(const json::object& stats, std::string_view name, const char* title) {
  std::string out;
  for (const auto& item : stats.at(name).as_array()) {
    const auto& bucket = item.as_object();
    const bool last = bucket.at("below").is_null();
    const auto size = last ? std::string("larger")
                           : "below " + format_size(json::number_field_or(bucket, "below", 0).value_or(0));
    out += fmt::format("  {:<16}{:>12}\n", size, shown(bucket, "count"));
  }
  return out.empty() ? out : fmt::format("{} by size:\n{}", title, out);
}

std::string stats_text(const json::object& stats, const std::string& title) {
  auto out = fmt::format("{} ({:.0f} seconds)\n", title, real(stats, "duration_s"));
  Table table({"%-LATENCY", "AVG", "P50", "P99", "MAX", "CALLS", "ERRORS", "FOP"});
  auto us = [](double value) { return fmt::format("{:.1f} us", value); };
  for (const auto& item : stats.at("ops").as_array()) {
    const auto& op = item.as_object();
    table.add({fmt::format("{:.2f}", real(op, "latency_share") * 100), us(real(op, "average_us")),
               "<" + us(real(op, "p50_us")), "<" + us(real(op, "p99_us")), "<" + us(real(op, "max_us")),
               shown(op, "count"), shown(op, "errors"), shown(op, "op")});
  }
  out += stats.at("ops").as_array().empty() ? "no operations\n" : table.text();
  out += sizes_text(stats, "read_sizes", "Reads") + sizes_text(stats, "write_sizes", "Writes");
  return out + fmt::format("Data Read: {} bytes\nData Written: {} bytes\n", shown(stats, "read_bytes"),
                           shown(stats, "written_bytes"));
}

std::string profile_text(const json::object& answer, bool cumulative, bool incremental) {
  std::string out;
  for (const auto& item : answer.at("bricks").as_array()) {
    const auto& brick = item.as_object();
    out += fmt::format("Brick: {}\n", shown(brick, "brick"));
    if (cumulative) out += stats_text(brick.at("cumulative").as_object(), "Cumulative Stats");
    const auto& interval = brick.at("interval").as_object();
    if (incremental) out += stats_text(interval, fmt::format("Interval {} Stats", shown(interval, "number")));
  }
  return out;
}

int profile_info(Cli& cli, const UsageWords& words) {
  bool peek = false, cumulative = true, incremental = true;
  for (std::size_t i = 1; i < words.rest.size(); ++i) {
    const auto& word = words.rest[i];
    if (word == "peek") {
      peek = true;
    } else if (word == "incremental" && i == 1) {
      cumulative = false;
    } else if (word == "cumulative" && i == 1) {
      incremental = false;
      peek = true;  // the interval is not shown, so it goes on
    } else {
      return wrong(cli, fmt::format("'{}' is not understood; the form is: {}", word, kProfileForm));
    }
  }
  auto path = volume_path(words.volume, peek ? "/profile?peek=yes" : "/profile");
  if (!path) return cli.fail(path.error());
  auto answer = cli.call("GET", *path);
  if (!answer) return cli.fail(answer.error());
  return cli.done(*answer, profile_text(answer->get_object(), cumulative, incremental));
}

int profile(Cli& cli, const UsageWords& words) {
  const auto& verb = words.rest.front();
  const bool clear = words.rest.size() == 2 && verb == "info" && words.rest[1] == "clear";
  if (verb == "info" && !clear) return profile_info(cli, words);
  if (!clear && (words.rest.size() != 1 || (verb != "start" && verb != "stop"))) {
    return wrong(cli,
                 fmt::format("'{}' is not understood; the form is: {}", words.rest.back(), kProfileForm));
  }
  auto path = volume_path(words.volume, "/profile/" + (clear ? "clear" : verb));
  if (!path) return cli.fail(path.error());
  auto done = cli.call("POST", *path);
  if (!done) return cli.fail(done.error());
  if (clear) return cli.done(*done, "counting begins anew");
  if (verb == "stop") return cli.done(*done, fmt::format("volume {} is no longer profiled", words.volume));
  return cli.done(*done, fmt::format("volume {} is being profiled\nnext: polder volume profile {} info",
                                     words.volume, words.volume));
}

// ---- statedump

int statedump(Cli& cli, const UsageWords& words) {
  auto path = volume_path(words.volume, "/statedump");
  if (!path) return cli.fail(path.error());
  json::object body;
  if (!words.rest.empty()) body["sections"] = json::array(words.rest.begin(), words.rest.end());
  auto dumped = cli.call("POST", *path, body);
  if (!dumped) return cli.fail(dumped.error());
  return cli.done(*dumped, shown(dumped->get_object(), "path"));
}

}  // namespace

void add_usage_commands(Cli& cli) {
  auto& volume = cli.group(cli.app(), "volume", "Volumes");
  auto add = [&](const std::string& name, const std::string& help, const std::string& example, auto run,
                 const std::string& rest_help, bool rest_required, std::vector<std::string> suggested) {
    auto words = std::make_shared<UsageWords>();
    auto& command = cli.command(volume, name, help, example, [&cli, words, run] { return run(cli, *words); });
    command.add_option("VOL", words->volume, "Which volume")->required();
    auto* rest = command.add_option("what", words->rest, rest_help);
    if (rest_required) rest->required();
    cli.suggest(command, std::move(suggested));
  };
  add("top", std::string(kTopForm) + ": the files that are used most",
      "polder volume top data write list-cnt 10", top, "What to count, then brick NODE:/path, list-cnt N",
      true,
      {"open", "read", "write", "opendir", "readdir", "read-perf", "write-perf", "clear", "brick",
       "list-cnt"});
  add("profile", std::string(kProfileForm) + ": operations, their number and latency",
      "polder volume profile data start", profile, "start, stop, or info with what to show", true,
      {"start", "stop", "info", "peek", "incremental", "cumulative", "clear"});
  add("statedump",
      "VOL [all|mem|iobuf|leases|callpool|fd|inode|locks|journal|history|sessions…]: what the daemon holds, "
      "into a file",
      "polder volume statedump data callpool locks", statedump, "Sections (default: all)", false,
      {"all", "mem", "iobuf", "leases", "callpool", "fd", "inode", "locks", "journal", "history",
       "sessions"});
}

}  // namespace polder
