// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
#include <cerrno>

#include "base/error.h"
#include "base/gfid.h"

namespace polder {

/// A name is given after its object is made, and goes before it does. Only where a set has failed to take its
/// part of a change, and gets it later, does a name show what is not there: who has looked twice waits no
/// longer.
inline Error not_there_yet(const Gfid& gfid) {
  return Error(EIO).with("{} is not on its set yet, which has failed to take it", gfid.hex());
}

}  // namespace polder
