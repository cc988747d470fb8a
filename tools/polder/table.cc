// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/polder/table.h"

#include <algorithm>
#include <numeric>

namespace polder {

namespace {

/// Characters, not bytes, of UTF-8.
std::size_t width_of(const std::string& text) {
  return static_cast<std::size_t>(
      std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

void append_padded(std::string& line, const std::string& cell, std::size_t width) {
  line += cell;
  line.append(width - std::min(width, width_of(cell)), ' ');
}

std::string trimmed(std::string line) {
  while (line.ends_with(' ')) line.pop_back();
  return line;
}

}  // namespace

void Table::add(std::vector<std::string> cells) {
  cells.resize(headings_.size());
  rows_.push_back(std::move(cells));
}

std::vector<std::size_t> Table::widths() const {
  std::vector<std::size_t> out;
  for (std::size_t i = 0; i < headings_.size(); ++i) {
    auto width = width_of(headings_[i]);
    for (const auto& row : rows_) width = std::max(width, width_of(row[i]));
    out.push_back(width);
  }
  return out;
}

std::string Table::text() const {
  constexpr std::size_t kGap = 2;
  auto columns = widths();
  auto total = std::accumulate(columns.begin(), columns.end(), kGap * (columns.size() - 1));
  if (total > kWidthMax) return blocks();
  std::string out;
  auto add_line = [&](const std::vector<std::string>& cells) {
    std::string line;
    for (std::size_t i = 0; i < cells.size(); ++i) append_padded(line, cells[i], columns[i] + kGap);
    out += trimmed(std::move(line)) + "\n";
  };
  add_line(headings_);
  for (const auto& row : rows_) add_line(row);
  return out;
}

std::string Table::blocks() const {
  std::string out;
  for (const auto& row : rows_) {
    if (!out.empty()) out += "\n";
    std::vector<std::pair<std::string, std::string>> lines;
    for (std::size_t i = 0; i < headings_.size(); ++i) lines.emplace_back(headings_[i], row[i]);
    out += facts(lines);
  }
  return out;
}

std::string facts(const std::vector<std::pair<std::string, std::string>>& lines) {
  std::size_t width = 0;
  for (const auto& [name, value] : lines) width = std::max(width, width_of(name));
  std::string out;
  for (const auto& [name, value] : lines) {
    std::string line;
    append_padded(line, name + ":", width + 2);
    out += trimmed(line + value) + "\n";
  }
  return out;
}

}  // namespace polder
