// SPDX-License-Identifier: GPL-3.0-or-later
// Tables for people: aligned columns while they fit 100 columns, one block of lines per row otherwise.
#pragma once
#include <string>
#include <vector>

namespace polder {

class Table {
 public:
  static constexpr std::size_t kWidthMax = 100;

  explicit Table(std::vector<std::string> headings) : headings_(std::move(headings)) {}
  void add(std::vector<std::string> cells);
  std::string text() const;

 private:
  std::vector<std::size_t> widths() const;
  std::string blocks() const;

  std::vector<std::string> headings_;
  std::vector<std::vector<std::string>> rows_;
};

/// "Name: value" lines, values aligned.
std::string facts(const std::vector<std::pair<std::string, std::string>>& lines);

}  // namespace polder
