// SPDX-License-Identifier: GPL-3.0-or-later
// Several records as the payload of one Records frame, in the changelog's own encoding; and positions as
// messages.
#pragma once
#include <span>
#include <vector>

#include "changelog/journal/journal.h"
#include "changelog/record/record.h"

namespace polder::georep {

class Position;

/// EINVAL or EFBIG when a record cannot be encoded.
Result<Buffer> encode_block(std::span<const Record> records);
/// EPROTO unless the block holds exactly `count` sound records. Data of records are slices of `block`.
Result<std::vector<Record>> decode_block(const Buffer& block, std::uint32_t count);

void set_position(Position* out, const JournalPosition& position, Hlc hlc = {});
std::string gfid_bytes(const Gfid& gfid);
Result<Gfid> gfid_from(const std::string& bytes);

}  // namespace polder::georep
