// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/polder/volume_words.h"

#include <algorithm>
#include <array>

namespace polder {

bool take_force(std::vector<std::string>& words) {
  if (words.empty() || words.back() != "force") return false;
  words.pop_back();
  return true;
}

Result<CreateWords> parse_create_words(const std::vector<std::string>& words) {
  constexpr std::array kLayouts = {"replica", "arbiter", "disperse", "disperse-data", "redundancy", "stripe"};
  CreateWords out;
  out.bricks = words;
  out.force = take_force(out.bricks);
  for (const auto& word : out.bricks) {
    if (std::ranges::find(kLayouts, word) != kLayouts.end()) {
      return Error(EOPNOTSUPP)
          .with(
              "'{}' volumes are not in this version; leave '{} …' away, and each brick becomes a set of its "
              "own",
              word, word);
    }
    if (word.find(":/") == std::string::npos || word.starts_with(':')) {
      return Error(EINVAL).with("'{}' is not a brick; write NODE:/path", word);
    }
  }
  if (out.bricks.empty()) return Error(EINVAL).with("name at least one brick, as NODE:/path");
  return out;
}

}  // namespace polder
