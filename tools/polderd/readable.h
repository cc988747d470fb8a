// SPDX-License-Identifier: GPL-3.0-or-later
// Text from clients and disks (names of files, of machines) on its way into JSON and onto terminals.
#pragma once
#include <string>
#include <string_view>

namespace polder {

/// Valid UTF-8 stays; control characters, '\' and all other bytes are written \xNN.
std::string readable(std::string_view bytes);

}  // namespace polder
