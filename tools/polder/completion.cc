// SPDX-License-Identifier: GPL-3.0-or-later
// polder completion bash: made from the commands themselves, so it cannot be out of date.
#include <CLI/CLI.hpp>
#include <ostream>

#include "tools/polder/cli.h"

namespace polder {

namespace {

/// One line per command path: "volume create) words…".
void add_cases(const Cli& cli, std::string& cases, const CLI::App& app, const std::string& path) {
  std::string words;
  for (const auto* sub : app.get_subcommands([](const CLI::App*) { return true; }))
    words += sub->get_name() + " ";
  for (const auto* option : app.get_options()) {
    for (const auto& name : option->get_lnames()) words += "--" + name + " ";
  }
  for (const auto& word : cli.suggestions(app)) words += word + " ";
  cases += fmt::format("    '{}') words='{}' ;;\n", path, words);
  for (const auto* sub : app.get_subcommands([](const CLI::App*) { return true; })) {
    add_cases(cli, cases, *sub, path.empty() ? sub->get_name() : path + " " + sub->get_name());
  }
}

// clang-format off
constexpr const char* kScript = R"script(# bash completion of polder; to install it:
#   polder completion bash > /usr/share/bash-completion/completions/polder
_polder() {
  local word path='' words='' current=${COMP_WORDS[COMP_CWORD]}
  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case $word in -*) continue ;; esac
    case "@PATHS@ " in *" ${path:+$path }$word,"*) path="${path:+$path }$word" ;; esac
  done
  case $path in
@CASES@  esac
  case $path in
    'volume '*|'changelog '*) words+=" $(polder volume list 2>/dev/null)" ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _polder polder
)script";
// clang-format on

std::string replaced(std::string text, std::string_view mark, const std::string& by) {
  return text.replace(text.find(mark), mark.size(), by);
}

void add_paths(std::string& paths, const CLI::App& app, const std::string& path) {
  for (const auto* sub : app.get_subcommands([](const CLI::App*) { return true; })) {
    auto below = path.empty() ? sub->get_name() : path + " " + sub->get_name();
    paths += " " + below + ",";
    add_paths(paths, *sub, below);
  }
}

}  // namespace

void add_completion_command(Cli& cli) {
  auto shell = std::make_shared<std::string>("bash");
  auto& command =
      cli.command(cli.app(), "completion", "Print the shell's completion script",
                  "polder completion bash > /usr/share/bash-completion/completions/polder", [&cli, shell] {
                    std::string cases;
                    std::string paths;
                    add_cases(cli, cases, cli.app(), "");
                    add_paths(paths, cli.app(), "");
                    cli.out() << replaced(replaced(kScript, "@PATHS@", paths), "@CASES@", cases);
                    return static_cast<int>(kDone);
                  });
  command.add_option("SHELL", *shell, "bash")->check(CLI::IsMember({"bash"}));
}

}  // namespace polder
