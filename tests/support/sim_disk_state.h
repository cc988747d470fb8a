// SPDX-License-Identifier: GPL-3.0-or-later
// What SimDisk is made of, without its lock: open files, paths, faults, and the operations that several
// calls share. Used by sim_disk*.cc only.
#pragma once
#include <atomic>
#include <map>
#include <optional>
#include <source_location>
#include <string>
#include <vector>

#include "tests/support/sim_disk.h"
#include "tests/support/sim_tree.h"

namespace polder {

struct SimHandle {
  Inode inode = 0;
  int flags = 0;

  bool is_path() const { return (flags & O_PATH) != 0; }
  bool readable() const { return (flags & O_ACCMODE) != O_WRONLY; }
  bool writable() const { return (flags & O_ACCMODE) != O_RDONLY; }
};

/// Where a path leads: its last component in its directory.
struct SimPlace {
  enum class Kind { normal, dot, dotdot, root };
  Inode parent = 0;
  std::string name;
  Inode target = 0;  // 0: there is none
  Kind kind = Kind::normal;
  bool slash = false;  // the path ends with one: a directory is meant

  Result<void> check_length() const;
};

struct SimDisk::State {
  State(SimFault& fault, const Clock* clock) : fault(fault), clock(clock), tree(now()) {}

  timespec now();
  SimMeta& meta(Inode inode) { return tree.node(inode).meta; }

  // Faults.
  Result<void> count_call(std::string_view name);
  bool is_dead() const { return fault.is_dead() || (shared_fault && shared_fault->is_dead()); }
  bool has_room() const;

  // Open files.
  Result<SimHandle> any_handle(int fd) const;  // O_PATH, too
  Result<SimHandle> handle(int fd) const;
  int add_handle(Inode inode, int flags);
  bool is_unread_fifo(Inode inode);
  void close(int fd);
  void close_all();

  // Paths (sim_path.cc).
  Result<SimPlace> resolve(int dir, const std::string& path, bool follow);
  /// The same, but the length of the last component is not judged yet.
  Result<SimPlace> find(int dir, const std::string& path, bool follow);
  /// The object of (dir, name), `dir` itself when the name is empty.
  Result<Inode> object(int dir, const std::string& name);
  /// Where a new name may be made. EEXIST when it is taken.
  Result<SimPlace> new_name(int dir, const std::string& name, bool for_directory = false);

  // Changes of the tree; each is one transaction.
  Result<Inode> create(const SimPlace& place, mode_t mode, dev_t device, const std::string& target);
  Result<Inode> create_unnamed(Inode directory, mode_t mode);
  Result<void> add_name(const SimPlace& place, Inode inode);
  void remove_name(const SimPlace& place);
  void move_name(const SimPlace& from, const SimPlace& to);
  void exchange_names(const SimPlace& first, const SimPlace& second);
  void set_meta(Inode inode, const SimMeta& meta) { tree.commit({SimTree::SetMeta{inode, meta}}); }

  // Attributes.
  struct stat stat_of(Inode inode);
  Result<void> set_mode(Inode inode, mode_t mode);
  Result<void> set_times(Inode inode, const timespec times[2]);
  Result<std::string> get_xattr(Inode inode, const std::string& key);
  Result<void> set_xattr(Inode inode, const std::string& key, std::string_view value, int flags);
  Result<void> remove_xattr(Inode inode, const std::string& key);
  std::vector<std::string> list_xattr(Inode inode);

  // Bytes.
  Result<SimHandle> file_for_reading(int fd);
  Result<SimHandle> file_for_writing(int fd);
  Result<void> write(int fd, std::span<const ConstBytes> data, std::uint64_t offset);
  void changed(Inode inode, std::vector<SimTree::Edit> edits);

  /// Of all disks: never used twice, and far from the kernel's.
  static inline std::atomic<int> next_fd = 1'000'000;

  SimFault& fault;
  SimFault* shared_fault = nullptr;
  const Clock* clock;
  std::int64_t own_time_ns = 1'000'000'000'000'000'000;
  SimTree tree;
  std::map<int, SimHandle> handles;
  std::map<Inode, int> locks;  // owner by handle
  std::uint64_t boots = 1;
  bool read_only = false;
  std::string mount_point;
  std::uint64_t capacity_pages = 0;
  bool reflink = true;
  std::function<void()> on_syncfs;
  Trace* trace = nullptr;
  std::size_t actor = 0;  // in the trace

 private:
  Result<SimPlace> walk(Inode start, const std::string& path, bool follow);
  SimMeta new_meta(Inode directory, mode_t mode, dev_t device, const std::string& target);
  void inherit_acl(const SimMeta& directory, SimMeta& meta);
};

/// Locks the disk, counts the call, and knows whether it fails: `TRY(call.allowed)` first.
struct SimDisk::Call {
  explicit Call(SimDisk& disk, std::source_location where = std::source_location::current())
      : name(announced(disk, where.function_name())),
        lock(disk.mutex_),
        state(*disk.state_),
        allowed(state.count_call(name)) {}
  std::string_view name;
  std::lock_guard<std::mutex> lock;
  State& state;
  Result<void> allowed;

 private:
  /// `function`: "virtual polder::Result<void> polder::SimDisk::fsync(int)".
  static std::string_view announced(SimDisk& disk, std::string_view function) {
    function = function.substr(0, function.rfind('('));
    function = function.substr(function.rfind(':') + 1);
    if (disk.on_call_) disk.on_call_(function);
    return function;
  }
};

/// A call that changes something.
struct SimDisk::Change : Call {
  explicit Change(SimDisk& disk, std::source_location where = std::source_location::current())
      : Call(disk, where) {
    if (allowed && state.read_only) allowed = Error(EROFS);
  }
};

}  // namespace polder
