// SPDX-License-Identifier: GPL-3.0-or-later
// Client: FileOps for tests: one call runs one operation to its end, with contexts and sequence numbers made
// as a real client makes them.
#pragma once
#include <fcntl.h>

#include <map>
#include <stdexcept>

#include "core-volume/layer/conformance/stack.h"

namespace polder {

/// The value, or an exception that fails the test with the error's sentence.
template <typename T>
T must(Result<T> result) {
  if (!result) throw std::runtime_error("unexpected error: " + result.error().message());
  if constexpr (!std::is_void_v<T>) return *std::move(result);
}
/// 0 or the errno.
template <typename T>
int code_of(const Result<T>& result) {
  return result ? 0 : result.error().code();
}

class Client {
 public:
  explicit Client(Stack& stack, std::uint32_t session = 7) : stack_(stack) {
    ctx_.session = session;
    ctx_.uid = 1000;
    ctx_.gid = 1000;
  }

  OpContext& context() { return ctx_; }
  /// The next operation goes out as a second sending of the last one.
  void resend() { resend_ = true; }

  Result<FileAttr> lookup(Gfid parent, std::string_view name);
  Result<FileAttr> getattr(Gfid gfid);
  Result<std::string> readlink(Gfid gfid);
  Result<DirectoryPage> readdir(Gfid gfid, std::uint64_t cookie, std::uint32_t max, bool attributes = false);
  Result<VolumeSpace> statfs();
  Result<FileAttr> mknod(Gfid parent, std::string_view name, const NewObject& object);
  Result<FileAttr> mkdir(Gfid parent, std::string_view name, const NewObject& object = {.mode = 0755});
  Result<FileAttr> symlink(Gfid parent, std::string_view name, std::string_view target);
  Result<Opened> create(Gfid parent, std::string_view name, const NewObject& object = {.mode = 0644},
                        int flags = O_RDWR | O_EXCL);
  Result<FileAttr> link(Gfid gfid, Gfid parent, std::string_view name);
  Result<void> unlink(Gfid parent, std::string_view name);
  Result<void> rmdir(Gfid parent, std::string_view name);
  Result<void> rename(Gfid from, std::string_view from_name, Gfid to, std::string_view to_name,
                      unsigned flags = 0);
  Result<FileAttr> setattr(Gfid gfid, const SetAttr& change);
  Result<std::string> getxattr(Gfid gfid, std::string_view key);
  Result<std::vector<std::string>> listxattr(Gfid gfid);
  Result<void> setxattr(Gfid gfid, std::string_view key, std::string_view value, int flags = 0);
  Result<void> removexattr(Gfid gfid, std::string_view key);
  Result<Opened> open(Gfid gfid, int flags = O_RDWR);
  Result<void> release(Gfid gfid, HandleId handle);
  Result<std::string> read(Gfid gfid, HandleId handle, std::uint64_t offset, std::uint32_t length);
  Result<WriteResult> write(Gfid gfid, HandleId handle, std::uint64_t offset, std::string_view data,
                            bool append = false);
  Result<void> fsync(Gfid gfid, bool data_only = false);
  Result<void> fallocate(Gfid gfid, int mode, std::uint64_t offset, std::uint64_t length);
  Result<std::uint64_t> seek(Gfid gfid, std::uint64_t offset, int whence);
  Result<std::uint64_t> copy_range(Gfid from, std::uint64_t from_offset, Gfid to, std::uint64_t to_offset,
                                   std::uint64_t length);
  Result<FileLock> test_lock(Gfid gfid, const FileLock& lock);
  Result<void> set_lock(Gfid gfid, const FileLock& lock, bool wait = false);
  Result<void> end_session();
  Result<void> sync();
  Result<void> replay(std::span<const Record> records);

  // What tests do all the time. Failures throw.
  /// A closed file with this content; returns its gfid.
  Gfid file(Gfid parent, std::string_view name, std::string_view content = {});
  Gfid dir(Gfid parent, std::string_view name);
  FileAttr attr(Gfid gfid) { return must(getattr(gfid)); }
  /// Opens, writes, closes.
  void put(Gfid gfid, std::uint64_t offset, std::string_view data);
  /// The whole content, by an open of its own.
  std::string content(Gfid gfid);
  std::string content(Gfid gfid, std::uint64_t offset, std::uint32_t length);
  /// Names in `gfid` by their own order, read with pages of `page` entries.
  std::vector<std::string> names(Gfid gfid, std::uint32_t page = 100);
  void chmod(Gfid gfid, std::uint32_t mode);
  void truncate(Gfid gfid, std::uint64_t size);
  /// One line per object and name below the root, everything that POSIX shows except atime and blocks.
  std::vector<std::string> dump();

 private:
  template <typename T>
  Result<T> run(Task<Result<T>> task);
  const OpContext& fresh();
  const OpContext& reading();
  void dump_into(Gfid gfid, const std::string& path, std::vector<std::string>& lines);

  Stack& stack_;
  OpContext ctx_;
  bool resend_ = false;
};

}  // namespace polder
