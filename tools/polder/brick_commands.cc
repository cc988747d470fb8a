// SPDX-License-Identifier: GPL-3.0-or-later
// polder brick export: the tree from the bricks alone. Needs no daemon.
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <ostream>

#include "core-volume/cluster/units.h"
#include "core-volume/layers/store/export.h"
#include "tools/polder/cli.h"

namespace polder {

namespace {

/// NODE:/path is accepted, too: it is what `volume info` prints.
std::string local_path(const std::string& brick) {
  auto colon = brick.find(":/");
  return colon == std::string::npos || brick.starts_with('/') ? brick : brick.substr(colon + 1);
}

void tell_missing(Cli& cli, const ExportReport& report) {
  constexpr std::size_t kShown = 20;
  cli.err() << fmt::format(
      "polder: INCOMPLETE: {} entries are on bricks that were not given (those of set {} were); name a brick "
      "of "
      "every set ('polder volume info' lists them)\n",
      report.missing.size(), fmt::join(report.sets, ", "));
  for (std::size_t i = 0; i < report.missing.size() && i < kShown; ++i)
    cli.err() << "  not exported: " << report.missing[i] << "\n";
  if (report.missing.size() > kShown) cli.err() << "  … (--json lists all)\n";
}

int export_tree(Cli& cli, std::vector<std::string> words) {
  if (words.size() < 2) {
    cli.err() << "polder: the form is: polder brick export BRICK... DEST\n";
    return kUsage;
  }
  auto destination = words.back();
  words.pop_back();
  for (auto& word : words) word = local_path(word);
  auto disk = make_kernel_disk();
  auto report = export_bricks(*disk, words, destination);
  if (!report) return cli.fail(Error(report.error().code()).with("{}", report.error().message()));
  json::object value{{"directories", report->directories},
                     {"files", report->files},
                     {"links", report->links},
                     {"bytes", report->bytes},
                     {"destination", destination},
                     {"sets", json::array(report->sets.begin(), report->sets.end())},
                     {"missing", json::array(report->missing.begin(), report->missing.end())}};
  cli.done(value,
           fmt::format("{} directories, {} files and {} further links, {} copied to {}", report->directories,
                       report->files, report->links, format_size_rounded(report->bytes), destination));
  if (report->missing.empty()) return kDone;
  tell_missing(cli, *report);
  return kDegraded;
}

}  // namespace

void add_brick_commands(Cli& cli) {
  auto& brick = cli.group(cli.app(), "brick", "Bricks, without a daemon");
  auto words = std::make_shared<std::vector<std::string>>();
  auto& command = cli.command(brick, "export", "BRICK... DEST: the whole tree from the bricks alone",
                              "polder brick export /bricks/data /restore",
                              [&cli, words] { return export_tree(cli, *words); });
  command.add_option("words", *words, "Brick directories, then the destination")->required();
}

}  // namespace polder
