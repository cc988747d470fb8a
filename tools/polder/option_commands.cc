// SPDX-License-Identifier: GPL-3.0-or-later
// polder volume set|get|reset
#include <CLI/CLI.hpp>
#include <ostream>

#include "tools/polder/cli.h"
#include "tools/polder/table.h"

namespace polder {

namespace {

struct OptionWords {
  std::string volume;
  std::string key;
  std::string value;
};

int help(Cli& cli) {
  auto options = cli.call("GET", "/v1/volume-options");
  if (!options) return cli.fail(options.error());
  std::string text;
  for (const auto& item : options->get_array()) {
    const auto& option = item.as_object();
    text += fmt::format("{} (default {})\n    {}\n", shown(option, "option"), shown(option, "default"),
                        shown(option, "help"));
  }
  return cli.done(*options, text);
}

int change(Cli& cli, const OptionWords& words, bool reset) {
  auto path = volume_path(words.volume, "/options");
  if (!path) return cli.fail(path.error());
  json::object body{{"key", words.key}};
  if (!reset) body["value"] = words.value;
  auto changed = cli.call(reset ? "DELETE" : "POST", *path, body);
  if (!changed) return cli.fail(changed.error());
  const auto& fields = changed->get_object();
  auto text = fmt::format("{} is {}", shown(fields, "option"), shown(fields, "value"));
  if (fields.at("restart_needed").as_bool()) {
    text += fmt::format(
        " from the volume's next start on\nnext: polder volume stop {0} && polder volume start {0}",
        words.volume);
  }
  return cli.done(*changed, text);
}

int set(Cli& cli, const OptionWords& words) {
  if (words.volume == "help") return help(cli);
  if (words.key.empty() || words.value.empty()) {
    cli.err() << "polder: the form is: polder volume set VOL KEY VALUE\n";
    return kUsage;
  }
  return change(cli, words, false);
}

int get(Cli& cli, const OptionWords& words) {
  auto query =
      words.key.empty() || words.key == "all" ? std::string("/options") : "/options?key=" + words.key;
  auto path = volume_path(words.volume, query);
  if (!path) return cli.fail(path.error());
  auto options = cli.call("GET", *path);
  if (!options) return cli.fail(options.error());
  Table table({"OPTION", "VALUE", "DEFAULT"});
  for (const auto& item : options->get_array()) {
    const auto& option = item.as_object();
    table.add({shown(option, "option"), shown(option, "value"), shown(option, "is_default")});
  }
  return cli.done(*options, table.text());
}

bool is_key(const std::string& text) {
  return text.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") ==
         std::string::npos;
}

}  // namespace

void add_option_commands(Cli& cli) {
  auto& volume = cli.group(cli.app(), "volume", "Volumes");
  auto key_check = [](const std::string& text) {
    return is_key(text) ? std::string() : "is not the name of an option";
  };

  auto set_words = std::make_shared<OptionWords>();
  auto& set_command = cli.command(volume, "set", "VOL KEY VALUE: change an option; 'set help' lists all",
                                  "polder volume set data changelog.retention-size 8GiB",
                                  [&cli, set_words] { return set(cli, *set_words); });
  set_command.add_option("VOL", set_words->volume, "Which volume, or 'help'")->required();
  set_command.add_option("KEY", set_words->key, "Name of the option")->check(key_check);
  set_command.add_option("VALUE", set_words->value, "Its new value");

  auto get_words = std::make_shared<OptionWords>();
  auto& get_command =
      cli.command(volume, "get", "VOL [KEY|all]: options in effect", "polder volume get data all",
                  [&cli, get_words] { return get(cli, *get_words); });
  get_command.add_option("VOL", get_words->volume, "Which volume")->required();
  get_command.add_option("KEY", get_words->key, "Which option (default: all)")->check(key_check);

  auto reset_words = std::make_shared<OptionWords>();
  auto& reset_command = cli.command(volume, "reset", "VOL KEY: back to the default",
                                    "polder volume reset data changelog.retention-size",
                                    [&cli, reset_words] { return change(cli, *reset_words, true); });
  reset_command.add_option("VOL", reset_words->volume, "Which volume")->required();
  reset_command.add_option("KEY", reset_words->key, "Name of the option")->required()->check(key_check);
}

}  // namespace polder
