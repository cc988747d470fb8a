// SPDX-License-Identifier: GPL-3.0-or-later
// Extended attributes and small files of a brick.
#include "core-volume/layers/store/identity.h"
#include "core-volume/layers/store/layout.h"
#include "tests/fuzz/fuzz.h"

namespace polder::fuzz {
namespace {

void meta(std::string_view bytes) {
  auto meta = layout::unpack_meta(bytes);
  if (!meta) return;
  const auto packed = layout::pack_meta(*meta);
  auto again = layout::unpack_meta(packed);
  require(again && layout::pack_meta(*again) == packed, "Meta is written as it was read");
  struct stat native{};
  native.st_mtim = meta->mtime;
  layout::effective_ctime(*meta, native);
  layout::newer_ctime(*meta, native, meta->destructive_hlc_ns);
}

void marks(std::string_view bytes) {
  if (auto gfid = layout::unpack_dir_mark(bytes))
    require(layout::unpack_dir_mark(layout::pack_dir_mark(*gfid)).value() == *gfid, "DirMark");
  if (auto mark = layout::unpack_entry_mark(bytes)) {
    auto again = layout::unpack_entry_mark(layout::pack_entry_mark(*mark));
    require(again && again->gfid == mark->gfid && again->mode == mark->mode, "EntryMark");
  }
  if (auto entry = layout::unpack_parent(bytes))
    require(layout::unpack_parent(layout::pack_parent(*entry)).value() == *entry, "parent");
}

void replaced(Input in) {
  const auto file = in.text_until('\0');
  auto replaced = layout::parse_replaced(file, in.text());
  if (!replaced) return;
  auto again = layout::parse_replaced(layout::replaced_file(replaced->gfid, replaced->tx),
                                      layout::replaced_text(*replaced));
  require(again && again->name == replaced->name && again->tx == replaced->tx, "a replaced name");
}

}  // namespace

POLDER_FUZZ_TARGET(store_values) {
  const auto text = as_text(input);
  meta(text);
  marks(text);
  replaced(Input(input));
  if (auto identity = parse_identity(std::string(text))) {
    const auto printed = format_identity(*identity);
    auto again = parse_identity(printed);
    require(again && format_identity(*again) == printed, "a brick's identity is written as it was read");
  }
}

}  // namespace polder::fuzz
