// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/layers/ordering/keys.h"

namespace polder {

KeyLocks::Key name_key(const Gfid& parent, std::string_view name) {
  std::string key = "n";
  key.append(reinterpret_cast<const char*>(parent.bytes.data()), parent.bytes.size());
  key.append(name);
  return {std::move(key), KeyLocks::Mode::kExclusive};
}

KeyLocks::Key object_key(const Gfid& gfid, KeyLocks::Mode mode) {
  std::string key = "o";
  key.append(reinterpret_cast<const char*>(gfid.bytes.data()), gfid.bytes.size());
  return {std::move(key), mode};
}

KeyLocks::Key tree_key() {
  return {"d", KeyLocks::Mode::kExclusive};
}

std::vector<KeyLocks::Key> keys_of(const Record& record) {
  std::vector<KeyLocks::Key> keys;
  if (!record.gfid.is_nil()) keys.push_back(object_key(record.gfid, KeyLocks::Mode::kExclusive));
  if (!record.displaced.is_nil()) keys.push_back(object_key(record.displaced, KeyLocks::Mode::kExclusive));
  for (const auto* entry : {&record.name, &record.to}) {
    if (entry->parent.is_nil()) continue;
    keys.push_back(name_key(entry->parent, entry->name));
    keys.push_back(object_key(entry->parent, KeyLocks::Mode::kShared));
  }
  if (record.kind == RecordKind::kRename) keys.push_back(tree_key());
  return keys;
}

}  // namespace polder
