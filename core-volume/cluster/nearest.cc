// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/cluster/nearest.h"

#include <algorithm>
#include <numeric>

namespace polder {

namespace {

std::size_t edits(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (std::size_t i = 1; i <= a.size(); ++i) {
    auto diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      auto replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row.back();
}

}  // namespace

std::string nearest_name(std::string_view word, const std::vector<std::string>& candidates) {
  constexpr std::size_t kWord_bytes_max = 256;
  if (word.size() > kWord_bytes_max) return {};
  std::string best;
  auto best_edits = std::max<std::size_t>(2, word.size() / 3) + 1;
  for (const auto& candidate : candidates) {
    // The last part alone counts as the name, too: "retention-size" for "changelog.retention-size".
    auto dot = candidate.rfind('.');
    auto distance = edits(word, candidate);
    if (dot != std::string::npos) {
      distance = std::min(distance, edits(word, std::string_view(candidate).substr(dot + 1)) + 1);
    }
    if (distance < best_edits) {
      best_edits = distance;
      best = candidate;
    }
  }
  return best;
}

}  // namespace polder
