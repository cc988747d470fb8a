// SPDX-License-Identifier: GPL-3.0-or-later
// Sizes, times and option values, as people type them.
#include "core-volume/cluster/units.h"

#include "core-volume/cluster/volume_options.h"
#include "tests/fuzz/fuzz.h"

namespace polder::fuzz {

POLDER_FUZZ_TARGET(units) {
  const auto text = as_text(input);
  if (auto size = parse_size(text)) {
    auto again = parse_size(format_size(*size));
    require(again && *again == *size, "a size that is printed reads as the same");
    format_size_rounded(*size);
  }
  if (auto time = parse_duration(text)) {
    require(time->count() >= 0, "a time is not negative");
    require(parse_duration(format_duration(*time)).has_value(), "a time that is printed can be read");
  }
  for (const auto& option : volume_options()) {
    auto value = normalize_option(option.name, text);
    if (!value) continue;
    auto again = normalize_option(option.name, *value);
    require(again && *again == *value, "the canonical text of an option's value is its own");
  }
}

}  // namespace polder::fuzz
