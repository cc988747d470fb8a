// SPDX-License-Identifier: GPL-3.0-or-later
// Store: names that objects had until a transaction gave them to others (replaced.h): a symbolic link in
// .polder/replaced for each, whose text says the name.
#include "core-volume/layers/store/replaced.h"

#include "core-volume/layers/store/store.h"

namespace polder {

/// Before a rename takes a name from an object of ours for one that is not.
Result<void> Store::note_replaced(const Record& record) {
  if (!replaced_) return {};
  auto note = [&](const Gfid& gfid, const EntryName& name, const Gfid& by) -> Result<void> {
    if (!owns(gfid) || owns(by)) return {};
    TRY(bool shown, still_has(gfid, name));
    if (!shown) return {};
    const ReplacedName replaced{gfid, name, by, record.tx.id};
    auto noted = disk_.symlink(layout::replaced_text(replaced), replaced_.fd(),
                               layout::replaced_file(gfid, record.tx.id));
    if (noted.failed_with(EEXIST)) return {};
    return std::move(noted).with("note that {} is replaced", gfid.hex());
  };
  if (record.displaced.is_nil() || record.tx.id.number == 0) return {};
  TRY(note(record.displaced, record.to, record.gfid));
  return record.exchange ? note(record.gfid, record.name, record.displaced) : Result<void>();
}

/// Whether the name has yet to be taken from it, as far as is known here.
Result<bool> Store::still_has(const Gfid& gfid, const EntryName& name) {
  auto object = locate(gfid);
  if (object.failed_with(ESTALE)) return false;
  if (!object) return std::move(object).error();
  if (object->is(S_IFDIR) && !owns(name.parent)) return !is_orphan_directory(gfid);
  TRY(auto dir, held_place(name, gfid, false));
  if (!dir) return false;
  TRY(auto entry, find_entry(dir->fd(), name.name));
  return entry && entry->gfid == gfid;
}

Result<std::vector<ReplacedName>> Store::replaced_names() {
  std::vector<ReplacedName> names;
  if (!replaced_) return names;
  TRY(auto entries, disk_.list(replaced_.fd()));
  for (const auto& entry : entries) {
    auto text = disk_.readlink(replaced_.fd(), entry.name);
    if (text.failed_with(ENOENT)) continue;  // forgotten meanwhile
    if (!text) return std::move(text).error().with("read {}/{}", layout::kReplaced, entry.name);
    TRY(auto name, layout::parse_replaced(entry.name, *text));
    names.push_back(std::move(name));
  }
  return names;
}

Result<void> Store::forget_replaced(const Gfid& gfid, const TxId& tx) {
  auto removed = disk_.unlink(replaced_.fd(), layout::replaced_file(gfid, tx));
  if (removed.failed_with(ENOENT)) return {};
  return std::move(removed).with("forget that {} was replaced", gfid.hex());
}

}  // namespace polder
