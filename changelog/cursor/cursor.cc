// SPDX-License-Identifier: GPL-3.0-or-later
#include "changelog/cursor/cursor.h"

#include <algorithm>
#include <charconv>

#include "base/sqlite.h"
#include "changelog/cursor/atomic_file.h"

namespace polder {

namespace {

constexpr const char* kNamesFile = "cursors";
constexpr std::size_t kNamesFileMax_bytes = 1 << 20;

/// One name a line: %XX for what is not printable, '%' and space.
std::string escaped(const std::string& name) {
  std::string out;
  for (unsigned char c : name) {
    if (c > ' ' && c < 127 && c != '%') {
      out += static_cast<char>(c);
    } else {
      out += fmt::format("%{:02x}", c);
    }
  }
  return out;
}

std::string unescaped(std::string_view line) {
  std::string out;
  for (std::size_t at = 0; at < line.size(); ++at) {
    unsigned value = 0;
    if (line[at] == '%' && line.size() - at > 2 &&
        std::from_chars(line.data() + at + 1, line.data() + at + 3, value, 16).ptr == line.data() + at + 3) {
      out += static_cast<char>(value);
      at += 2;
    } else {
      out += line[at];
    }
  }
  return out;
}

Result<std::set<std::string>> read_names(Disk& disk, int dir) {
  std::set<std::string> names;
  auto content = read_file(disk, dir, kNamesFile, kNamesFileMax_bytes);
  if (content.failed_with(ENOENT)) return names;
  if (!content) return content.error();
  std::string_view rest = *content;
  while (!rest.empty()) {
    auto end = std::min(rest.find('\n'), rest.size());
    if (end > 0) names.insert(unescaped(rest.substr(0, end)));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return names;
}

}  // namespace

Result<std::size_t> CursorTable::open() {
  TRY(
      database_.script("CREATE TABLE IF NOT EXISTS cursors ("
                       "name TEXT PRIMARY KEY, position INTEGER NOT NULL, must_rescan INTEGER NOT NULL)"));
  TRY(names_, read_names(disk_, dir_));
  TRY(auto known, list());
  std::set<std::string> lost = names_;
  for (const Cursor& cursor : known) lost.erase(cursor.name);
  for (const std::string& name : lost) {
    TRY(put({name, 0, true}));
  }
  bool unlisted = false;
  for (const Cursor& cursor : known) unlisted |= names_.insert(cursor.name).second;
  if (unlisted) {
    TRY(write_names());
  }
  return lost.size();
}

Result<std::vector<Cursor>> CursorTable::list() {
  std::vector<Cursor> cursors;
  TRY(database_.query(
      "SELECT name, position, must_rescan FROM cursors ORDER BY name", {}, [&](const Database::Row& row) {
        cursors.push_back({row.text(0), static_cast<std::uint64_t>(row.integer(1)), row.integer(2) != 0});
        return true;
      }));
  return cursors;
}

Result<void> CursorTable::put(const Cursor& cursor) {
  if (cursor.name.empty() || cursor.name.size() > kNameMax_bytes)
    return Error(EINVAL).with("a cursor's name has 1 to {} bytes, not {}", kNameMax_bytes,
                              cursor.name.size());
  // The name first: one without a place is taken for lost, a place without a name would be lost unnoticed.
  if (names_.insert(cursor.name).second) {
    auto written = write_names();
    if (!written) names_.erase(cursor.name);
    TRY(std::move(written));
  }
  TRY(database_.execute(
      "INSERT INTO cursors (name, position, must_rescan) VALUES (?, ?, ?) "
      "ON CONFLICT (name) DO UPDATE SET "
      "position = excluded.position, must_rescan = excluded.must_rescan",
      {cursor.name, static_cast<std::int64_t>(cursor.index), static_cast<std::int64_t>(cursor.must_rescan)}));
  return {};
}

Result<void> CursorTable::drop(const std::string& name) {
  TRY(auto dropped, database_.execute("DELETE FROM cursors WHERE name = ?", {name}));
  if (dropped == 0) return Error(ENOENT).with("no cursor '{}'", name);
  names_.erase(name);
  return write_names();
}

Result<std::vector<std::string>> CursorTable::must_rescan_below(std::uint64_t index) {
  std::vector<std::string> names;
  TRY(auto cursors, list());
  for (Cursor& cursor : cursors) {
    if (cursor.must_rescan || cursor.index >= index) continue;
    cursor.must_rescan = true;
    TRY(put(cursor));
    names.push_back(cursor.name);
  }
  return names;
}

Result<void> CursorTable::write_names() {
  std::string content;
  for (const std::string& name : names_) content += escaped(name) + "\n";
  return replace_file(disk_, dir_, kNamesFile, as_bytes(content));
}

}  // namespace polder
