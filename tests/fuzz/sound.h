// SPDX-License-Identifier: GPL-3.0-or-later
// Checksums put right. A fuzzer does not guess a CRC; whoever writes damage on purpose computes it, so the
// decoders behind a checksum must stand on their own.
#pragma once
#include <string>

#include "base/buffer.h"

namespace polder::fuzz {

/// One record as it is in a segment.
std::string sound_record(ConstBytes bytes);
/// Records as messages, one after another, as far as their lengths make sense.
std::string sound_messages(ConstBytes bytes);
/// A segment's header, and its records. `boot_id` (if any) and the magic go into the header.
std::string sound_segment(ConstBytes bytes, std::string_view boot_id);
/// Frames of geo-replication's spool.
std::string sound_spool(ConstBytes bytes);

}  // namespace polder::fuzz
