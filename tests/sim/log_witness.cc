// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/sim/log_witness.h"

#include <fmt/format.h>
#include <xxhash.h>

#include "changelog/record/codec.h"

namespace polder {

Result<void> LogWitness::look(Journal& log) {
  const auto lineage = log.position(log.stable_index()).lineage;
  if (lineage != lineage_) seen_.clear();  // another log, made instead of the first one
  lineage_ = lineage;
  if (!seen_.empty() && log.stable_index() < seen_.rbegin()->first)
    wrong(fmt::format("the log ends at record {}, but {} was stable", log.stable_index(),
                      seen_.rbegin()->first));
  return read(log, seen_.empty() ? 1 : seen_.rbegin()->first + 1);
}

std::vector<std::string> LogWitness::problems(Journal& log) {
  auto looked = look(log);
  if (looked) looked = read(log, 1);
  if (!looked) wrong("the log cannot be read: " + looked.error().message());
  return problems_;
}

Result<void> LogWitness::read(Journal& log, std::uint64_t from) {
  from = std::max(from, log.first_index());
  if (from > log.stable_index()) return {};
  TRY(auto reader, log.read_from(from));
  while (true) {
    TRY(auto record, reader->next());
    if (!record) return {};
    if (record->index != from++) wrong(fmt::format("record {} where {} must be", record->index, from - 1));
    see(log, *record);
  }
}

void LogWitness::see(const Journal& log, const Record& record) {
  auto encoded = encode_record_message(record);
  if (!encoded) return wrong("a record that cannot be encoded: " + encoded.error().message());
  std::uint64_t hash = 0;
  for (const auto piece : encoded->pieces()) hash = XXH3_64bits_withSeed(piece.data(), piece.size(), hash);
  const Seen now{log.position(record.index).term, record.hlc, hash};
  const auto [at, is_new] = seen_.emplace(record.index, now);
  if (is_new && at != seen_.begin()) {
    const auto& before = std::prev(at)->second;
    if (now.hlc <= before.hlc || now.term < before.term)
      wrong(fmt::format("the stamp or the term of record {} is behind the one before", record.index));
  }
  if (!is_new && (at->second.hash != hash || at->second.term != now.term))
    wrong(fmt::format("record {} is another one than it was: {} now", record.index, to_string(record.kind)));
}

}  // namespace polder
