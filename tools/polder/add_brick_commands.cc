// SPDX-License-Identifier: GPL-3.0-or-later
// polder volume add-brick; remove-brick and rebalance, which are still to come
#include <CLI/CLI.hpp>
#include <ostream>

#include "tools/polder/cli.h"
#include "tools/polder/table.h"
#include "tools/polder/volume_words.h"

namespace polder {

namespace {

struct Words {
  std::string volume;
  std::vector<std::string> rest;
};

Result<json::value> add_one(Cli& cli, const std::string& volume, const std::string& brick, bool force) {
  TRY(auto path, volume_path(volume, "/bricks"));
  auto show = [&](const json::value& step) {
    if (!cli.options().json && step.is_object() && step.get_object().contains("progress"))
      cli.out() << brick << ": " << shown(step.get_object(), "progress") << "\n";
  };
  return cli.call("POST", path, {{"brick", brick}, {"force", force}}, show);
}

/// One after the other: each is added or not, whatever becomes of the next.
int add_bricks(Cli& cli, const Words& words) {
  auto parsed = parse_create_words(words.rest);
  if (!parsed) return cli.fail(parsed.error());
  json::value last;
  std::string text;
  for (const auto& brick : parsed->bricks) {
    auto added = add_one(cli, words.volume, brick, parsed->force);
    if (!added) {
      if (!text.empty()) cli.out() << text;
      return cli.fail(added.error());
    }
    last = *added;
    for (const auto& note : last.at("notes").as_array())
      text += "note: " + std::string(note.as_string()) + "\n";
    const auto& sets = last.at("sets").as_array();
    text +=
        fmt::format("{} added to volume {}: set {}, {:.1f} % of the slots\n", brick, words.volume,
                    shown(sets.back().as_object(), "set"), 100 * sets.back().at("share").to_number<double>());
  }
  return cli.done(last, text + fmt::format("new directories go there by its free space; what is there stays "
                                           "where it is\nnext: polder volume info {}",
                                           words.volume));
}

}  // namespace

void add_add_brick_commands(Cli& cli) {
  auto& volume = cli.group(cli.app(), "volume", "Volumes");
  auto words = std::make_shared<Words>();
  auto& command = cli.command(
      volume, "add-brick", "VOL NODE:/path... [force]: each becomes a new set of the volume",
      "polder volume add-brick data alpha:/bricks/c/data", [&cli, words] { return add_bricks(cli, *words); });
  command.add_option("VOL", words->volume, "Which volume")->required();
  command.add_option("BRICK", words->rest, "NODE:/path, and 'force' at the end")->required();
  for (const std::string verb : {"remove-brick", "rebalance"}) {
    auto ignored = std::make_shared<Words>();
    auto& later = cli.command(
        volume, verb, "VOL ...: not in this version", "polder volume " + verb + " data start",
        [&cli, verb, ignored] {
          return cli.fail(
              Error(EOPNOTSUPP)
                  .with("{} is not in this version: files stay on the brick where they were made. New "
                        "directories go where there is room",
                        verb));
        });
    later.add_option("VOL", ignored->volume, "Which volume");
    later.add_option("words", ignored->rest, "What GlusterFS's command has here");
  }
}

}  // namespace polder
