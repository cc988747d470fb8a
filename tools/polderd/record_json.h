// SPDX-License-Identifier: GPL-3.0-or-later
// A changelog record as JSON, for people and scripts (`polder changelog show`).
#pragma once
#include "changelog/record/record.h"
#include "core-volume/cluster/json_fields.h"

namespace polder {

/// Only fields that the kind has. Bytes that are not printable ASCII (names need not be UTF-8) and '\' are
/// written \xNN. Data and values of xattrs are given by their size.
json::object to_json(const Record& record);

}  // namespace polder
