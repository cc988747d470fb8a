// SPDX-License-Identifier: GPL-3.0-or-later
// GlusterFS's grammar behind `volume create VOL`: plain words among the bricks.
#pragma once
#include <string>
#include <vector>

#include "base/result.h"

namespace polder {

struct CreateWords {
  std::vector<std::string> bricks;
  bool force = false;
};

/// [replica N [arbiter 1]] [disperse N …] BRICK… [force]. EINVAL for what is no brick, EOPNOTSUPP for layouts
/// that this version does not have.
Result<CreateWords> parse_create_words(const std::vector<std::string>& words);
/// Takes a last word "force" off.
bool take_force(std::vector<std::string>& words);

}  // namespace polder
