// SPDX-License-Identifier: GPL-3.0-or-later
// polder changelog show|tail|verify
#include <CLI/CLI.hpp>
#include <ostream>

#include "tools/polder/cli.h"
#include "tools/polder/table.h"

namespace polder {

namespace {

struct ChangelogWords {
  std::string volume;
  std::string brick;  // empty: all
  std::uint64_t from = 0;
  std::uint64_t count = 0;
};

std::string line_of(const json::object& record) {
  auto out = record.contains("set") ? fmt::format("set {} ", shown(record, "set")) : std::string();
  out += fmt::format("{:>8} {} {:<9}", shown(record, "index"), shown(record, "time"), shown(record, "kind"));
  auto add = [&](const char* label, std::string_view field) {
    if (record.contains(field)) out += fmt::format(" {}{}", label, shown(record, field));
  };
  add("", "gfid");
  add("in ", "parent");
  add("", "name");
  add("to ", "to_parent");
  add("", "to_name");
  add("at ", "offset");
  add("+", "length");
  add("size ", "size");
  add("mode ", "mode");
  add("-> ", "target");
  add("key ", "key");
  add("", "text");
  return out;
}

int show(Cli& cli, const ChangelogWords& words, bool follow) {
  auto path = volume_path(words.volume, "/changelog");
  if (!path) return cli.fail(path.error());
  json::object body{{"from", words.from}, {"count", words.count}, {"follow", follow}, {"brick", words.brick}};
  auto print = [&](const json::value& record) {
    if (!record.is_object() || record.get_object().empty()) return;
    cli.out() << (cli.options().json ? json::text(record) : line_of(record.get_object())) << "\n";
    if (follow) cli.out().flush();
  };
  auto ended = cli.call("POST", *path, body, print);
  if (!ended) return cli.fail(ended.error());
  return kDone;
}

std::string check_text(const json::object& check) {
  const auto& damage = check.at("damage").as_array();
  auto text = fmt::format("{}: {} records in {} segments, index {} to {}: {}\n", shown(check, "brick"),
                          shown(check, "records"), shown(check, "segments"), shown(check, "first_index"),
                          shown(check, "last_index"), damage.empty() ? "no damage" : "DAMAGED");
  for (const auto& item : damage) {
    const auto& found = item.as_object();
    text += fmt::format("  {} at byte {}: {}\n", shown(found, "segment"), shown(found, "byte"),
                        shown(found, "what"));
  }
  return text;
}

int verify(Cli& cli, const ChangelogWords& words) {
  auto path = volume_path(words.volume, "/changelog/verify");
  if (!path) return cli.fail(path.error());
  auto checks = cli.call("POST", *path, {{"brick", words.brick}});
  if (!checks) return cli.fail(checks.error());
  std::string text;
  bool damaged = false;
  for (const auto& check : checks->as_array()) {
    text += check_text(check.as_object());
    damaged = damaged || !check.at("damage").as_array().empty();
  }
  cli.done(*checks, text);
  return damaged ? kFailed : kDone;
}

}  // namespace

void add_changelog_commands(Cli& cli) {
  auto& changelog = cli.group(cli.app(), "changelog", "Read a volume's changelog");
  for (bool follow : {false, true}) {
    auto words = std::make_shared<ChangelogWords>();
    auto& command = cli.command(
        changelog, follow ? "tail" : "show",
        follow ? "VOL: new records as they become stable" : "VOL: its records",
        follow ? "polder changelog tail data --json" : "polder changelog show data --from 100 --count 20",
        [&cli, words, follow] { return show(cli, *words, follow); });
    command.add_option("VOL", words->volume, "Which volume")->required();
    command.add_option("--brick", words->brick, "One brick, by its path or the number of its set");
    command.add_option("--from", words->from, "First index (default: the oldest; tail: the next)");
    command.add_option("--count", words->count, "How many (default: all)");
  }
  auto words = std::make_shared<ChangelogWords>();
  auto& command = cli.command(changelog, "verify", "VOL: read every byte and check it",
                              "polder changelog verify data", [&cli, words] { return verify(cli, *words); });
  command.add_option("VOL", words->volume, "Which volume")->required();
  command.add_option("--brick", words->brick, "One brick, by its path or the number of its set");
}

}  // namespace polder
