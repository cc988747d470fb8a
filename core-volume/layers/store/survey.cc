// SPDX-License-Identifier: GPL-3.0-or-later
// Store: a survey. Names and the by-gfid index are links to the same inodes: an inode that only the index
// names has no name.
#include "core-volume/layers/store/survey.h"

#include <dirent.h>

#include <algorithm>

#include "core-volume/layers/store/store.h"

namespace polder {

/// The objects of the by-gfid index, by inode.
class Store::InodeTable {
 public:
  void add(ino_t inode, const Gfid& gfid) { objects_.push_back({inode, gfid, false}); }
  void sort() { std::ranges::sort(objects_, {}, &Object::inode); }
  /// A name of it was found. Null: the index does not have it.
  const Gfid* named(ino_t inode) {
    auto at = std::ranges::lower_bound(objects_, inode, {}, &Object::inode);
    if (at == objects_.end() || at->inode != inode) return nullptr;
    at->named = true;
    return &at->gfid;
  }
  /// Sorted by gfid.
  std::vector<Gfid> nameless() const {
    std::vector<Gfid> list;
    for (const auto& object : objects_)
      if (!object.named) list.push_back(object.gfid);
    std::ranges::sort(list);
    return list;
  }

 private:
  struct Object {
    ino_t inode;
    Gfid gfid;
    bool named;
  };
  std::vector<Object> objects_;
};

Result<Survey> Store::survey() {
  Survey survey;
  InodeTable inodes;
  TRY(survey_index(inodes));
  inodes.sort();
  TRY(auto directories, disk_.list(dirs_.fd()));
  for (const auto& entry : directories) {
    auto gfid = Gfid::parse(entry.name);
    if (!gfid) continue;
    TRY(survey_directory(*gfid, survey, inodes).with("look at directory {}", entry.name));
  }
  TRY(survey_away(survey, inodes).with("look at {}", layout::kAway));
  TRY(survey.replaced, replaced_names());
  TRY(survey.orphans, orphans());
  for (const auto& gfid : inodes.nameless())
    if (!std::ranges::binary_search(survey.orphans, gfid)) survey.nameless.push_back(gfid);
  return survey;
}

Result<void> Store::each_index_directory(const std::function<Result<void>(int dir)>& visit) {
  TRY(auto high, disk_.list(index_root_.fd()));
  for (const auto& above : high) {
    TRY(auto dir, disk_.open(index_root_.fd(), above.name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    TRY(auto low, disk_.list(dir.fd()));
    for (const auto& slot : low) {
      TRY(auto objects, disk_.open(dir.fd(), slot.name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
      TRY(visit(objects.fd()));
    }
  }
  return {};
}

Result<void> Store::survey_index(InodeTable& inodes) {
  return each_index_directory([&](int dir) -> Result<void> {
    TRY(auto entries, disk_.list(dir));
    for (const auto& entry : entries)
      if (auto gfid = Gfid::parse(entry.name)) inodes.add(entry.inode, *gfid);
    return {};
  });
}

Result<void> Store::survey_directory(const Gfid& gfid, Survey& survey, InodeTable& inodes) {
  TRY(auto dir, disk_.open(dirs_.fd(), gfid.hex(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  auto& directory = survey.directories.emplace_back(gfid);
  auto packed = disk_.get_xattr(dir.fd(), layout::kParentKey);
  if (packed) {
    TRY(directory.parent, layout::unpack_parent(*packed));
  } else if (!packed.failed_with(ENODATA)) {
    return std::move(packed).error();
  }
  TRY(auto entries, disk_.list(dir.fd()));
  for (auto& entry : entries) {
    if (inodes.named(entry.inode)) continue;
    Entry mark;  // what is not in the index is a mark, or nothing of ours
    if (entry.type != DT_LNK && entry.type != DT_UNKNOWN) continue;
    TRY(bool marked, read_mark(dir.fd(), entry.name, mark));
    if (!marked) continue;
    Survey::Named named{{gfid, std::move(entry.name)}, mark.gfid, mark.type};
    (mark.directory ? survey.subdirectories : survey.elsewhere).push_back(std::move(named));
  }
  return {};
}

Result<void> Store::survey_away(Survey& survey, InodeTable& inodes) {
  if (!away_) return {};
  TRY(auto parents, disk_.list(away_.fd()));
  for (const auto& above : parents) {
    auto parent = Gfid::parse(above.name);
    if (!parent) continue;
    TRY(auto dir, disk_.open(away_.fd(), above.name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    TRY(auto entries, disk_.list(dir.fd()));
    for (auto& entry : entries)
      if (const auto* gfid = inodes.named(entry.inode))
        survey.away.push_back({{*parent, std::move(entry.name)}, *gfid, 0});
  }
  return {};
}

}  // namespace polder
