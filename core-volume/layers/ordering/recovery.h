// SPDX-License-Identifier: GPL-3.0-or-later
// OrderingLayer::Recovery: a start does the log's tail again, and mends what that leaves of names. On a
// worker, before anything else runs.
#pragma once
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "core-volume/layer/no_room.h"
#include "core-volume/layers/ordering/ordering.h"
#include "core-volume/layers/store/survey.h"

namespace polder {

class OrderingLayer::Recovery {
 public:
  explicit Recovery(OrderingLayer& layer)
      : layer_(layer), store_(layer.store_), journal_(layer.journal_), same_boot_(store_.same_boot()) {}
  Result<void> run();

 private:
  /// What the records say of an object's bytes: which, and whether recovery may leave some of them out.
  struct Bytes {
    std::vector<Extent> changed;
    bool unlogged = false;
  };
  struct Shown {
    Gfid before, after;  // nil: nothing
  };

  // The log (recovery.cc).
  Result<void> write_again();
  Result<void> redo_from(std::uint64_t index);
  Result<void> redo(Record& record);
  Result<void> redo_parts(const Record& write, const Buffer& data);
  std::vector<Extent> uncovered(const Record& record) const;
  Result<void> load_retries();
  /// A write that a full disk or its owner's quota refuses, as it would have been when it was sent: nobody
  /// was told of it, and it says no more than that bytes may have changed. So no user's quota keeps a brick
  /// from starting.
  bool may_refuse(const Record& record, const Error& why) const {
    return is_no_room(why) && same_boot_ && unapplied_.contains(record.index) &&
           record.kind == RecordKind::kWrite;
  }

  // Names (mend_names.cc).
  Result<void> note_names(const Record& record);
  Result<void> mend_names();
  Result<void> keep_replaced(const EntryName& name, const Gfid& before, const Gfid& after);
  Result<void> give_back(const Gfid& gfid, EntryName name);
  Result<bool> give_way(const FileAttr& there, const EntryName& name);
  Result<std::optional<EntryName>> place_but(const Gfid& gfid, const EntryName& but);
  Result<bool> has_name_but(const FileAttr& file, const EntryName& but);
  Result<const Survey*> survey_once();
  Result<void> name_again(const FileAttr& object, const EntryName& name);

  // Bytes that may be lost (doubtful.cc).
  void note_bytes(const Record& record);
  Result<void> log_doubtful();
  Result<void> log_doubtful_file(StartLog& log, const Gfid& gfid, const std::vector<Extent>& changed);

  OrderingLayer& layer_;
  Store& store_;
  Journal& journal_;
  const bool same_boot_;
  std::set<std::uint64_t> unapplied_;
  std::set<std::uint64_t> bytes_lost_;                 // writes that did not happen, or not as a whole
  std::map<Gfid, std::vector<Record>> opaque_writes_;  // those of bytes_lost_, by object
  std::map<Gfid, Bytes> bytes_;
  // Of another boot.
  std::map<EntryName, Shown> names_;  // what the file system showed, and what the records say
  Store::LostNames lost_;             // what the redo took away
  std::optional<Survey> survey_;      // when somebody has asked
};

}  // namespace polder
