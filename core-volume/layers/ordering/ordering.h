// SPDX-License-Identifier: GPL-3.0-or-later
// OrderingLayer: where a set's changes get their order. Each change: key locks → on one worker, in one go:
// validate completely, build the absolute record, Journal::append, Store::apply, Journal::applied → reply.
// So an operation that failed validation left nothing, and one that was appended happens, even after kill -9.
// Reads take no key locks: the store shows them no half change.
//
// In a volume of several sets, a change that touches more than this one is a transaction (set_peer.h):
// lead.cc where this set leads, participant.cc where it has a part, closing.cc for what outlives the
// operation.
//
// Owned by the loop thread: open handles, the retry table, name hints. Durable after fsync() or sync(); the
// log is synced at most `sync_interval` after any append.
#pragma once
#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>

#include "base/concurrency.h"
#include "base/seams.h"
#include "base/short_work.h"
#include "changelog/journal/journal.h"
#include "core-volume/layer/file_ops.h"
#include "core-volume/layer/invalidation.h"
#include "core-volume/layer/posix_rules.h"
#include "core-volume/layer/set_peer.h"
#include "core-volume/layers/ordering/data_sync.h"
#include "core-volume/layers/ordering/fetch_patience.h"
#include "core-volume/layers/ordering/keys.h"
#include "core-volume/layers/ordering/name_hints.h"
#include "core-volume/layers/ordering/open_files.h"
#include "core-volume/layers/ordering/retry_table.h"
#include "core-volume/layers/ordering/space_budget.h"
#include "core-volume/layers/ordering/space_reserve.h"
#include "core-volume/layers/ordering/told_files.h"
#include "core-volume/layers/ordering/transactions.h"
#include "core-volume/layers/store/store.h"

namespace polder {

struct OrderingOptions {
  std::uint32_t inline_data_bytes = 4096;  // changelog.inline-data: writes up to this travel in the log
  nanoseconds sync_interval = std::chrono::milliseconds(40);
  nanoseconds maintain_interval = std::chrono::seconds(5);
  nanoseconds orphan_grace = std::chrono::seconds(60);  // after a start, for clients to open them again
  std::uint64_t retry_tail_records = 16384;             // of the log, read at start for the retry table
  /// From this size of a directory on, `distribute.spread auto` puts its new files anywhere: as the brick's
  /// file system counts, some 16,000 names.
  std::uint64_t large_directory_bytes = 512 << 10;
  /// The volume is a geo-replication secondary: what a power loss takes of names and objects comes again from
  /// its spool, and nothing is mended before.
  bool is_secondary = false;
  bool short_work_inline = false;  // base/short_work.h: off, every operation goes to the workers
};

/// Of the journal: keeps it for the transactions that are not closed.
inline const std::string kTransactionsCursor = "transactions";

class OrderingLayer final : public FileOps, public InvalidationSource, public SetPeer {
 public:
  /// All references outlive the layer. `placement` and `peers` are null where there is one set only, and ever
  /// will be.
  OrderingLayer(Seams& seams, Journal& journal, Store& store, const OrderingOptions& options,
                const Placement* placement = nullptr, SetPeers* peers = nullptr);
  ~OrderingLayer() override;

  /// Redoes what was in flight when the last process ended, then starts the background work. Before any
  /// operation.
  Task<Result<void>> start();
  /// After the last operation has ended: syncs the log and ends the background work.
  Task<Result<void>> stop();

  void on_invalidation(std::function<void(const Invalidation&)> listener) override;
  std::size_t open_handles() const { return opens_.size(); }
  // For statedumps.
  const OpenFiles& open_files() const { return opens_; }
  std::size_t orphans() const { return orphans_.size(); }
  std::size_t name_hints() const { return hints_.size(); }
  std::size_t retries_kept() const { return retries_.size(); }

  Task<Result<FileAttr>> lookup(const OpContext& ctx, Gfid parent, std::string_view name) override;
  Task<Result<FileAttr>> getattr(const OpContext& ctx, Gfid gfid) override;
  Task<Result<std::string>> readlink(const OpContext& ctx, Gfid gfid) override;
  Task<Result<DirectoryPage>> readdir(const OpContext& ctx, Gfid gfid, std::uint64_t cookie,
                                      std::uint32_t max_entries, bool with_attributes) override;
  Task<Result<VolumeSpace>> statfs(const OpContext& ctx) override;
  Task<Result<FileAttr>> mknod(const OpContext& ctx, Gfid parent, std::string_view name,
                               const NewObject& object) override;
  Task<Result<FileAttr>> mkdir(const OpContext& ctx, Gfid parent, std::string_view name,
                               const NewObject& object) override;
  Task<Result<FileAttr>> symlink(const OpContext& ctx, Gfid parent, std::string_view name,
                                 std::string_view target) override;
  Task<Result<Opened>> create(const OpContext& ctx, Gfid parent, std::string_view name,
                              const NewObject& object, int flags) override;
  Task<Result<FileAttr>> link(const OpContext& ctx, Gfid gfid, Gfid parent, std::string_view name) override;
  Task<Result<void>> unlink(const OpContext& ctx, Gfid parent, std::string_view name) override;
  Task<Result<void>> rmdir(const OpContext& ctx, Gfid parent, std::string_view name) override;
  Task<Result<void>> rename(const OpContext& ctx, Gfid from_parent, std::string_view from_name,
                            Gfid to_parent, std::string_view to_name, unsigned flags) override;
  Task<Result<FileAttr>> setattr(const OpContext& ctx, Gfid gfid, const SetAttr& change) override;
  Task<Result<std::string>> getxattr(const OpContext& ctx, Gfid gfid, std::string_view key) override;
  Task<Result<std::vector<std::string>>> listxattr(const OpContext& ctx, Gfid gfid) override;
  Task<Result<void>> setxattr(const OpContext& ctx, Gfid gfid, std::string_view key, std::string_view value,
                              int flags) override;
  Task<Result<void>> removexattr(const OpContext& ctx, Gfid gfid, std::string_view key) override;
  Task<Result<Opened>> open(const OpContext& ctx, Gfid gfid, int flags) override;
  Task<Result<void>> release(const OpContext& ctx, Gfid gfid, HandleId handle) override;
  Task<Result<Buffer>> read(const OpContext& ctx, Gfid gfid, HandleId handle, std::uint64_t offset,
                            std::uint32_t length) override;
  Task<Result<WriteResult>> write(const OpContext& ctx, Gfid gfid, HandleId handle, std::uint64_t offset,
                                  Buffer data, bool append) override;
  Task<Result<void>> fsync(const OpContext& ctx, Gfid gfid, bool data_only) override;
  Task<Result<void>> fallocate(const OpContext& ctx, Gfid gfid, int mode, std::uint64_t offset,
                               std::uint64_t length) override;
  Task<Result<std::uint64_t>> seek(const OpContext& ctx, Gfid gfid, std::uint64_t offset,
                                   int whence) override;
  Task<Result<std::uint64_t>> copy_range(const OpContext& ctx, Gfid from, std::uint64_t from_offset, Gfid to,
                                         std::uint64_t to_offset, std::uint64_t length) override;
  Task<Result<FileLock>> test_lock(const OpContext& ctx, Gfid gfid, const FileLock& lock) override;
  Task<Result<void>> set_lock(const OpContext& ctx, Gfid gfid, const FileLock& lock, bool wait) override;
  Task<Result<void>> end_session(const OpContext& ctx) override;
  Task<Result<void>> sync(const OpContext& ctx) override;
  Task<Result<void>> replay(const OpContext& ctx, std::span<const Record> records) override;

  // SetPeer (participant.cc, closing.cc).
  Task<Result<Shown>> peek(EntryName entry) override;
  Task<Result<EntryName>> parent_of(Gfid directory) override;
  Task<Result<TxFacts>> prepare(Record intended, bool tree_only) override;
  Task<Result<std::optional<FileAttr>>> commit(Record decided, std::uint64_t closed_below) override;
  Task<void> abort(TxId id) override;
  Task<Result<TxOutcome>> outcome(TxId id) override;
  std::vector<Record> open_decisions() override;
  std::vector<Record> open_echoes() override;
  Task<Result<void>> adopt(Record decided) override;
  Task<Result<std::set<TxId>>> overtaken(std::vector<Record> decided) override;
  bool is_blocked(const Record& decided) override;
  Task<void> settle_prepared() override;
  Task<Result<bool>> has_lost(Record decided) override;
  void delivered(TxId id, std::uint32_t set) override;
  bool is_stable(TxId id) override;
  void closed(std::uint32_t leader, std::uint64_t below) override;
  bool has_unsynced(std::uint32_t session) override;
  Task<Result<void>> sync_session(std::uint32_t session) override;
  /// Those of which has_unsynced() is true.
  std::set<std::uint32_t> unsynced_sessions() const;

  /// The brick is given up (its disk is gone, or it is being stopped): whoever waits here for the outcome of
  /// a transaction gets EIO, and nothing is appended any more.
  void abandon();

  /// After a power loss another set may know of a decision that this one's log has lost. Until it has been
  /// asked (adopt()), no transaction is closed: it would seem to be one of those that are.
  void hold_closing(bool hold) { closing_held_ = hold; }

  /// Clients of before the start may have files open that they have not opened again: until
  /// clients_are_back(), or for `orphan_grace`, nothing that has no name goes. start() does the same where it
  /// finds such files.
  void await_clients();
  /// All of them have opened again what they had, or have ended.
  void clients_are_back();

  /// The sets have settled what the start found: what somebody could not take then is sent again now and
  /// then, and what has no name may go. Without others there is nothing to settle.
  void settled() {
    settled_ = true;
    settling_.notify_all();
  }

  /// After a power loss a set that is away may show a name that nobody else knows of: what has no name here
  /// now is kept, however long that set stays away, until release_orphans().
  void keep_orphans() { orphans_to_compare_ = orphans_; }
  Task<void> release_orphans();

  /// What is noted as replaced (replaced.h); not `of_this_start`: only before it.
  Task<Result<std::vector<ReplacedName>>> replaced_names(bool of_this_start);
  Task<Result<void>> forget_replaced(std::vector<ReplacedName> names);
  /// Whether this set has done its part of the transaction, and did not just hear that it does not happen.
  bool took_part(const TxId& id) const;
  /// Of one that this set leads: every part is stable.
  bool is_closed(const TxId& id) const;

  /// As long as the guard is held no object without a name goes: the store is being compared.
  Task<Result<KeyLocks::Guard>> hold_reaping();

  /// Transactions that are prepared or decided and not closed: 0 when the set is at rest.
  std::size_t open_transactions() const {
    return transactions_.prepared.size() + transactions_.decisions.size() + transactions_.leading.size();
  }

  /// Those whose leader is to be asked for the outcome: they hold their keys until then.
  std::size_t prepared_transactions() const { return transactions_.prepared.size(); }

  /// Where short operations run, and how often they had to leave the loop thread.
  const ShortWork& short_work() const { return short_work_; }
  /// Whether some session has the object open.
  bool is_open(const Gfid& gfid) const { return opens_.is_open(gfid); }

 private:
  /// Reads and writes of more bytes go to the workers: the loop thread has others to serve.
  static constexpr std::uint32_t kShortTransferMax_bytes = 64 << 10;
  using Keys = std::vector<KeyLocks::Key>;
  struct Led;  // lead.h
  /// How a record is applied, where it is not just Store::apply(record).
  struct Applying {
    std::function<Result<void>(const Record&)> apply;  // empty: Store::apply with the hints
    ApplyHints hints;
    /// Undoes the record if the file system refuses it after all (an xattr too large for it, say).
    std::optional<Record> undo;
  };

  // Key locks (others: keys.h).
  static KeyLocks::Key reaping_key(KeyLocks::Mode mode);  // the last one that is taken

  // On a worker, with the keys held (commit.cc).
  Record begin(const OpContext& ctx, RecordKind kind, const Gfid& gfid);
  Result<void> commit(Record& record, const Applying& how = {});
  // The same in two steps, with other sets between them. After the second has failed: no more changes.
  Result<void> append(Record& record);
  Result<void> apply_appended(const Record& record, const ApplyHints& hints);
  Result<void> sync_before_unlogged(const Gfid& gfid);
  Result<void> undo(Record& failed, const Applying& how, Error why);
  Result<void> take_back_bytes(const Record& failed);
  Result<void> note_again();
  void note_later(std::uint64_t index);
  Result<FileAttr> attr_after(const Gfid& gfid);
  /// Whether a change of so many bytes has room (commit.cc). On a worker, and not within short work: it may
  /// sync the file system.
  Result<void> check_space(std::uint64_t bytes);
  /// The same, before short work: to be returned where the work has seen that it needs the room.
  Task<Result<void>> room_for(std::uint64_t bytes);
  /// Waits until more orphans are gone than `before` (of reaped_). False: none will be soon.
  Task<bool> more_is_reaped(std::uint64_t before);
  Result<bool> is_above(const Gfid& above, Gfid gfid);
  // What the file system refuses after all (heal.cc).
  /// A record whose change is not known to have happened as a whole, and what will settle it.
  struct Unsettled {
    Record record;
    std::optional<Record> inverse;  // takes it back; without one it is applied after all
    bool happened = false;          // only the log has not been told
  };
  Result<std::uint64_t> append_record(Record& record);
  bool made_room(const Record& record, const Error& why);
  void break_at(Unsettled unsettled, const Error& why);
  Result<void> settle_record(Unsettled& unsettled);
  Result<std::vector<Record>> heal_on_worker();
  Task<void> heal();
  // On the loop, after the worker: does nothing unless the record was appended.
  void finish(const OpContext& ctx, const Record& record);
  void tell(const Record& record, std::uint32_t session);
  const RetryTable::Done* done_before(const OpContext& ctx) const;
  Task<Result<FileAttr>> attr_on_worker(Gfid gfid);
  Task<Result<FileAttr>> attr_of_done(Gfid gfid);

  // Making (create.cc).
  using StateOf = std::function<Result<ObjectState>(const ParentFacts&)>;
  Task<Result<FileAttr>> make(const OpContext& ctx, Gfid parent, std::string_view name, StateOf state_of,
                              std::uint64_t bytes = 0);
  struct Making;
  Result<FileAttr> make_on_worker(const OpContext& ctx, Making& making);
  std::uint16_t slot_for(const Gfid& parent, const Store::DirectoryFacts& facts, std::uint32_t mode);
  Task<Result<FileAttr>> make_elsewhere(const OpContext& ctx, Making& making);
  Task<Result<Opened>> open_existing(const OpContext& ctx, Gfid gfid, int flags, bool created);

  // Names (names.cc, rename.cc).
  Task<Result<void>> remove(const OpContext& ctx, Gfid parent, std::string_view name, bool directory);
  struct Removal;
  Result<void> remove_on_worker(const OpContext& ctx, Removal& removal, Record& record);
  Task<Result<void>> remove_across(const OpContext& ctx, const Removal& removal);
  Task<Result<FileAttr>> link_across(const OpContext& ctx, Gfid gfid, EntryName entry);
  struct Renaming;
  Keys keys_of(const Renaming& renaming) const;
  Result<void> rename_on_worker(const OpContext& ctx, Renaming& renaming, Record& record);
  Task<Result<void>> rename_across(const OpContext& ctx, const Renaming& renaming);
  Task<Result<void>> rename_prepared(const OpContext& ctx, Led& led, const Renaming& renaming);
  Result<RenameFacts> rename_facts(const Renaming& renaming, const FileAttr& source,
                                   const std::optional<FileAttr>& target);

  // Attributes (attributes.cc).
  Result<FileAttr> setattr_on_worker(const OpContext& ctx, const Gfid& gfid, const SetAttr& change,
                                     bool truncated, Record& truncate, Record& setattr);
  Task<Result<void>> change_xattr(const OpContext& ctx, Gfid gfid, std::string key,
                                  std::optional<std::string> value, int flags);
  Result<void> xattr_on_worker(const OpContext& ctx, const Gfid& gfid, const std::string& key,
                               const std::optional<std::string>& value, int flags, const Result<void>& room,
                               Record& record);

  // Data (data.cc).
  Result<WriteResult> write_on_worker(const OpContext& ctx, const Gfid& gfid, std::uint64_t offset,
                                      const Buffer& data, bool append, const Result<void>& room,
                                      Record& record);
  Result<void> fallocate_on_worker(const OpContext& ctx, const Gfid& gfid, int mode, std::uint64_t offset,
                                   std::uint64_t length, const Result<void>& room, Record& record);
  struct Copy;
  Result<std::uint64_t> copy_on_worker(const OpContext& ctx, Copy& copy, Record& record);
  Task<Result<void>> refuse_handle(Gfid gfid);
  Task<void> fetch(Gfid gfid, std::uint64_t offset, std::uint32_t length, Result<Buffer>& cached);
  Task<Result<void>> sync_object(Gfid gfid, bool data_only);

  // Replay (replay.cc).
  Result<void> replay_on_worker(std::vector<Record>& records, const std::vector<ApplyHints>& hints);
  std::map<Gfid, std::uint64_t> orphans_of(const std::vector<Record>& records,
                                           const std::vector<ApplyHints>& hints);

  // Transactions: this set's part (participant.cc).
  std::uint32_t set() const { return store_.identity().set; }
  Keys keys_here(const Record& record) const;
  std::vector<std::string> hidden_by(const Record& record) const;
  Result<TxFacts> facts_here(const Record& intended, const Result<void>& room);
  Result<std::optional<FileAttr>> object_facts(const Gfid& gfid, bool& empty);
  void hold(Record intended, KeyLocks::Guard held);
  void let_go(const TxId& id);
  Task<Result<void>> until_shown(const std::string& key);
  Task<Result<void>> apply_echo(const Record& decided);
  void forget_hints(const Record& record);
  Task<Result<void>> log_only(Record& record);
  void noted(std::uint32_t session, std::uint64_t index);

  // Transactions that this set leads (lead.cc). prepare_all, decide; or prepare_all, give_up.
  Result<SetPeer*> peer(std::uint32_t set) const;
  std::vector<std::uint32_t> sets_of(const Record& record) const;
  Task<Result<void>> prepare_all(Led& led);
  Task<Result<void>> prepare_each(Led& led);
  Task<void> give_up(Led& led);
  Task<Result<std::optional<FileAttr>>> decide(const OpContext& ctx, Led& led);
  Task<Result<std::optional<FileAttr>>> carry_out(const OpContext& ctx, Led& led);
  Task<void> deliver(const Record& record, std::uint32_t set, std::optional<FileAttr>& attr);
  Task<Result<bool>> is_above_across(Gfid above, Gfid gfid);

  // Transactions that outlive their operation (closing.cc).
  std::uint64_t closed_below() const;
  Task<void> close_loop();
  Task<void> redeliver();
  bool can_close(const TxTable::Decision& decision) const;
  Task<Result<void>> close_decisions();
  /// A kTxClosed of this set.
  struct Closing {
    std::uint64_t index = 0;  // 0: none
    std::uint64_t below = 0;
  };
  void forget_closed(const Closing& closing);
  Task<Result<void>> move_transaction_cursor();
  bool knows(const TxId& id) const;
  Result<std::set<TxId>> overtaken_since(std::uint64_t index, const std::vector<Record>& decided);
  Result<void> load_transactions();
  void note_transaction(const Record& record);
  Task<Result<void>> hold_prepared_again();

  // What was replaced (replaced.cc).
  using ReplacedKey = std::pair<Gfid, TxId>;
  struct Replaced {
    std::uint64_t index = 0;   // of the record here
    std::uint32_t by_set = 0;  // of the object that has the name now
  };
  bool replaces_here(const Record& record) const;
  bool victim_stays(const Record& record) const;
  void hold_replaced(const Record& record);
  bool is_replaced(const Gfid& gfid) const;
  Task<void> forget_replaced_loop();
  Task<Result<void>> forget_stable_replaced();
  Result<bool> has_lost_object(const Record& decided);
  Result<bool> has_lost_name(const Record& decided);

  class Recovery;  // recovery.h
  class Found;     // found.h
  class StartLog;  // start_log.h
  struct Extent {
    std::uint64_t begin = 0, end = 0;
  };
  Result<void> recover();

  // Background (background.cc).
  Task<void> sync_loop();
  Task<void> maintain_loop();
  Task<void> reap_after_grace();
  Task<Result<void>> reap(Gfid gfid);
  /// An object lost its last name while it was open. Without its key held.
  /// `removed_by`: index of the record that took it.
  Task<void> orphaned(Gfid gfid, std::uint64_t removed_by);
  /// Whether somebody may have files open of whom opens_ does not know (await_clients()).
  bool awaits_clients() const { return seams_.clock.boot_time() < grace_end_; }
  /// Whether the object outlives its last name: somebody has it open or may have, or a power loss that undoes
  /// the removal would need it.
  bool must_stay(const Gfid& gfid) const;
  /// Of a large file ext4 and btrfs need 0.1 to 0.4 s a GiB to free it, too long for short work. So it
  /// outlives its last name, too, and is reaped on a worker.
  static bool is_large(const FileAttr& file);
  /// Whether the record takes the last name of one of this set. On a worker, before it is applied.
  bool takes_large(const Record& record) const;
  /// Whether the file loses as much as a large one has, when it has this size.
  Task<bool> frees_much(Gfid gfid, std::uint64_t size);
  Task<void> reap_if_orphan(Gfid gfid);
  Task<void> reap_replaced();
  Task<void> reap_again();

  Seams& seams_;
  Journal& journal_;
  Store& store_;
  const OrderingOptions options_;
  const Placement* const placement_;
  SetPeers* const peers_;

  // The loop thread's.
  ShortWork short_work_;
  FetchPatience fetch_patience_;
  KeyLocks locks_;
  OpenFiles opens_;
  RetryTable retries_;
  NameHints hints_;
  std::function<void(const Invalidation&)> listener_;
  std::map<Gfid, std::uint64_t> kept_until_;  // removed, by index of the record that must be stable first
  std::set<Gfid> orphans_;                    // without a name, kept for open handles or for the grace time
  std::set<Gfid> orphans_to_compare_;         // of them, those of keep_orphans()
  std::set<Gfid> unreaped_;                   // of them, those that the disk has refused to remove
  int reaping_ = 0;                           // of them, how many are being removed
  std::uint64_t reaped_ = 0;                  // removals of orphans that have ended
  Event reaped_some_;
  std::map<ReplacedKey, Replaced> replaced_;  // noted by the store, not stable everywhere
  Event replaced_some_;
  nanoseconds grace_end_{};
  Event grace_changed_;
  Event appended_;
  TxTable transactions_;
  HiddenNames hidden_;
  Event decided_;
  std::atomic<bool> abandoned_{false};
  std::unordered_map<std::uint32_t, std::uint64_t> session_index_;  // last record of each session
  std::vector<std::pair<TxId, Keys>> restored_locks_;               // of a start
  bool closing_held_ = false;
  bool settled_;
  Event settling_;
  Closing closing_;  // not known to be stable
  std::uint64_t transaction_cursor_ = 0;
  TaskGroup background_{"ordering"};

  // Shared by workers.
  std::atomic<bool> dirty_{false};  // something was appended since the last sync began
  std::mutex unnoted_mutex_;
  std::vector<std::uint64_t> unnoted_;  // applied, but the log could not be told yet
  SpaceReserve reserve_;
  SpaceBudget space_;
  DataSync data_sync_;
  ToldFiles told_files_;
  std::atomic<std::uint64_t> broken_at_{0};  // index of a record that could be neither applied nor undone
  std::atomic<int> broken_why_{0};           // errno
  std::mutex unsettled_mutex_;
  std::deque<Unsettled> unsettled_;  // those records, of changes that were under way together
};

}  // namespace polder
