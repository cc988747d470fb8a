// SPDX-License-Identifier: GPL-3.0-or-later
// polder volume create|start|stop|delete|list|info
#include <CLI/CLI.hpp>

#include "tools/polder/cli.h"
#include "tools/polder/table.h"
#include "tools/polder/volume_words.h"

namespace polder {

namespace {

struct Words {
  std::string volume;
  std::vector<std::string> rest;
};

int create(Cli& cli, const Words& words) {
  auto parsed = parse_create_words(words.rest);
  if (!parsed) return cli.fail(parsed.error());
  json::object body{{"name", words.volume},
                    {"bricks", json::array(parsed->bricks.begin(), parsed->bricks.end())},
                    {"force", parsed->force}};
  auto made = cli.call("POST", "/v1/volumes", body);
  if (!made) return cli.fail(made.error());
  std::string text = fmt::format("volume {} created\n", words.volume);
  for (const auto& note : made->get_object().at("notes").as_array()) {
    text += "note: " + std::string(note.as_string()) + "\n";
  }
  return cli.done(*made, text + fmt::format("next: polder volume start {}", words.volume));
}

/// start and stop: VOL [force].
int change_state(Cli& cli, const Words& words, const std::string& verb) {
  auto rest = words.rest;
  bool force = take_force(rest);
  if (!rest.empty())
    return cli.fail(Error(EINVAL).with("'{}' is not understood; the form is: VOL [force]", rest[0]));
  auto path = volume_path(words.volume, "/" + verb);
  if (!path) return cli.fail(path.error());
  auto changed = cli.call("POST", *path, {{"force", force}});
  if (!changed && changed.failed_with(EALREADY) && force) changed = json::value(json::object{});
  if (!changed) return cli.fail(changed.error());
  if (verb == "stop") {
    return cli.done(*changed, fmt::format("volume {} stopped; its clients wait\nnext: polder volume start {}",
                                          words.volume, words.volume));
  }
  return cli.done(*changed, fmt::format("volume {} started\nnext: mount -t polder localhost:/{} /mnt",
                                        words.volume, words.volume));
}

int remove(Cli& cli, const Words& words) {
  auto path = volume_path(words.volume);
  if (!path) return cli.fail(path.error());
  auto info = cli.call("GET", *path);
  if (!info) return cli.fail(info.error());
  std::vector<std::string> effects = {fmt::format("volume {} will no longer exist", words.volume)};
  std::string bricks;
  for (const auto& brick : info->get_object().at("bricks").as_array()) {
    auto place = shown(brick.as_object(), "path");
    bricks += " " + place;
    effects.push_back(fmt::format("its brick {}:{} keeps the data", shown(brick.as_object(), "node"), place));
  }
  if (auto sure = cli.confirm(words.volume, effects); !sure) {
    if (cli.options().dry_run) return cli.done(*info, "");
    return cli.fail(sure.error());
  }
  auto removed = cli.call("DELETE", *path);
  if (!removed) return cli.fail(removed.error());
  return cli.done(*removed, fmt::format("volume {} deleted; its data is still in{}\n"
                                        "to read it: polder brick export{} DEST; to remove it: rm -rf{} "
                                        "(on btrfs: btrfs subvolume delete{})",
                                        words.volume, bricks, bricks, bricks, bricks));
}

int list(Cli& cli) {
  auto volumes = cli.call("GET", "/v1/volumes");
  if (!volumes) return cli.fail(volumes.error());
  if (volumes->get_array().empty()) {
    return cli.done(*volumes, "no volumes yet\nnext: polder volume create VOL NODE:/path/to/brick");
  }
  std::string names;  // one a line, as GlusterFS prints them
  for (const auto& volume : volumes->get_array()) names += shown(volume.as_object(), "name") + "\n";
  return cli.done(*volumes, names);
}

std::string info_text(const json::object& volume) {
  auto out = facts({{"Volume Name", shown(volume, "name")},
                    {"Type", shown(volume, "type")},
                    {"Volume ID", shown(volume, "id")},
                    {"Status", shown(volume, "state")},
                    {"Snapshot Count", shown(volume, "snapshots")},
                    {"Number of Bricks", std::to_string(volume.at("bricks").as_array().size())},
                    {"Transport-type", "tls, unix"},
                    {"Read-only", shown(volume, "read_only")},
                    {"Role", shown(volume, "role")},
                    {"Incarnation", shown(volume, "incarnation")},
                    {"Lineage", shown(volume, "lineage")},
                    {"Created", shown(volume, "created")}});
  out += "Bricks:\n";
  int number = 0;
  for (const auto& item : volume.at("bricks").as_array()) {
    const auto& brick = item.as_object();
    out += fmt::format("  Brick{}: {}:{}\n", ++number, shown(brick, "node"), shown(brick, "path"));
  }
  const auto& sets = volume.at("sets").as_array();
  if (sets.size() > 1) out += "Share of the slots:\n";
  for (const auto& item : sets) {
    if (sets.size() == 1) break;
    const auto& set = item.as_object();
    out += fmt::format("  set {}: {:.1f} % ({})\n", shown(set, "set"),
                       100 * set.at("share").to_number<double>(), shown(set, "brick"));
  }
  const auto& options = volume.at("options").as_object();
  if (!options.empty()) out += "Options Reconfigured:\n";
  for (const auto& option : options) {
    out += fmt::format("  {}: {}\n", std::string_view(option.key()),
                       std::string_view(option.value().as_string()));
  }
  return out;
}

int info(Cli& cli, const Words& words) {
  if (words.volume.empty() || words.volume == "all") {
    auto volumes = cli.call("GET", "/v1/volumes");
    if (!volumes) return cli.fail(volumes.error());
    std::string text;
    for (const auto& volume : volumes->get_array()) {
      text += (text.empty() ? "" : "\n") + info_text(volume.as_object());
    }
    return cli.done(*volumes, text.empty() ? "no volumes yet" : text);
  }
  auto path = volume_path(words.volume);
  if (!path) return cli.fail(path.error());
  auto volume = cli.call("GET", *path);
  if (!volume) return cli.fail(volume.error());
  return cli.done(*volume, info_text(volume->get_object()));
}

}  // namespace

void add_volume_commands(Cli& cli) {
  auto& volume = cli.group(cli.app(), "volume", "Volumes");
  auto add = [&](const std::string& name, const std::string& help, const std::string& example, auto run) {
    auto words = std::make_shared<Words>();
    auto& command = cli.command(volume, name, help, example, [words, run] { return run(*words); });
    return std::pair<CLI::App*, std::shared_ptr<Words>>(&command, words);
  };
  auto [create_command, create_words] =
      add("create", "VOL NODE:/path... [force]: make a volume, each brick a set; a missing directory is made",
          "polder volume create data alpha:/bricks/a/data alpha:/bricks/b/data",
          [&cli](const Words& words) { return create(cli, words); });
  create_command->add_option("VOL", create_words->volume, "Its name")->required();
  create_command->add_option("BRICK", create_words->rest, "NODE:/path of each, and 'force' at the end")
      ->required();
  for (const std::string verb : {"start", "stop"}) {
    auto [command, words] =
        add(verb, "VOL [force]: " + verb + " serving it", "polder volume " + verb + " data",
            [&cli, verb](const Words& words) { return change_state(cli, words, verb); });
    command->add_option("VOL", words->volume, "Which volume")->required();
    command->add_option("force", words->rest, "Also when it is so already");
  }
  auto [delete_command, delete_words] =
      add("delete", "VOL: forget the volume; the data stays in its bricks", "polder volume delete data",
          [&cli](const Words& words) { return remove(cli, words); });
  delete_command->add_option("VOL", delete_words->volume, "Which volume")->required();
  cli.command(volume, "list", "Names of all volumes", "polder volume list", [&cli] { return list(cli); });
  auto [info_command, info_words] = add("info", "[VOL]: what a volume is", "polder volume info data",
                                        [&cli](const Words& words) { return info(cli, words); });
  info_command->add_option("VOL", info_words->volume, "Which volume (default: all)");
}

}  // namespace polder
