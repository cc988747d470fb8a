// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/vm/story.h"

#include <fmt/format.h>

#include <filesystem>
#include <string_view>

#include "core-volume/layers/store/layout.h"

namespace polder {
namespace {

std::string one_line(const Record& record) {
  auto line = fmt::format("{} {} {}", record.index, to_string(record.kind), record.gfid.hex());
  if (!record.name.name.empty()) line += fmt::format(" {}/{}", record.name.parent.hex(), record.name.name);
  if (!record.to.name.empty()) line += fmt::format(" -> {}/{}", record.to.parent.hex(), record.to.name);
  if (!record.displaced.is_nil()) line += fmt::format(" displaces {}", record.displaced.hex());
  if (record.last_link) line += " last";
  if (record.exchange) line += " exchange";
  if (record.tx.id.number != 0)
    line += fmt::format(" tx {}.{} phase {}", record.tx.id.set, record.tx.id.number,
                        static_cast<int>(record.tx.phase));
  return line + "\n";
}

std::string log_of(Brick& brick) {
  std::string text;
  auto reader = brick.journal().read_from(brick.journal().first_index(), true);
  if (!reader) return reader.error().message() + "\n";
  while (true) {
    auto record = (*reader)->next();
    if (!record) return text + record.error().message() + "\n";
    if (!*record) return text;
    if (!(*record)->is_data()) text += one_line(**record);
  }
}

}  // namespace

std::string names_on_disk(const std::string& brick) {
  namespace fs = std::filesystem;
  std::string text;
  for (const std::string_view part :
       {layout::kDirs, layout::kAway, layout::kReplaced, layout::kOrphans, layout::kIndex}) {
    const auto top = fs::path(brick) / part;
    std::error_code none;
    for (const auto& entry : fs::recursive_directory_iterator(top, none)) {
      if (part == layout::kIndex && entry.is_directory()) continue;
      text += fmt::format("{}/{}", part, fs::relative(entry.path(), top).string());
      if (entry.is_symlink())
        text += " -> " + fs::read_symlink(entry.path()).string();
      else if (!entry.is_directory())
        text += fmt::format(" ({} links)", entry.hard_link_count());
      text += '\n';
    }
  }
  return text;
}

std::string records_of(const VolumeStack& stack) {
  std::string text;
  for (const auto& [set, brick] : stack.bricks())
    text += fmt::format("log of set {}:\n{}", set, log_of(*brick));
  return text;
}

}  // namespace polder
