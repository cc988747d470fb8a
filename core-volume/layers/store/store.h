// SPDX-License-Identifier: GPL-3.0-or-later
// Store: one brick as plain files (docs/formats/brick.md). Reads, and exactly one way to change anything:
// apply() of a record. Applying is idempotent for every kind: folding any tail of a log, any number of times,
// gives the same tree. So the normal path, the redo after kill -9 and a geo-replication secondary are one.
//
// Of a record that touches several sets apply() does what this set owns: names in its directories, its
// objects. A name here of an object elsewhere is a marked symlink; a name elsewhere of an object here is a
// hard link in .polder/away, so that link counts are the file system's.
//
// Blocks: call it on workers, several at once. The caller makes sure that no two changes of one object or of
// one name run together (key locks of the ordering layer); readers need nothing and never see half a record.
// Errors: ESTALE when an object is gone, EUCLEAN when the brick holds what Polder did not write.
#pragma once
#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/disk.h"
#include "base/page_cache.h"
#include "changelog/record/record.h"
#include "core-volume/layer/file_attr.h"
#include "core-volume/layer/placement.h"
#include "core-volume/layers/store/fd_cache.h"
#include "core-volume/layers/store/identity.h"
#include "core-volume/layers/store/layout.h"
#include "core-volume/layers/store/listing.h"
#include "core-volume/layers/store/meta_cache.h"
#include "core-volume/layers/store/replaced.h"
#include "core-volume/layers/store/seen_names.h"
#include "core-volume/layers/store/stripes.h"

namespace polder {

struct StoreOptions {
  Gfid volume;  // expected; nil: any
  Gfid brick;   // expected; nil: any
  std::size_t open_files = 1024;
  /// A snapshot: nothing is written, not even where the file system would let us; changes are EROFS. No lock
  /// is taken: what cannot change can be looked at by many.
  bool read_only = false;
  /// Which objects are on this set; outlives the store. Null: all.
  const Placement* placement = nullptr;
};

/// What apply() cannot see in the record.
struct ApplyHints {
  /// The object whose last name goes (of an unlink, or displaced by a rename) is open: it stays, as an
  /// orphan, until reap().
  bool keep_object = false;
  /// A rename notes the names that it takes from objects of ours for those of other sets (replaced.h).
  bool note_replaced = false;
};

class StoreScan;
struct Changed;
struct ListedName;
struct ScanCursor;
struct Survey;

class Store {
 public:
  /// Makes a brick of an empty (or not yet existing) directory with nothing in the volume but its root, whose
  /// times are `time_ns`. EEXIST, ENOTEMPTY and EINVAL say what is there. Durable on return.
  static Result<void> format(Disk& disk, const std::string& path, const BrickIdentity& identity,
                             std::uint64_t time_ns);
  /// Locks the brick for this process (EBUSY names it when another has it) and empties .polder/tmp.
  static Result<std::unique_ptr<Store>> open(Disk& disk, const std::string& path,
                                             const StoreOptions& options);
  ~Store();

  const BrickIdentity& identity() const { return identity_; }
  const std::string& path() const { return path_; }

  /// Whether the object belongs to this set.
  bool owns(const Gfid& gfid) const { return !placement_ || placement_->set_of(gfid) == identity_.set; }
  /// By slot: whether an object of this brick has it.
  Result<std::vector<bool>> used_slots();

  // Looking. trusted.polder.* is never there. An object of another set: FileAttr::elsewhere.
  Result<FileAttr> lookup(const Gfid& parent, const std::string& name);  // ENOENT, ENOTDIR
  /// The same, from memory if nothing has changed since the name was looked at last. For who decides
  /// something by it; not to be told to anybody, as blocks_512 may have changed unseen.
  Result<FileAttr> lookup_again(const Gfid& parent, const std::string& name);
  Result<FileAttr> attr(const Gfid& gfid);
  Result<std::uint64_t> size(const Gfid& gfid);  // of a regular file: EISDIR, EINVAL
  Result<void> check_regular(const Gfid& gfid);  // the same errors, usually without a look at the disk
  /// What a new object inherits from its directory; cheaper than attr() and get_xattr(). ENOENT when the
  /// directory was removed and is only open.
  struct DirectoryFacts {
    std::uint32_t mode = 0;
    std::uint32_t gid = 0;
    std::uint64_t size = 0;   // as the brick's file system counts it: how many names, roughly
    std::string default_acl;  // empty: none
  };
  Result<DirectoryFacts> directory_facts(const Gfid& gfid);
  /// All that a kCreate record of the object needs, with every visible xattr.
  Result<ObjectState> state(const Gfid& gfid);
  /// Where a directory's entry is; ENODATA for the root.
  Result<EntryName> parent_of(const Gfid& directory);
  Result<std::string> readlink(const Gfid& gfid);
  Result<DirectoryPage> list(const Gfid& gfid, std::uint64_t cookie, std::uint32_t max_entries,
                             bool with_attributes);
  Result<bool> is_empty(const Gfid& directory);
  Result<std::string> get_xattr(const Gfid& gfid, const std::string& key);
  Result<std::vector<std::string>> list_xattr(const Gfid& gfid);
  Result<VolumeSpace> statfs();
  Result<Buffer> read(const Gfid& gfid, std::uint64_t offset, std::uint32_t length);
  /// The same without waiting for the disk: EAGAIN unless the page cache has all of it.
  Result<Buffer> read_cached(const Gfid& gfid, std::uint64_t offset, std::uint32_t length);
  Result<std::uint64_t> seek(const Gfid& gfid, std::uint64_t offset, int whence);

  // Changing. An error leaves the record to be applied again, or undone by another one.
  Result<void> apply(const Record& record, const ApplyHints& hints = {});
  /// apply() of a kWrite whose bytes do not travel in the record.
  Result<void> apply_write(const Record& record, ConstBytes data);
  /// The same with the bytes of another file (or another place of the same); shares extents if it can.
  Result<void> apply_copy(const Record& record, const Gfid& from, std::uint64_t from_offset);
  /// Allocates blocks without any visible effect, so that a kFallocate that follows cannot fail.
  Result<void> reserve(const Gfid& gfid, std::uint64_t offset, std::uint64_t length);
  /// From now on names that apply() takes away from objects are noted; null: no more. For a redo after a
  /// power loss: the file system may be ahead of the log, so that an old record takes the name of a newer
  /// object.
  using LostNames = std::vector<std::pair<Gfid, EntryName>>;
  void note_lost_names(LostNames* lost) { lost_names_ = lost; }
  /// Whether the file is there and has no name, though nobody has unlinked it while it was open.
  Result<bool> is_nameless(const Gfid& gfid);

  /// Cuts an append that never ended (killed between its record and its bytes) off again.
  Result<void> cut_back(const Gfid& gfid, std::uint64_t size);

  // Unlinked objects that apply() kept.
  Result<bool> is_orphan(const Gfid& gfid);
  Result<std::vector<Gfid>> orphans();
  Result<void> reap(const Gfid& gfid);
  Result<void> unmark_orphan(const Gfid& gfid);  // it has been made again

  // What apply() noted of names that were replaced; in no order.
  Result<std::vector<ReplacedName>> replaced_names();
  Result<void> forget_replaced(const Gfid& gfid, const TxId& tx);

  /// Value of the last kApplied record of a geo-replication session, and of the last kMeta record of a key.
  Result<std::optional<std::string>> applied(const std::string& session);
  Result<std::optional<std::string>> volume_fact(const std::string& key);

  /// Of the page cache (base/page_cache.h), at the time it was opened.
  const std::string& boot_id() const { return cache_.id; }
  /// Whether the page cache shows what the disk may never have had, in files that were changed since the
  /// log's checkpoint: a sync has failed since then. write_again() is what helps.
  bool cache_may_lie() const { return cache_.sync_failed && !same_boot_; }
  /// So that a sync makes the bytes that the record has changed durable as they are now. No times change.
  Result<void> write_again(const Record& record);
  /// Called on the thread of a sync of files that has failed. Set before the first one.
  void on_failed_sync(std::function<void()> listener) { failed_sync_ = std::move(listener); }
  /// Whether the kernel that this brick was last used with still runs, and no sync has failed since: then
  /// nothing that was applied is lost.
  bool same_boot() const { return same_boot_; }
  /// Whether who had it before closed it in order: then everything is on disk.
  bool was_clean() const { return was_clean_; }
  /// Which power loss was the last one; empty: none. What was not synced before it may be lost.
  const std::string& last_loss() const { return last_loss_; }
  /// From now on it was used with this one: after recovery. `last_index`: of the log.
  Result<void> remember_boot(std::uint64_t last_index);
  /// Whether the file system may have lost, or kept, what the log does not tell of: another boot, and nobody
  /// had closed the brick before. True until it has been compared with the volume's other sets.
  bool is_suspect() const { return suspect_; }
  /// Then: the last record that the log had at the first start after the power loss. What follows was changed
  /// without knowing what sets that are away since may know.
  std::uint64_t suspect_since() const { return suspect_since_; }
  Result<void> compared();
  /// Nothing changes any more before it is closed. Syncs the file system.
  Result<void> mark_clean();

  /// Up to `durable_index` everything is on disk. Where a later record made the file or cut it, its index
  /// link and its Meta are synced too: without them recovery would make or cut it again, and lose its bytes.
  Result<void> fsync(const Gfid& gfid, bool data_only, std::uint64_t durable_index);
  Result<void> syncfs();

  /// survey.h. While nothing changes.
  Result<Survey> survey();

  // changed.h. While nothing changes.
  Result<Changed> changed_since(std::uint64_t since_ns);
  Result<std::vector<ListedName>> names_since(const Gfid& directory, std::uint64_t since_ns);
  /// A mark that outlives this process: the log tells of every change up to then only. note_unlogged() is
  /// durable on return, all_logged() with the next sync.
  Result<std::optional<std::uint64_t>> unlogged_since();
  Result<void> note_unlogged(std::uint64_t since_ns);
  Result<void> all_logged();
  /// Also a mark: the file system takes its times from the machine's clock, which may be behind the log's
  /// stamps (it was set back, or another machine's is ahead). By how much at most; durable on return. Any
  /// thread.
  Result<void> note_clock_lead(std::uint64_t lead_ns);
  Result<std::uint64_t> clock_lead();
  static constexpr std::uint64_t kClockLead_ns = 500'000'000;  // not worth a note
  /// It is a snapshot that has become the brick, and has not started since (graph/restore_marker.h).
  Result<bool> is_restored();

  /// scan.h. Flat iteration over all directories, then all other objects, in gfid order; not a snapshot: what
  /// is made or removed meanwhile may be seen or not.
  std::unique_ptr<StoreScan> scan(const ScanCursor& from);

 private:
  friend class StoreScan;
  /// An inode without following links: an open file (empty name), or a name in an open directory.
  struct Object {
    FdRef fd;
    std::string name;
    struct stat native{};
    std::optional<layout::Meta> meta = {};  // if it is known
    bool is(mode_t type) const { return (native.st_mode & S_IFMT) == type; }
  };
  using Entry = NameEntry;

  Store(Disk& disk, std::string path, const StoreOptions& options);
  Result<void> open_directories();
  Result<void> refuse_if_read_only() const;
  Result<void> durable(Result<void> synced);
  Result<void> load_marks();
  Result<void> mark_suspect();
  Result<void> drop_mark(const std::string& key);
  Result<void> sync_marks();
  Result<void> empty_tmp();
  Result<void> tidy_away();

  // Finding; the caller holds the object's stripe. ESTALE.
  Result<FdRef> directory(const Gfid& gfid);
  Result<FdRef> file(const Gfid& gfid);
  Result<FdRef> index(const Gfid& gfid, bool create);
  Result<Object> locate(const Gfid& gfid);
  Result<FdRef> shared_directory(const Gfid& gfid);  // takes the stripe itself
  Result<FdRef> shared_file(const Gfid& gfid);
  /// Where this brick keeps that name of that object; null: nowhere (it owns neither directory nor object,
  /// the object is a directory whose parent is elsewhere, or the directory is gone). `type` matters only when
  /// the directory is elsewhere.
  Result<FdRef> place(const EntryName& at, const Gfid& gfid, std::uint32_t type, bool create);
  Result<FdRef> away(const Gfid& parent, bool create);
  Result<FdRef> not_a_directory(const Gfid& gfid);  // ENOTDIR or ESTALE
  Result<FileAttr> attr_locked(const Gfid& gfid);
  Result<std::string> default_acl(OpenInode& dir);

  // Names. find_entry: nullopt when the name does not exist.
  Result<std::optional<Entry>> find_entry(int dir, const std::string& name);
  /// The same for a writer, who has changed nothing yet: from memory if that is as good.
  Result<std::optional<Entry>> find_held_entry(const FdRef& dir, const EntryName& at,
                                               const Stripes::Exclusive& held);
  /// What an entry that was looked at under the lock shows. Not a directory, and ours.
  Result<Object> object_of(const Entry& entry);
  Result<bool> read_mark(int dir, const std::string& name, Entry& entry);
  Result<FileAttr> entry_attr(const FdRef& dir, const Gfid& parent, const std::string& name);
  Result<ListedEntry> listed(const FdRef& dir, const Gfid& parent, const Listing::Name& name,
                             bool with_attributes);
  Result<void> set_name(const FdRef& dir, const EntryName& at, const Gfid& gfid, std::uint32_t type);
  Result<void> set_mark(const FdRef& dir, const EntryName& at, const Gfid& gfid, std::uint32_t type);
  Result<void> move_into_place(const std::string& tmp_name, const FdRef& dir, const EntryName& at,
                               const Gfid& gfid);
  Result<void> touch(const FdRef& dir, const Gfid& gfid, std::uint64_t time_ns);
  void note_lost_name(const EntryName& at, const Gfid& gfid);

  // Inodes; the caller holds the object's stripe.
  Result<std::string> raw_xattr(const Object& object, const std::string& key);
  static void forget_xattr(const Object& object, std::string_view key);
  Result<void> set_raw_xattr(const Object& object, const std::string& key, std::string_view value);
  Result<void> remove_raw_xattr(const Object& object, const std::string& key);
  Result<std::vector<std::string>> visible_xattrs(const Object& object);
  Result<void> set_owner_and_mode(const Object& object, const ObjectState& state);
  Result<void> set_times(const Object& object, const timespec& atime, const timespec& mtime);
  Result<layout::Meta> meta_of(const Object& object);
  void remember_meta(const Entry& entry);
  Result<void> set_meta(const Object& object, const layout::Meta& meta);
  Result<void> dress(const Object& object, const Record& record, const layout::Meta& meta);
  Result<void> undress(const Object& object, const ObjectState& state);
  Result<void> stamp(const Gfid& gfid, std::uint64_t time_ns);
  Result<void> stamp(const Object& object, std::uint64_t time_ns);

  // changed.cc
  Result<bool> has_changed(int dir, const std::string& name, std::uint64_t since_ns);

  // survey.cc
  Result<void> each_index_directory(const std::function<Result<void>(int dir)>& visit);
  class InodeTable;
  Result<void> survey_index(InodeTable& inodes);
  Result<void> survey_directory(const Gfid& gfid, Survey& survey, InodeTable& inodes);
  Result<void> survey_away(Survey& survey, InodeTable& inodes);

  // One per kind of record.
  Result<void> apply_create(const Record& record);
  Result<void> apply_link(const Record& record);
  Result<void> apply_unlink(const Record& record, const ApplyHints& hints);
  Result<void> apply_rename(const Record& record, const ApplyHints& hints);
  Result<void> apply_setattr(const Record& record);
  Result<void> apply_xattr(const Record& record);
  Result<void> apply_destructive(const Record& record);
  Result<void> apply_removed(const Record& record);
  Result<void> apply_fact(std::string_view kind, const std::string& name,
                          const std::optional<std::string>& value);
  Result<std::optional<std::string>> fact(std::string_view kind, const std::string& name);

  Result<void> make_object(const Record& record);
  Result<void> make_regular(const Record& record, const FdRef& index_dir);
  Result<void> make_directory(const Record& record);
  Result<void> restate(const Record& record);
  struct Renamed;
  Result<void> rename_entry(const Record& record, const Renamed& names, const ApplyHints& hints);
  Result<void> exchange_entries(const Record& record, const FdRef& from_dir, const FdRef& to_dir);
  Result<void> set_name_if_exists(const FdRef& dir, const EntryName& at, const Gfid& gfid,
                                  std::uint32_t type);
  Result<FdRef> held_place(const EntryName& at, const Gfid& gfid, bool create);
  Result<void> clear_name(const EntryName& at, const Gfid& gfid);
  Result<void> move_name(const EntryName& at, const Gfid& gfid, std::uint32_t type);
  Result<void> touch_if_here(const Gfid& directory, std::uint64_t time_ns);
  Result<void> moved(const Gfid& gfid, const EntryName& to, std::uint64_t time_ns);
  Result<void> drop_object(const Gfid& gfid, bool last_link, std::uint64_t time_ns, const ApplyHints& hints);
  Result<void> drop_found(const Gfid& gfid, const Object& object, bool last_link, std::uint64_t time_ns,
                          const ApplyHints& hints);
  Result<void> remove_directory(const Gfid& gfid);
  Result<void> remove_index_link(const Gfid& gfid);
  Result<void> remove_all_names(const Gfid& gfid, ino_t inode);
  Result<bool> is_made_after(const Record& record);
  static bool bytes_are_newer(const layout::Meta& meta, const Record& record);
  Result<void> change_extent(const FdRef& file, const Record& record);
  Result<void> zero_by_hand(const FdRef& file, const Record& record);
  Result<void> note_replaced(const Record& record);
  Result<bool> still_has(const Gfid& gfid, const EntryName& name);
  Result<void> mark_orphan(const Gfid& gfid);
  Result<void> named_again(const Gfid& gfid);
  Result<void> load_orphan_directories();
  bool is_orphan_directory(const Gfid& gfid);
  void set_orphan_directory(const Gfid& gfid, bool orphan);

  Disk& disk_;
  const std::string path_;
  const bool read_only_;
  const Placement* const placement_;
  BrickIdentity identity_;
  PageCache cache_;
  std::function<void()> failed_sync_;
  bool same_boot_ = false;
  bool was_clean_ = false;
  std::string last_loss_;
  bool suspect_ = false;
  std::uint64_t suspect_since_ = UINT64_MAX;  // until the log could be asked
  DiskFile root_;                             // holds the lock of the brick
  DiskFile dirs_, index_root_, orphans_, away_, replaced_;
  OpenInode tmp_;
  FdCache fds_;
  Stripes stripes_;
  SeenNames seen_names_;
  MetaCache metas_;
  ListingCache listings_;
  DirectoryTimes directory_times_;
  LostNames* lost_names_ = nullptr;
  std::mutex clock_lead_mutex_;
  std::atomic<std::uint64_t> clock_lead_ns_{0};  // noted by this process
  std::mutex orphans_mutex_;
  std::set<Gfid> orphan_directories_;  // removed while open: no inode's link count says so
};

}  // namespace polder
