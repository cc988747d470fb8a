// SPDX-License-Identifier: GPL-3.0-or-later
// SimTree: the inodes of a simulated file system, twice: as written (what system calls see) and as durable
// (what a power loss leaves for certain). Between the two lie a log of metadata transactions, in the order
// in which they happened, and the dirty pages of files.
//
// The model is that of a journalling file system with ordered metadata, made as strict as POSIX allows. A
// sync of a file makes its bytes and attributes durable but not its names; a sync of a directory makes
// durable the log up to the last transaction that touches the directory. After a power loss a prefix of the
// log that remains has happened; each page that was written and not synced is there or not by itself; a
// file that grew by writing may have any length in between, and then its times have changed, too.
#pragma once
#include <sys/stat.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "tests/support/sim_data.h"

namespace polder {

using Inode = std::uint64_t;  // 0: none

struct SimMeta {
  mode_t mode = 0;
  uid_t uid = 0;
  gid_t gid = 0;
  dev_t device = 0;
  nlink_t links = 0;
  Inode parent = 0;    // of a directory
  std::string target;  // of a symlink
  timespec atime{}, mtime{}, ctime{};
  std::map<std::string, std::string> xattrs;

  bool is_directory() const { return S_ISDIR(mode); }
  bool is_file() const { return S_ISREG(mode); }
  bool is_symlink() const { return S_ISLNK(mode); }
};

struct SimNode {
  SimMeta meta;
  std::map<std::string, Inode, std::less<>> entries;  // of a directory
  SparseData data;                                    // of a file
  // Of a durable file: older transactions must not undo what its own sync brought.
  std::uint64_t synced_at = 0;  // position of the first transaction after the sync

  // Of the written state only.
  std::map<std::uint64_t, std::uint64_t> dirty;  // page → position of the first transaction after its bytes
  std::uint64_t last_change = 0;                 // position of the last transaction that touches the inode
  std::uint64_t last_data_change = 0;            // the same for its bytes
  int handles = 0;
  bool linkable = false;  // O_TMPFILE: may get its first name
};

class SimTree {
 public:
  static constexpr Inode kRoot = 1;

  // The parts of a transaction; each is absolute.
  struct SetMeta {
    Inode inode;
    SimMeta meta;
  };
  struct SetEntry {
    Inode directory;
    std::string name;
    Inode child;  // 0 removes
  };
  struct ZeroRange {
    Inode inode;
    std::uint64_t from, to;
  };
  struct SetSize {
    Inode inode;
    std::uint64_t size;
  };
  struct Forget {
    Inode inode;
  };
  using Edit = std::variant<SetMeta, SetEntry, ZeroRange, SetSize, Forget>;

  explicit SimTree(timespec now);

  SimNode& node(Inode inode) { return written_.at(inode); }
  const std::map<Inode, SimNode>& nodes() const { return written_; }
  Inode add(SimMeta meta);
  Inode lookup(Inode directory, std::string_view name) const;

  /// Changes the written state by its edits, as one transaction.
  void commit(std::vector<Edit> edits);
  /// Writes pages; not a transaction. Stops where `may_add_page` says no, and returns the bytes written.
  std::size_t write(Inode inode, std::uint64_t offset, ConstBytes data,
                    const std::function<bool()>& may_add_page);
  void set_page(Inode inode, std::uint64_t index, SparseData::PageRef page);
  /// Frees the inode when it has neither name nor handle.
  void release(Inode inode);

  void sync(Inode inode);
  void sync_all();
  /// A sync that failed: the kernel takes the pages for clean although they never reached the disk.
  void fail_sync(Inode inode) { node(inode).dirty.clear(); }
  void fail_sync_all() {
    for (auto& [inode, node] : written_) node.dirty.clear();
  }

  /// Changes one bit of what is on disk, and of what programs read unless they have written the page since.
  /// False when there is no such page there: a hole, or never written out.
  bool flip_bit(Inode inode, std::uint64_t byte, unsigned bit);

  /// Loses what a power loss may lose. Nothing is open afterwards.
  void crash(std::uint64_t seed);
  void forget_handles();

  std::uint64_t used_pages() const { return used_pages_; }

 private:
  struct Transaction {
    std::vector<Edit> edits;
  };

  static void apply(std::map<Inode, SimNode>& nodes, const Edit& edit, std::uint64_t position);
  void touch(const Edit& edit, std::uint64_t position);
  void settle_dirty(Inode inode, std::uint64_t from, std::uint64_t to, std::uint64_t position);
  void sync_file(Inode inode);
  /// Makes the log durable up to and including `position`.
  void flush_log(std::uint64_t position);
  void crash_data(std::uint64_t surviving_end, std::uint64_t seed);
  void count_pages();

  std::map<Inode, SimNode> written_;
  std::map<Inode, SimNode> durable_;
  std::deque<Transaction> log_;
  std::uint64_t log_start_ = 1;  // position of log_.front()
  Inode next_inode_ = kRoot + 1;
  std::uint64_t used_pages_ = 0;
};

/// splitmix64: enough for choices in a test, and the same everywhere.
class SimChoice {
 public:
  explicit SimChoice(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next();
  std::uint64_t below(std::uint64_t bound) { return next() % bound; }

 private:
  std::uint64_t state_;
};

}  // namespace polder
