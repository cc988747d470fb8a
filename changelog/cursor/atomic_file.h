// SPDX-License-Identifier: GPL-3.0-or-later
// Small files of the changelog that are replaced as a whole.
#pragma once
#include <string>

#include "base/disk.h"

namespace polder {

/// Durable when it returns; after a crash the file has the old content or the new one. Writes NAME.tmp first.
Result<void> replace_file(Disk& disk, int dir, const std::string& name, ConstBytes content);
/// ENOENT when absent; EFBIG past `max_bytes`.
Result<std::string> read_file(Disk& disk, int dir, const std::string& name, std::size_t max_bytes);

}  // namespace polder
