// SPDX-License-Identifier: GPL-3.0-or-later
// Records of the cluster store. The first byte says which.
#include "core-volume/cluster/json_fields.h"
#include "core-volume/cluster/records.h"
#include "georep/service/relation.h"
#include "snapshot/coordinator/record.h"
#include "tests/fuzz/fuzz.h"

namespace polder::fuzz {
namespace {

template <typename T>
void check(Result<T> (*decode)(const json::value&), const json::value& value) {
  auto record = decode(value);
  if (!record) return;
  const auto text = json::text(to_json(*record));
  auto parsed = json::parse(text);
  require(parsed.has_value(), "a record is written as JSON");
  auto again = decode(*parsed);
  require(again && json::text(to_json(*again)) == text, "a record is written as it was read");
}

}  // namespace

POLDER_FUZZ_TARGET(json_records) {
  Input in(input);
  const auto which = in.number<char>();
  auto value = json::parse(in.text());
  if (!value) return;
  switch (which) {
    case 'c':
      return check(cluster_from_json, *value);
    case 'n':
      return check(node_from_json, *value);
    case 'v':
      return check(volume_from_json, *value);
    case 'g':
      return check(georep::relation_from_json, *value);
    case 's':
      return check(snapshot_from_json, *value);
    case 'i':
      return check(intent_from_json, *value);
    case 'l':
      return check(limits_from_json, *value);
  }
}

}  // namespace polder::fuzz
