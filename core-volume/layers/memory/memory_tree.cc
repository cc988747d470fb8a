// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/layers/memory/memory_tree.h"

#include <algorithm>

#include "changelog/record/listed.h"
#include "core-volume/layer/posix_rules.h"

namespace polder {

MemoryTree::MemoryTree() {
  MemoryObject& root = objects_[Gfid::root()];
  root.attr.gfid = Gfid::root();
  root.attr.mode = S_IFDIR | 0755;
}

MemoryObject* MemoryTree::find(Gfid gfid) {
  auto at = objects_.find(gfid);
  return at == objects_.end() ? nullptr : &at->second;
}

FileAttr MemoryTree::attr_of(const MemoryObject& object) const {
  FileAttr attr = object.attr;
  attr.plain = object.xattrs.empty();
  attr.nlink = attr.is_directory() ? has_name(object) : static_cast<std::uint32_t>(object.names.size());
  if (attr.is_regular()) attr.size = object.data.size();
  if (S_ISLNK(attr.mode)) attr.size = object.target.size();
  attr.blocks_512 = object.data.allocated_bytes() / 512;
  return attr;
}

bool MemoryTree::has_name(const MemoryObject& object) const {
  return !object.names.empty() || object.attr.gfid == Gfid::root();
}

const Gfid* MemoryTree::entry(const MemoryObject& directory, std::string_view name) const {
  auto at = directory.entries.find({entry_cookie(name), std::string(name)});
  return at == directory.entries.end() ? nullptr : &at->second;
}

bool MemoryTree::is_above(Gfid above, Gfid gfid) {
  // Bounded: a damaged tail may leave a loop for a moment.
  for (std::size_t steps = 0; steps <= objects_.size(); ++steps) {
    if (gfid == above) return true;
    MemoryObject* object = find(gfid);
    if (!object || object->names.empty()) return false;
    gfid = object->names.begin()->parent;
  }
  return false;
}

// --- applying records

void MemoryTree::apply(const Record& record) {
  switch (record.kind) {
    case RecordKind::kCreate:
      return create(record);
    case RecordKind::kLink:
      if (!find(record.gfid)) return touch_directory(record.name.parent, record.time_ns);
      set_name(record.name, record.gfid);
      stamp(record.gfid, record.time_ns);
      return touch_directory(record.name.parent, record.time_ns);
    case RecordKind::kUnlink:
      return unlink(record);
    case RecordKind::kRename:
      return rename(record);
    case RecordKind::kSetattr:
      return setattr(record);
    case RecordKind::kXattr:
      return xattr(record);
    case RecordKind::kRemoved:
      return clear_all_names(record.gfid);
    case RecordKind::kWrite:
    case RecordKind::kTruncate:
    case RecordKind::kFallocate:
    case RecordKind::kPunch:
    case RecordKind::kZero:
      return change_data(record);
    case RecordKind::kMark:
    case RecordKind::kRestored:
    case RecordKind::kClosed:
    case RecordKind::kApplied:
    case RecordKind::kMeta:
    case RecordKind::kTxAborted:
    case RecordKind::kTxClosed:
    case RecordKind::kFoundBegin:
    case RecordKind::kFoundEnd:
      return;  // about the log, not the tree
    case RecordKind::kListed:
      return remove_unlisted(record);
  }
}

void MemoryTree::create(const Record& record) {
  MemoryObject& object = objects_[record.gfid];
  // A gfid never changes its type: such a record is not from a history of this tree.
  if (object.attr.mode != 0 && (object.attr.mode ^ record.state.mode) & S_IFMT) return;
  object.attr.gfid = record.gfid;
  object.attr.mode = record.state.mode;
  object.attr.uid = record.state.uid;
  object.attr.gid = record.state.gid;
  object.attr.rdev_major = record.state.rdev_major;
  object.attr.rdev_minor = record.state.rdev_minor;
  object.attr.atime = record.state.atime;
  object.attr.mtime = record.state.mtime;
  object.target = record.state.target;
  object.xattrs = record.state.xattrs;
  touch(record.gfid, record.time_ns);
  nameless_.erase(record.gfid);  // made again: its name comes
  if (record.name.parent.is_nil()) return;
  set_name(record.name, record.gfid);
  touch_directory(record.name.parent, record.time_ns);
}

void MemoryTree::unlink(const Record& record) {
  clear_name(record.name, record.gfid);
  if (record.last_link) clear_all_names(record.gfid);
  stamp(record.gfid, record.time_ns);
  touch_directory(record.name.parent, record.time_ns);
}

void MemoryTree::remove_unlisted(const Record& record) {
  const auto listed = listed_of(record);
  const MemoryObject* directory = find(record.gfid);
  if (!listed || !directory) return;
  std::vector<std::pair<std::string, Gfid>> gone;
  for (const auto& [key, gfid] : directory->entries)
    if (listed->covers(key.second) && !std::ranges::binary_search(listed->names, key.second))
      gone.emplace_back(key.second, gfid);
  for (const auto& [name, gfid] : gone) clear_name({record.gfid, name}, gfid);
  touch_directory(record.gfid, record.time_ns);
}

void MemoryTree::rename(const Record& record) {
  clear_name(record.name, record.gfid);
  if (!record.displaced.is_nil()) clear_name(record.to, record.displaced);
  if (record.exchange && find(record.displaced)) set_name(record.name, record.displaced);
  if (!record.exchange && record.last_link) clear_all_names(record.displaced);
  if (find(record.gfid)) set_name(record.to, record.gfid);
  stamp(record.gfid, record.time_ns);
  stamp(record.displaced, record.time_ns);
  touch_directory(record.name.parent, record.time_ns);
  touch_directory(record.to.parent, record.time_ns);
}

void MemoryTree::setattr(const Record& record) {
  MemoryObject* object = find(record.gfid);
  if (!object) return;
  object->attr.mode = (object->attr.mode & S_IFMT) | (record.state.mode & 07777);
  object->attr.uid = record.state.uid;
  object->attr.gid = record.state.gid;
  object->attr.atime = record.state.atime;
  object->attr.mtime = record.state.mtime;
  auto stored = object->xattrs.find(std::string(kAclAccess));
  if (stored != object->xattrs.end()) {
    if (Result<std::optional<Acl>> acl = parse_acl(stored->second); acl && *acl)
      stored->second = build_acl(acl_after_chmod(**acl, object->attr.mode));
  }
  touch(record.gfid, record.time_ns);
}

void MemoryTree::xattr(const Record& record) {
  MemoryObject* object = find(record.gfid);
  if (!object) return;
  if (record.value)
    object->xattrs[record.key] = *record.value;
  else
    object->xattrs.erase(record.key);
  object->attr.mode = (object->attr.mode & S_IFMT) | (record.state.mode & 07777);
  stamp(record.gfid, record.time_ns);
}

void MemoryTree::change_data(const Record& record) {
  MemoryObject* object = find(record.gfid);
  if (!object || !object->attr.is_regular()) return;
  MemoryData& data = object->data;
  const std::uint64_t end = record.offset + record.length;
  switch (record.kind) {
    case RecordKind::kTruncate:
      data.resize(record.length);
      break;
    case RecordKind::kPunch:
    case RecordKind::kZero:
      data.punch(record.offset, record.length);
      break;
    default:
      break;
  }
  const bool grows = record.kind == RecordKind::kWrite || record.kind == RecordKind::kFallocate ||
                     record.kind == RecordKind::kZero;
  if (grows && !record.keep_size && end > data.size()) data.resize(end);
  // Without its bytes the record only says where they may have changed; they travel another way.
  if (record.kind == RecordKind::kWrite) data.write(record.offset, record.data.bytes());
  object->attr.mtime = time_from_ns(record.time_ns);
  touch(record.gfid, record.time_ns);
}

// --- names

void MemoryTree::set_name(const EntryName& name, Gfid gfid) {
  MemoryObject* object = find(gfid);
  MemoryObject* parent = find(name.parent);
  if (object->attr.is_directory() && !object->names.empty()) clear_all_names(gfid);
  if (parent && parent->attr.is_directory()) {
    const Gfid* there = entry(*parent, name.name);
    if (there && *there != gfid) clear_name(name, Gfid(*there));
    parent->entries[{entry_cookie(name.name), name.name}] = gfid;
    object->names.insert(name);
  }
  if (object->names.empty())
    nameless_.insert(gfid);
  else
    nameless_.erase(gfid);
}

void MemoryTree::clear_name(const EntryName& name, Gfid gfid) {
  MemoryObject* parent = find(name.parent);
  const Gfid* there = parent ? entry(*parent, name.name) : nullptr;
  if (!there || *there != gfid) return;  // a later record of the tail has been here already
  parent->entries.erase({entry_cookie(name.name), name.name});
  MemoryObject* object = find(gfid);
  object->names.erase(name);
  if (object->names.empty()) nameless_.insert(gfid);
}

void MemoryTree::clear_all_names(Gfid gfid) {
  MemoryObject* object = find(gfid);
  if (!object) return;
  for (const EntryName& name : std::set<EntryName>(object->names)) clear_name(name, gfid);
}

void MemoryTree::touch(Gfid gfid, std::uint64_t time_ns) {
  if (MemoryObject* object = find(gfid)) object->attr.ctime = time_from_ns(time_ns);
}

/// A name or an xattr has changed. As on a brick, the ctime never goes back by that.
void MemoryTree::stamp(Gfid gfid, std::uint64_t time_ns) {
  if (MemoryObject* object = find(gfid)) touch(gfid, std::max(time_to_ns(object->attr.ctime), time_ns));
}

void MemoryTree::touch_directory(Gfid gfid, std::uint64_t time_ns) {
  MemoryObject* object = find(gfid);
  if (!object || time_ns == kNoTime_ns) return;
  object->attr.ctime = object->attr.mtime = time_from_ns(time_ns);
}

void MemoryTree::collect() {
  std::set<Gfid> kept;
  while (!nameless_.empty()) {
    const Gfid gfid = *nameless_.begin();
    nameless_.erase(nameless_.begin());
    MemoryObject* object = find(gfid);
    if (!object || has_name(*object)) continue;
    if (object->handles > 0) {
      kept.insert(gfid);
      continue;
    }
    // Entries of a removed directory (a log that removes parents first) lose their names with it.
    const auto entries = object->entries;
    for (const auto& [key, child] : entries) clear_name({gfid, key.second}, Gfid(child));
    objects_.erase(gfid);
  }
  nameless_ = std::move(kept);
}

}  // namespace polder
