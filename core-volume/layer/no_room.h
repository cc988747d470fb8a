// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
#include <cerrno>

#include "base/error.h"

namespace polder {

/// The disk is full, or a quota of the brick's file system is (of a project around the brick, or of one
/// user).
inline bool is_no_room(const Error& why) {
  return why.is(ENOSPC) || why.is(EDQUOT);
}

}  // namespace polder
