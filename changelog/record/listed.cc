// SPDX-License-Identifier: GPL-3.0-or-later
// In the record: `key` is `after`, `text` is `upto`, `value` has the names, each ended by a NUL.
#include "changelog/record/listed.h"

#include <algorithm>

#include "base/names.h"

namespace polder {
namespace {

constexpr std::size_t kNames_bytes = 64 << 10;  // of one record, roughly

}  // namespace

std::vector<Record> listed_records(const Gfid& directory, std::vector<std::string> names) {
  std::ranges::sort(names);
  std::vector<Record> records;
  std::string after;
  for (std::size_t next = 0; next < names.size() || records.empty();) {
    Record record;
    record.kind = RecordKind::kListed;
    record.gfid = directory;
    record.key = after;
    std::string& packed = record.value.emplace();
    for (; next < names.size() && packed.size() < kNames_bytes; ++next) packed += names[next] + '\0';
    if (next < names.size()) record.text = after = names[next - 1];
    records.push_back(std::move(record));
  }
  return records;
}

Result<Listed> listed_of(const Record& record) {
  if (record.kind != RecordKind::kListed || !record.value) return Error(EINVAL).with("names of a directory");
  Listed listed{.after = record.key, .upto = record.text, .names = {}};
  std::string_view left = *record.value;
  while (!left.empty()) {
    const auto end = left.find('\0');
    if (end == left.npos) return Error(EINVAL).with("names of a directory: the last has no end");
    const auto name = left.substr(0, end);
    left.remove_prefix(end + 1);
    const bool rises = listed.names.empty() || name > listed.names.back();
    if (!check_name(name) || !rises || !listed.covers(name))
      return Error(EINVAL).with("names of a directory: \"{}\" cannot be among them here", name);
    listed.names.emplace_back(name);
  }
  return listed;
}

}  // namespace polder
