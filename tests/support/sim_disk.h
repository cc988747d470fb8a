// SPDX-License-Identifier: GPL-3.0-or-later
// SimDisk: an in-memory file system behind the Disk seam, with Linux's semantics and errno for a privileged
// process with umask 0, and with what real disks do at the wrong moment: power losses, full disks, errors.
// What survives a power loss is described in sim_tree.h. Deterministic; thread-safe by one mutex.
//
// It is the disk of one process at a time. To end that process: freeze() while its objects are destroyed
// (so that nothing they still do reaches the disk), then kill() or crash(), then start the next one.
//
// Not simulated: permissions, access times, collapse and insert range, opening of devices and sockets,
// symlinks named with a slash at the end.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "base/disk.h"
#include "tests/support/sim_fault.h"

namespace polder {

class Clock;
class Trace;

class SimDisk final : public Disk {
 public:
  /// Times are the wall clock's, which every thread that uses the disk must be able to read. Without a clock,
  /// a time of its own passes: one microsecond per reading.
  explicit SimDisk(const Clock* clock = nullptr);
  ~SimDisk() override;

  // The end of the process, and of the machine.

  /// Process death: open files and locks are gone, what was written stays. Ends injected faults.
  void kill();
  /// Power loss: also loses what was not synced, as `seed` chooses; new boot id.
  void crash(std::uint64_t seed);
  /// Every call fails with EIO until kill(), crash() or heal().
  void freeze() { freeze_at(1); }
  /// The same from the n-th call on: where the process is to die.
  void freeze_at(std::uint64_t n) { fault_.freeze_at(n); }

  // Faults.

  /// The n-th call from now (1 = the next one) fails without effect; when sticky, so do all that follow.
  /// A failed fsync (syncfs) also makes the kernel forget that the pages (of all files) were dirty, as Linux
  /// does.
  void fail_nth(std::uint64_t n, int code, bool sticky = false) { fault_.fail_nth(n, code, sticky); }
  /// The n-th fsync, fdatasync or syncfs from now; when sticky, all calls after it as well.
  void fail_nth_sync(std::uint64_t n, int code, bool sticky = false) {
    fault_.fail_nth_sync(n, code, sticky);
  }
  void heal() { fault_.heal(); }
  /// True once the call named by fail_nth or fail_nth_sync was made.
  bool fault_fired() const { return fault_.fired(); }
  /// Power losses so far, and 1.
  std::uint64_t boots() const;
  /// Calls so far: for loops over fail_nth.
  std::uint64_t calls() const { return fault_.calls(); }
  /// Counts the calls, too, and may fail them: the machine's. Outlives the disk.
  void share_fault(SimFault& fault);
  /// Room for file contents; 0 means without limit. ENOSPC past it.
  void set_capacity(std::uint64_t bytes);
  std::uint64_t used_bytes() const;
  /// Whether clone_range works; when not, EOPNOTSUPP. It does by default.
  void set_reflink(bool supported);
  /// Flips one bit of the stored bytes of a file whose path begins with `prefix`, as `seed` chooses: what was
  /// synced is not what it was. Says where: "/path byte 17 bit 3". Empty: nothing is stored there.
  std::string flip_bit(std::uint64_t seed, const std::string& prefix);
  /// Each call goes into it, as one of `actor`.
  void trace(Trace& trace, std::size_t actor);
  /// Called at the beginning of each syncfs, on its thread. Must not use the disk.
  void on_syncfs(std::function<void()> listener);
  /// Called before each call with its name, on its thread; may use the disk, or freeze it: that call fails,
  /// too. To be set while nobody uses the disk.
  void on_call(std::function<void(std::string_view)> listener) { on_call_ = std::move(listener); }
  /// Whether it is open here; numbers of different disks differ.
  bool is_own(int fd) const;

  // What a volume manager does with it (SimSnapshots).

  /// Counts a call that is none of the seam's, and fails it when a fault is due. `what` lives for ever.
  Result<void> step(std::string_view what);
  /// Another disk with the same content: all that was written, as programs see it. A freeze of the file
  /// system writes it out first, so that it is safe here, too. It shares the trace and the machine's faults.
  std::unique_ptr<SimDisk> copy();
  /// Everything is on disk; EBUSY while something is open.
  Result<void> unmount();
  /// The two change what is on them; both are unmounted.
  void exchange(SimDisk& other);
  /// Changes are EROFS.
  void set_read_only(bool read_only);
  /// Where its root is among the paths of its machine: "" and "/" are the same.
  void set_mount_point(std::string directory);
  /// Of the capacity; 0 without one.
  double used_percent() const;

  // The seam.
  Result<DiskFile> open(int dir, const std::string& path, int flags, mode_t mode = 0) override;
  Result<std::size_t> pread(int fd, Bytes out, std::uint64_t offset) override;
  Result<void> pwrite(int fd, ConstBytes data, std::uint64_t offset) override;
  Result<void> pwritev(int fd, std::span<const ConstBytes> data, std::uint64_t offset) override;
  Result<void> truncate(int fd, std::uint64_t size_bytes) override;
  Result<void> fallocate(int fd, int mode, std::uint64_t offset, std::uint64_t length) override;
  Result<std::uint64_t> seek(int fd, std::uint64_t offset, int whence) override;
  Result<void> clone_range(int from, std::uint64_t from_offset, int to, std::uint64_t to_offset,
                           std::uint64_t length) override;
  Result<void> fsync(int fd) override;
  Result<void> fdatasync(int fd) override;
  Result<void> syncfs(int fd) override;
  Result<struct stat> stat(int dir, const std::string& name) override;
  Result<struct stat> fstat(int fd) override;
  Result<struct statfs> statfs(int fd) override;
  Result<void> chmod(int fd, mode_t mode) override;
  Result<void> chmod_at(int dir, const std::string& name, mode_t mode) override;
  Result<void> chown_at(int dir, const std::string& name, uid_t uid, gid_t gid) override;
  Result<void> set_times_at(int dir, const std::string& name, const timespec times[2]) override;
  Result<void> set_times(int fd, const timespec times[2]) override;
  Result<std::string> get_xattr(int fd, const std::string& key) override;
  Result<void> set_xattr(int fd, const std::string& key, std::string_view value, int flags = 0) override;
  Result<void> remove_xattr(int fd, const std::string& key) override;
  Result<std::vector<std::string>> list_xattr(int fd) override;
  Result<std::string> get_xattr_at(int dir, const std::string& name, const std::string& key) override;
  Result<void> set_xattr_at(int dir, const std::string& name, const std::string& key, std::string_view value,
                            int flags = 0) override;
  Result<void> remove_xattr_at(int dir, const std::string& name, const std::string& key) override;
  Result<std::vector<std::string>> list_xattr_at(int dir, const std::string& name) override;
  Result<void> mkdir(int dir, const std::string& name, mode_t mode) override;
  Result<void> mknod(int dir, const std::string& name, mode_t mode, dev_t device) override;
  Result<void> symlink(const std::string& target, int dir, const std::string& name) override;
  Result<std::string> readlink(int dir, const std::string& name) override;
  Result<void> link(int from_dir, const std::string& from, int to_dir, const std::string& to) override;
  Result<void> link_file(int fd, int to_dir, const std::string& to) override;
  Result<void> unlink(int dir, const std::string& name, int flags = 0) override;
  Result<void> rename(int from_dir, const std::string& from, int to_dir, const std::string& to,
                      unsigned flags = 0) override;
  Result<std::vector<DirEntry>> list(int fd) override;
  Result<void> lock_exclusive(int fd) override;
  Result<std::string> boot_id() override;

 private:
  void close(int fd) override;

  /// Counts a call, and fails it when a fault is due. Holds the lock until it is destroyed.
  struct Call;
  struct Change;
  struct State;

  std::function<void(std::string_view)> on_call_;
  mutable std::mutex mutex_;
  SimFault fault_;
  std::unique_ptr<State> state_;
};

}  // namespace polder
