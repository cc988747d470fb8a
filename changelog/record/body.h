// SPDX-License-Identifier: GPL-3.0-or-later
// The protobuf part of a record (proto/record.proto). Private to this folder.
#pragma once
#include "base/result.h"
#include "changelog/record/record.h"

namespace polder {

/// Empty when the record has nothing that belongs in a body.
std::string encode_body(const Record& record);
/// Fills the body's fields of `record`. EUCLEAN says what is wrong.
Result<void> decode_body(ConstBytes bytes, Record& record);

}  // namespace polder
