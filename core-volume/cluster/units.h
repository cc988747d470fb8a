// SPDX-License-Identifier: GPL-3.0-or-later
// Sizes and times as people write them. Pure functions.
#pragma once
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace polder {

/// "4096", "64KiB", "1.5 GiB", "10MB" (powers of 1000), "64K" (powers of 1024, as GlusterFS). EINVAL, ERANGE.
Result<std::uint64_t> parse_size(std::string_view text);
/// "60", "60s", "500ms", "5m", "2h", "7d", "1h30m". Without a unit: seconds. EINVAL, ERANGE.
Result<std::chrono::nanoseconds> parse_duration(std::string_view text);
/// The largest unit that divides it: "64MiB", "1000".
std::string format_size(std::uint64_t bytes);
/// For people: "1.5 GiB".
std::string format_size_rounded(std::uint64_t bytes);
std::string format_duration(std::chrono::nanoseconds duration);
/// RFC 3339, UTC, seconds: "2026-11-21T06:40:00Z".
std::string format_time(std::uint64_t ns_since_epoch);

}  // namespace polder
