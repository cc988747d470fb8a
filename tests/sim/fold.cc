// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/sim/fold.h"

#include <algorithm>

#include "base/hlc.h"
#include "base/random.h"
#include "core-volume/layer/record_rules.h"
#include "core-volume/layers/memory/memory_layer.h"
#include "tests/sim/sim_site.h"

namespace polder {

namespace {

void read_content(Journal& log, std::uint64_t last, std::vector<Record>& records) {
  auto reader = must(log.read_from(1, true));
  while (auto record = must(reader->next())) {
    if (record->index > last) return;
    if (record->is_history() && is_about_object(record->kind)) records.push_back(std::move(*record));
  }
}

/// The object and its attributes, and where the line begins to differ from `others`.
std::string excerpt(const std::string& line, const std::vector<std::string>& others) {
  std::size_t same = 0;
  for (const auto& other : others) {
    const auto [mine, its] = std::ranges::mismatch(line, other);
    same = std::max(same, static_cast<std::size_t>(mine - line.begin()));
  }
  auto text = line.substr(0, 180);
  if (same > 140) text += fmt::format(" … from {}: {}", same, line.substr(same - 20, 100));
  return text;
}

}  // namespace

std::vector<std::string> fold_logs(SimLoop& loop, Clock& clock, const std::vector<Journal*>& logs,
                                   std::uint64_t last) {
  std::vector<Record> records;
  for (Journal* log : logs) read_content(*log, last, records);
  // One clock stamps all of them.
  std::ranges::sort(records, {}, &Record::hlc);
  HlcClock hlc(clock);
  auto gfids = make_seeded_random(1);
  MemoryLayer model(hlc, *gfids);
  BorrowedStack stack(loop, model);
  Client client(stack, 0);
  must(client.replay(records));
  return client.dump();
}

std::vector<std::string> differing_lines(const std::vector<std::string>& expected,
                                         const std::vector<std::string>& actual, std::string_view what) {
  if (expected == actual) return {};
  auto text = fmt::format("{}: {} and {} lines", what, expected.size(), actual.size());
  const auto add = [&](std::string_view title, const auto& lines, const auto& others) {
    int shown = 0;
    for (const auto& line : lines)
      if (std::ranges::count(others, line) == 0 && ++shown <= 5)
        text += fmt::format("\n  {} {}", title, excerpt(line, others));
  };
  add("expected", expected, actual);
  add("found   ", actual, expected);
  return {text};
}

}  // namespace polder
