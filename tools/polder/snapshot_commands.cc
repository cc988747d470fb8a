// SPDX-License-Identifier: GPL-3.0-or-later
// polder snapshot create|list|info|status|activate|deactivate|delete|restore|config, with GlusterFS's words.
#include <CLI/CLI.hpp>

#include "core-volume/cluster/records.h"
#include "tools/polder/cli.h"
#include "tools/polder/table.h"
#include "tools/polder/volume_words.h"

namespace polder {

namespace {

using Words = std::vector<std::string>;

Result<std::string> snapshot_path(const std::string& name, std::string_view rest = "") {
  TRY(check_name("snapshot name", name));
  return fmt::format("/v1/snapshots/{}{}", name, rest);
}

Error not_understood(const std::string& word, std::string_view form) {
  return Error(EINVAL).with("'{}' is not understood; the form is: polder snapshot {}", word, form);
}

/// NAME VOL [no-timestamp] [description D] [force]
Result<json::object> parse_create(const Words& words) {
  json::object body{{"name", words.at(0)}, {"volume", words.at(1)}, {"timestamp", true}};
  for (std::size_t i = 2; i < words.size(); ++i) {
    if (words[i] == "no-timestamp") {
      body["timestamp"] = false;
    } else if (words[i] == "description" && i + 1 < words.size()) {
      body["description"] = words[++i];
    } else if (words[i] != "force") {  // for sets with bricks that are down; a single brick must be up
      return not_understood(words[i], "create NAME VOL [no-timestamp] [description D] [force]");
    }
  }
  return body;
}

int create(Cli& cli, const Words& words) {
  auto body = parse_create(words);
  if (!body) return cli.fail(body.error());
  auto made = cli.call("POST", "/v1/snapshots", *body);
  if (!made) return cli.fail(made.error());
  return cli.done(*made, shown(made->get_object(), "name"));  // alone, for scripts
}

/// What [NAME | volume VOL | all] means: always a list.
Result<json::array> select(Cli& cli, const Words& words, std::string_view verb) {
  if (words.size() == 2 && words[0] == "volume") {
    TRY(check_name("volume name", words[1]));
    TRY(auto all, cli.call("GET", "/v1/snapshots?volume=" + words[1]));
    return all.as_array();
  }
  if (words.empty() || (words.size() == 1 && words[0] == "all")) {
    TRY(auto all, cli.call("GET", "/v1/snapshots"));
    return all.as_array();
  }
  if (words.size() != 1) return not_understood(words[1], fmt::format("{} [NAME | volume VOL]", verb));
  TRY(const auto path, snapshot_path(words[0]));
  TRY(auto one, cli.call("GET", path));
  return json::array{std::move(one)};
}

int list(Cli& cli, const Words& words) {
  // GlusterFS's `snapshot list VOL`.
  const bool of_volume = words.size() == 1 && words[0] != "all";
  auto found = select(cli, of_volume ? Words{"volume", words[0]} : words, "list");
  if (!found) return cli.fail(found.error());
  std::string names;
  for (const auto& one : *found) names += shown(one.as_object(), "name") + "\n";
  const bool none = found->empty();
  return cli.done(*found, none ? "no snapshots yet\nnext: polder snapshot create NAME VOL" : names);
}

std::string milliseconds(const json::object& snapshot) {
  const auto* held = snapshot.if_contains("barrier_ms");
  return held && held->is_number() ? fmt::format("{:.1f} ms", held->to_number<double>()) : "-";
}

std::string info_text(const json::object& snapshot) {
  const bool active = shown(snapshot, "status") == "Started";
  return facts({{"Snapshot", shown(snapshot, "name")},
                {"Snap UUID", shown(snapshot, "id")},
                {"Description", shown(snapshot, "description")},
                {"Created", shown(snapshot, "created")},
                {"Origin volume", shown(snapshot, "volume")},
                {"Status", shown(snapshot, "status")},
                {"Mount", active ? "mount -t polder " + shown(snapshot, "mount") + " DIR"
                                 : "polder snapshot activate " + shown(snapshot, "name") + " first"},
                {"Changelog", "record " + shown(snapshot, "mark_index")},
                {"Changes held for", milliseconds(snapshot)},
                {"Backend", shown(snapshot, "backend")},
                {"Brick", shown(snapshot, "brick")}});
}

int info(Cli& cli, const Words& words) {
  auto found = select(cli, words, "info");
  if (!found) return cli.fail(found.error());
  std::string text;
  for (const auto& one : *found) text += (text.empty() ? "" : "\n") + info_text(one.as_object());
  return cli.done(*found, text.empty() ? "no snapshots yet" : text);
}

int status(Cli& cli, const Words& words) {
  auto found = select(cli, words, "status");
  if (!found) return cli.fail(found.error());
  Table table({"SNAPSHOT", "VOLUME", "STATUS", "ON DISK", "BACKEND", "POOL FULL", "CLIENTS"});
  json::array all;
  bool degraded = false;
  for (const auto& one : *found) {
    auto path = snapshot_path(shown(one.as_object(), "name"), "/status");
    if (!path) return cli.fail(path.error());
    auto answer = cli.call("GET", *path);
    if (!answer) return cli.fail(answer.error());
    const auto& status = answer->as_object();
    const bool present = shown(status, "present") == "yes";
    const bool served = shown(status, "active") == "no" || shown(status, "status") == "Started";
    degraded = degraded || !present || !served;
    table.add({shown(status, "name"), shown(status, "volume"), served ? shown(status, "status") : "Failed",
               present ? "yes" : "MISSING", shown(status, "backend"),
               status.contains("data_percent")
                   ? fmt::format("{:.0f} %", status.at("data_percent").to_number<double>())
                   : "over the limit",
               fmt::format("{}", status.at("clients").as_array().size())});
    all.push_back(std::move(*answer));
  }
  const int done = cli.done(all, all.empty() ? "no snapshots yet" : table.text());
  return degraded ? kDegraded : done;
}

int change(Cli& cli, const Words& words, const std::string& verb) {
  auto rest = words;
  take_force(rest);
  if (rest.size() != 1) return cli.fail(not_understood(rest.empty() ? "" : rest[1], verb + " NAME"));
  auto path = snapshot_path(rest[0], "/" + verb);
  if (!path) return cli.fail(path.error());
  auto changed = cli.call("POST", *path);
  if (!changed) return cli.fail(changed.error());
  if (verb == "activate") {
    return cli.done(*changed, fmt::format("snapshot {} activated\nnext: mount -t polder {} DIR", rest[0],
                                          shown(changed->get_object(), "mount")));
  }
  return cli.done(
      *changed, fmt::format("snapshot {} deactivated\nnext: polder snapshot activate {}", rest[0], rest[0]));
}

int remove(Cli& cli, const Words& words) {
  auto found = select(cli, words, "delete");
  if (!found) return cli.fail(found.error());
  if (found->empty()) return cli.done(*found, "there are no such snapshots");
  std::vector<std::string> effects;
  for (const auto& one : *found) {
    const auto& snapshot = one.as_object();
    const bool active = shown(snapshot, "status") == "Started";
    effects.push_back(fmt::format("snapshot {} of volume {}, {}, will no longer exist{}",
                                  shown(snapshot, "name"), shown(snapshot, "volume"),
                                  shown(snapshot, "created"), active ? "; its clients get errors" : ""));
  }
  if (auto sure = cli.confirm(words.back(), effects); !sure) {
    return cli.options().dry_run ? cli.done(*found, "") : cli.fail(sure.error());
  }
  std::string text;
  for (const auto& one : *found) {
    const auto name = shown(one.as_object(), "name");
    auto path = snapshot_path(name);
    if (!path) return cli.fail(path.error());
    auto removed = cli.call("DELETE", *path);
    if (!removed) return cli.fail(removed.error());
    text += fmt::format("snapshot {} deleted\n", name);
  }
  return cli.done(*found, text + "next: polder snapshot list");
}

std::vector<std::string> restore_effects(const json::object& effects) {
  const auto volume = shown(effects, "volume");
  std::vector<std::string> out = {
      fmt::format("volume {} goes back to {}: {} changes since then are undone", volume,
                  shown(effects, "created"), shown(effects, "records_since")),
      "mounted clients get ESTALE for what they have open",
      "what is replaced is kept as a snapshot pre-restore_GMT-…"};
  const bool reaches = shown(effects, "log_reaches_back") == "yes";
  for (const auto& session : effects.at("sessions").as_array()) {
    out.push_back(fmt::format("geo-replication session {} {}", std::string_view(session.as_string()),
                              reaches ? "makes its secondary follow"
                                      : "begins a rescan, since the changelog no longer reaches back to the "
                                        "snapshot"));
  }
  return out;
}

int restore(Cli& cli, const Words& words) {
  if (words.size() != 1) return cli.fail(not_understood(words.back(), "restore NAME"));
  auto path = snapshot_path(words[0], "/restore");
  if (!path) return cli.fail(path.error());
  auto effects = cli.call("GET", *path);
  if (!effects) return cli.fail(effects.error());
  const auto volume = shown(effects->get_object(), "volume");
  if (auto sure = cli.confirm(volume, restore_effects(effects->get_object())); !sure) {
    return cli.options().dry_run ? cli.done(*effects, "") : cli.fail(sure.error());
  }
  auto restored = cli.call("POST", *path);
  if (!restored) return cli.fail(restored.error());
  const auto& kept = restored->get_object().at("pre_restore").as_object();
  return cli.done(*restored, fmt::format("volume {} is as it was in snapshot {}; what was replaced is "
                                         "snapshot {}\nnext: polder volume start {}",
                                         volume, words[0], shown(kept, "name"), volume));
}

/// [VOL] [KEY VALUE]
int config(Cli& cli, const Words& words) {
  const bool of_volume = words.size() % 2 == 1;
  if (words.size() > 3) return cli.fail(not_understood(words[3], "config [VOL] [KEY VALUE]"));
  const auto volume = of_volume ? words[0] : std::string("*");
  if (of_volume) {
    if (auto name = check_name("volume name", volume); !name) return cli.fail(name.error());
  }
  const bool change = words.size() >= 2;
  json::object body{{"volume", volume}};
  if (change) {
    body["key"] = words[words.size() - 2];
    body["value"] = words.back();
  }
  auto answer = change ? cli.call("POST", "/v1/snapshot-config", body)
                       : cli.call("GET", "/v1/snapshot-config" + (of_volume ? "?volume=" + volume : ""));
  if (!answer) return cli.fail(answer.error());
  const auto& limits = answer->get_object();
  return cli.done(*answer, facts({{"snap-max-hard-limit", shown(limits, "snap-max-hard-limit")},
                                  {"activate-on-create", shown(limits, "activate-on-create")}}));
}

}  // namespace

void add_snapshot_commands(Cli& cli) {
  auto& snapshot = cli.group(cli.app(), "snapshot", "Snapshots of volumes");
  auto add = [&](const std::string& name, const std::string& help, const std::string& example, int at_least,
                 auto run) {
    auto words = std::make_shared<Words>();
    auto& command = cli.command(snapshot, name, help, "polder snapshot " + example,
                                [&cli, words, run] { return run(cli, *words); });
    auto* option = command.add_option("WORDS", *words, help);
    if (at_least > 0) option->required()->expected(at_least, 64);
  };
  add("create", "NAME VOL [no-timestamp] [description D] [force]: prints the final name",
      "create nightly data description 'before the update'", 2, create);
  add("list", "[VOL]: names", "list data", 0, list);
  add("info", "[NAME | volume VOL]: what a snapshot is, and how to mount it", "info volume data", 0, info);
  add("status", "[NAME | volume VOL]: is it there and served, by whom used", "status", 0, status);
  for (const std::string verb : {"activate", "deactivate"}) {
    add(verb, "NAME: " + std::string(verb == "activate" ? "serve it read-only" : "end serving it"),
        verb + " nightly_GMT-2026.11.21-06.50.00", 1,
        [verb](Cli& with, const Words& words) { return change(with, words, verb); });
  }
  add("delete", "NAME | all | volume VOL", "delete nightly_GMT-2026.11.21-06.50.00", 1, remove);
  add("restore", "NAME: the stopped volume goes back to it", "restore nightly_GMT-2026.11.21-06.50.00", 1,
      restore);
  add("config", "[VOL] [snap-max-hard-limit N | activate-on-create on|off]",
      "config data snap-max-hard-limit 30", 0, config);
}

}  // namespace polder
