// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/layer/conformance/client.h"

#include <algorithm>
#include <optional>

#include "base/coro.h"

namespace polder {

namespace {

template <typename T>
Task<void> capture(Task<Result<T>> task, std::optional<Result<T>>& out) {
  out.emplace(co_await std::move(task));
}

std::string stamp(const timespec& time) {
  return fmt::format("{}.{:09}", time.tv_sec, time.tv_nsec);
}

/// Any bytes; fmt's {:?} takes text only.
std::string quoted(std::string_view bytes) {
  std::string text = "\"";
  for (const char byte : bytes) {
    if (byte >= ' ' && byte <= '~' && byte != '"' && byte != '\\')
      text += byte;
    else
      text += fmt::format("\\x{:02x}", static_cast<unsigned char>(byte));
  }
  return text + '"';
}

}  // namespace

template <typename T>
Result<T> Client::run(Task<Result<T>> task) {
  std::optional<Result<T>> result;
  std::vector<Task<void>> tasks;
  tasks.push_back(capture(std::move(task), result));
  stack_.run(std::move(tasks));
  if (!result) return Error(ETIMEDOUT).with("the operation did not end");
  return *std::move(result);
}

const OpContext& Client::fresh() {
  ctx_.retry = resend_;
  if (!resend_) ++ctx_.sequence;
  resend_ = false;
  return ctx_;
}

const OpContext& Client::reading() {
  ctx_.retry = false;
  return ctx_;
}

Result<FileAttr> Client::lookup(Gfid parent, std::string_view name) {
  return run(stack_.ops().lookup(reading(), parent, name));
}
Result<FileAttr> Client::getattr(Gfid gfid) {
  return run(stack_.ops().getattr(reading(), gfid));
}
Result<std::string> Client::readlink(Gfid gfid) {
  return run(stack_.ops().readlink(reading(), gfid));
}
Result<DirectoryPage> Client::readdir(Gfid gfid, std::uint64_t cookie, std::uint32_t max, bool attributes) {
  return run(stack_.ops().readdir(reading(), gfid, cookie, max, attributes));
}
Result<VolumeSpace> Client::statfs() {
  return run(stack_.ops().statfs(reading()));
}
Result<FileAttr> Client::mknod(Gfid parent, std::string_view name, const NewObject& object) {
  return run(stack_.ops().mknod(fresh(), parent, name, object));
}
Result<FileAttr> Client::mkdir(Gfid parent, std::string_view name, const NewObject& object) {
  return run(stack_.ops().mkdir(fresh(), parent, name, object));
}
Result<FileAttr> Client::symlink(Gfid parent, std::string_view name, std::string_view target) {
  return run(stack_.ops().symlink(fresh(), parent, name, target));
}
Result<Opened> Client::create(Gfid parent, std::string_view name, const NewObject& object, int flags) {
  return run(stack_.ops().create(fresh(), parent, name, object, flags | O_CREAT));
}
Result<FileAttr> Client::link(Gfid gfid, Gfid parent, std::string_view name) {
  return run(stack_.ops().link(fresh(), gfid, parent, name));
}
Result<void> Client::unlink(Gfid parent, std::string_view name) {
  return run(stack_.ops().unlink(fresh(), parent, name));
}
Result<void> Client::rmdir(Gfid parent, std::string_view name) {
  return run(stack_.ops().rmdir(fresh(), parent, name));
}
Result<void> Client::rename(Gfid from, std::string_view from_name, Gfid to, std::string_view to_name,
                            unsigned flags) {
  return run(stack_.ops().rename(fresh(), from, from_name, to, to_name, flags));
}
Result<FileAttr> Client::setattr(Gfid gfid, const SetAttr& change) {
  return run(stack_.ops().setattr(fresh(), gfid, change));
}
Result<std::string> Client::getxattr(Gfid gfid, std::string_view key) {
  return run(stack_.ops().getxattr(reading(), gfid, key));
}
Result<std::vector<std::string>> Client::listxattr(Gfid gfid) {
  return run(stack_.ops().listxattr(reading(), gfid));
}
Result<void> Client::setxattr(Gfid gfid, std::string_view key, std::string_view value, int flags) {
  return run(stack_.ops().setxattr(fresh(), gfid, key, value, flags));
}
Result<void> Client::removexattr(Gfid gfid, std::string_view key) {
  return run(stack_.ops().removexattr(fresh(), gfid, key));
}
Result<Opened> Client::open(Gfid gfid, int flags) {
  return run(stack_.ops().open(fresh(), gfid, flags));
}
Result<void> Client::release(Gfid gfid, HandleId handle) {
  return run(stack_.ops().release(fresh(), gfid, handle));
}
Result<std::string> Client::read(Gfid gfid, HandleId handle, std::uint64_t offset, std::uint32_t length) {
  Result<Buffer> buffer = run(stack_.ops().read(reading(), gfid, handle, offset, length));
  if (!buffer) return buffer.error();
  return std::string(buffer->text());
}
Result<WriteResult> Client::write(Gfid gfid, HandleId handle, std::uint64_t offset, std::string_view data,
                                  bool append) {
  return run(stack_.ops().write(fresh(), gfid, handle, offset, Buffer::copy_of(data), append));
}
Result<void> Client::fsync(Gfid gfid, bool data_only) {
  return run(stack_.ops().fsync(reading(), gfid, data_only));
}
Result<void> Client::fallocate(Gfid gfid, int mode, std::uint64_t offset, std::uint64_t length) {
  return run(stack_.ops().fallocate(fresh(), gfid, mode, offset, length));
}
Result<std::uint64_t> Client::seek(Gfid gfid, std::uint64_t offset, int whence) {
  return run(stack_.ops().seek(reading(), gfid, offset, whence));
}
Result<std::uint64_t> Client::copy_range(Gfid from, std::uint64_t from_offset, Gfid to,
                                         std::uint64_t to_offset, std::uint64_t length) {
  return run(stack_.ops().copy_range(fresh(), from, from_offset, to, to_offset, length));
}
Result<FileLock> Client::test_lock(Gfid gfid, const FileLock& lock) {
  return run(stack_.ops().test_lock(reading(), gfid, lock));
}
Result<void> Client::set_lock(Gfid gfid, const FileLock& lock, bool wait) {
  return run(stack_.ops().set_lock(fresh(), gfid, lock, wait));
}
Result<void> Client::end_session() {
  return run(stack_.ops().end_session(reading()));
}
Result<void> Client::sync() {
  return run(stack_.ops().sync(reading()));
}
Result<void> Client::replay(std::span<const Record> records) {
  return run(stack_.ops().replay(fresh(), records));
}

// --- what tests do all the time

Gfid Client::file(Gfid parent, std::string_view name, std::string_view content) {
  const Opened opened = must(create(parent, name));
  if (!content.empty()) must(write(opened.attr.gfid, opened.handle, 0, content));
  must(release(opened.attr.gfid, opened.handle));
  return opened.attr.gfid;
}

Gfid Client::dir(Gfid parent, std::string_view name) {
  return must(mkdir(parent, name)).gfid;
}

void Client::put(Gfid gfid, std::uint64_t offset, std::string_view data) {
  const Opened opened = must(open(gfid));
  must(write(gfid, opened.handle, offset, data));
  must(release(gfid, opened.handle));
}

std::string Client::content(Gfid gfid) {
  return content(gfid, 0, static_cast<std::uint32_t>(attr(gfid).size + 1));
}

std::string Client::content(Gfid gfid, std::uint64_t offset, std::uint32_t length) {
  const Opened opened = must(open(gfid, O_RDONLY));
  std::string text = must(read(gfid, opened.handle, offset, length));
  must(release(gfid, opened.handle));
  return text;
}

std::vector<std::string> Client::names(Gfid gfid, std::uint32_t page) {
  std::vector<std::string> all;
  for (std::uint64_t cookie = 0;;) {
    DirectoryPage part = must(readdir(gfid, cookie, page));
    for (const ListedEntry& entry : part.entries) {
      all.push_back(entry.name);
      cookie = entry.cookie;
    }
    if (part.end) break;
    if (part.entries.empty()) throw std::runtime_error("an empty page that is not the end");
  }
  std::sort(all.begin(), all.end());
  return all;
}

void Client::chmod(Gfid gfid, std::uint32_t mode) {
  must(setattr(gfid, {.fields = SetAttr::kMode, .mode = mode}));
}

void Client::truncate(Gfid gfid, std::uint64_t size) {
  must(setattr(gfid, {.fields = SetAttr::kSize, .size = size}));
}

std::vector<std::string> Client::dump() {
  std::vector<std::string> lines;
  dump_into(Gfid::root(), "", lines);
  return lines;
}

void Client::dump_into(Gfid gfid, const std::string& path, std::vector<std::string>& lines) {
  const FileAttr a = attr(gfid);
  std::string line = fmt::format("{}/ {} mode {:o} {}:{} links {} dev {}:{} size {} mtime {} ctime {}", path,
                                 gfid.hex(), a.mode, a.uid, a.gid, a.nlink, a.rdev_major, a.rdev_minor,
                                 a.is_directory() ? 0 : a.size, stamp(a.mtime), stamp(a.ctime));
  std::vector<std::string> keys = must(listxattr(gfid));
  std::sort(keys.begin(), keys.end());
  for (const std::string& key : keys) line += fmt::format(" {}={}", key, quoted(must(getxattr(gfid, key))));
  if (S_ISLNK(a.mode)) line += " -> " + must(readlink(gfid));
  if (a.is_regular()) line += " content " + quoted(content(gfid));
  lines.push_back(std::move(line));
  if (!a.is_directory()) return;
  for (const std::string& name : names(gfid))
    dump_into(must(lookup(gfid, name)).gfid, path + "/" + name, lines);
}

}  // namespace polder
