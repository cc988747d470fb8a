// SPDX-License-Identifier: GPL-3.0-or-later
// MemoryTree: a volume's tree as a value, changed by records only. That makes it the reference for what a
// record means: normal work, redo and replay on another site are the same apply().
#pragma once
#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>

#include "changelog/record/record.h"
#include "core-volume/layer/file_attr.h"
#include "core-volume/layers/memory/memory_data.h"

namespace polder {

struct MemoryObject {
  FileAttr attr;  // nlink, size and blocks are filled by MemoryTree::attr_of()
  std::string target;
  std::map<std::string, std::string> xattrs;
  MemoryData data;
  std::set<EntryName> names;  // a directory has at most one, the root none
  std::map<std::pair<std::uint64_t, std::string>, Gfid> entries;  // by (cookie, name), of directories
  unsigned handles = 0;                                           // opens that keep it when it has no name
};

class MemoryTree {
 public:
  /// Only the root directory, 0755, owned by root.
  MemoryTree();

  /// Null when there is no such object. Good until the next apply() or collect().
  MemoryObject* find(Gfid gfid);
  FileAttr attr_of(const MemoryObject& object) const;
  /// Null when `directory` has no such entry.
  const Gfid* entry(const MemoryObject& directory, std::string_view name) const;
  /// Whether `above` is `gfid` itself or a directory on its way to the root.
  bool is_above(Gfid above, Gfid gfid);
  bool has_name(const MemoryObject& object) const;

  /// Makes it so, whatever was there: applying any tail of a history once more, in order, changes nothing in
  /// the end. `record` has passed check_record(). Objects without a name stay until collect(), since a later
  /// record of the same tail may name them again.
  void apply(const Record& record);
  /// Drops objects that have neither a name nor an open handle.
  void collect();

  std::size_t size() const { return objects_.size(); }

 private:
  void create(const Record& record);
  void unlink(const Record& record);
  void rename(const Record& record);
  void setattr(const Record& record);
  void xattr(const Record& record);
  void change_data(const Record& record);

  void set_name(const EntryName& name, Gfid gfid);
  void clear_name(const EntryName& name, Gfid gfid);
  void remove_unlisted(const Record& record);
  void clear_all_names(Gfid gfid);
  void touch(Gfid gfid, std::uint64_t time_ns);
  void stamp(Gfid gfid, std::uint64_t time_ns);
  void touch_directory(Gfid gfid, std::uint64_t time_ns);

  std::unordered_map<Gfid, MemoryObject> objects_;
  std::set<Gfid> nameless_;  // candidates for collect()
};

}  // namespace polder
