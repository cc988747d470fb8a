// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/fuzz/fuzz.h"

#include <algorithm>

#include "base/log.h"

namespace polder::fuzz {
namespace {

// Hostile input is worth a line in the log of a daemon; not a million lines a minute here.
[[maybe_unused]] const bool quiet = (log::configure("polder_fuzz", log::Level::kError, "/dev/null"), true);

}  // namespace

void require(bool holds, std::string_view what) {
  if (holds) return;
  std::fprintf(stderr, "this does not hold: %.*s\n", static_cast<int>(what.size()), what.data());
  std::abort();
}

ConstBytes Input::take(std::size_t size_bytes) {
  const auto taken = rest_.first(std::min(size_bytes, rest_.size()));
  rest_ = rest_.subspan(taken.size());
  return taken;
}

std::string_view Input::text_until(char separator) {
  const auto all = as_text(rest_);
  const auto end = std::min(all.find(separator), all.size());
  const auto text = as_text(take(end));
  take(1);
  return text;
}

std::vector<Target>& targets() {
  static std::vector<Target> all;
  return all;
}

}  // namespace polder::fuzz
