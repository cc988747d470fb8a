// SPDX-License-Identifier: GPL-3.0-or-later
// Under which names and addresses others reach this machine.
#pragma once
#include <string>
#include <vector>

#include "base/result.h"
#include "base/transport.h"

namespace polder {

/// The first label of the host name, made fit for check_name().
std::string machine_name();
/// HOST:PORT texts for a listener on `listen`: its own host, or for 0.0.0.0 and [::] every address of the
/// machine that is neither loopback nor link-local; the loopback when there is nothing else.
std::vector<std::string> reachable_addresses(const Endpoint& listen);

}  // namespace polder
