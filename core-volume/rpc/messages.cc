// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/rpc/messages.h"

#include <fcntl.h>

#include "base/names.h"
#include "core-volume/layer/posix_rules.h"
#include "core-volume/rpc/protocol.h"

namespace polder {
namespace {

constexpr std::uint32_t kNsPerS = 1'000'000'000;

Result<timespec> time_from(std::int64_t s, std::uint32_t ns) {
  if (ns >= kNsPerS) return Error(EPROTO).with("time with {} nanoseconds", ns);
  return timespec{s, static_cast<long>(ns)};
}

std::uint64_t load_big_endian(const std::uint8_t* at) {
  std::uint64_t value;
  std::memcpy(&value, at, sizeof value);
  return __builtin_bswap64(value);
}

void store_big_endian(std::uint8_t* at, std::uint64_t value) {
  value = __builtin_bswap64(value);
  std::memcpy(at, &value, sizeof value);
}

}  // namespace

void put(wire::Gfid* out, Gfid gfid) {
  out->set_high(load_big_endian(gfid.bytes.data()));
  out->set_low(load_big_endian(gfid.bytes.data() + 8));
}

Gfid gfid_from(const wire::Gfid& in) {
  Gfid gfid;
  store_big_endian(gfid.bytes.data(), in.high());
  store_big_endian(gfid.bytes.data() + 8, in.low());
  return gfid;
}

void put(wire::Attr* out, const FileAttr& attr) {
  put(out->mutable_gfid(), attr.gfid);
  out->set_mode(attr.mode);
  out->set_uid(attr.uid);
  out->set_gid(attr.gid);
  out->set_nlink(attr.nlink);
  out->set_rdev_major(attr.rdev_major);
  out->set_rdev_minor(attr.rdev_minor);
  out->set_size(attr.size);
  out->set_blocks_512(attr.blocks_512);
  out->set_atime_s(attr.atime.tv_sec);
  out->set_atime_ns(static_cast<std::uint32_t>(attr.atime.tv_nsec));
  out->set_mtime_s(attr.mtime.tv_sec);
  out->set_mtime_ns(static_cast<std::uint32_t>(attr.mtime.tv_nsec));
  out->set_ctime_s(attr.ctime.tv_sec);
  out->set_ctime_ns(static_cast<std::uint32_t>(attr.ctime.tv_nsec));
  out->set_plain(attr.plain);
}

Result<FileAttr> attr_from(const wire::Attr& in) {
  FileAttr attr;
  attr.gfid = gfid_from(in.gfid());
  attr.mode = in.mode();
  attr.uid = in.uid();
  attr.gid = in.gid();
  attr.nlink = in.nlink();
  attr.rdev_major = in.rdev_major();
  attr.rdev_minor = in.rdev_minor();
  attr.size = in.size();
  attr.blocks_512 = in.blocks_512();
  TRY(attr.atime, time_from(in.atime_s(), in.atime_ns()));
  TRY(attr.mtime, time_from(in.mtime_s(), in.mtime_ns()));
  TRY(attr.ctime, time_from(in.ctime_s(), in.ctime_ns()));
  attr.plain = in.plain();
  return attr;
}

void put(wire::NewObject* out, const NewObject& object) {
  out->set_mode(object.mode);
  out->set_umask(object.umask);
  out->set_rdev_major(object.rdev_major);
  out->set_rdev_minor(object.rdev_minor);
}

NewObject object_from(const wire::NewObject& in) {
  return {in.mode(), in.umask(), in.rdev_major(), in.rdev_minor()};
}

namespace {

void put_time(wire::Time* out, timespec time) {
  out->set_s(time.tv_sec);
  out->set_ns(static_cast<std::uint32_t>(time.tv_nsec));
}

}  // namespace

void put(wire::Setattr* out, const SetAttr& change) {
  out->set_fields(change.fields);
  out->set_mode(change.mode);
  out->set_uid(change.uid);
  out->set_gid(change.gid);
  out->set_size(change.size);
  if (change.fields & SetAttr::kAtime) put_time(out->mutable_atime(), change.atime);
  if (change.fields & SetAttr::kMtime) put_time(out->mutable_mtime(), change.mtime);
}

Result<SetAttr> change_from(const wire::Setattr& in) {
  SetAttr change;
  change.fields = in.fields();
  if (change.fields >= 2 * SetAttr::kCtimeNow)
    return Error(EPROTO).with("setattr of unknown fields {:#x}", change.fields);
  change.mode = in.mode();
  change.uid = in.uid();
  change.gid = in.gid();
  change.size = in.size();
  TRY(change.atime, time_from(in.atime().s(), in.atime().ns()));
  TRY(change.mtime, time_from(in.mtime().s(), in.mtime().ns()));
  return change;
}

void put(wire::Lock* out, const FileLock& lock) {
  out->set_kind(static_cast<std::uint32_t>(lock.kind));
  out->set_type(static_cast<std::uint32_t>(lock.type));
  out->set_start(lock.start);
  out->set_end(lock.end);
  out->set_owner(lock.owner);
  out->set_pid(lock.pid);
}

Result<FileLock> lock_from(const wire::Lock& in) {
  if (in.kind() > static_cast<std::uint32_t>(FileLock::Kind::kFlock))
    return Error(EPROTO).with("lock of kind {}", in.kind());
  if (in.type() > static_cast<std::uint32_t>(FileLock::Type::kUnlock))
    return Error(EPROTO).with("lock of type {}", in.type());
  if (in.start() > in.end()) return Error(EPROTO).with("lock from byte {} to byte {}", in.start(), in.end());
  FileLock lock;
  lock.kind = static_cast<FileLock::Kind>(in.kind());
  lock.type = static_cast<FileLock::Type>(in.type());
  lock.start = in.start();
  lock.end = in.end();
  lock.owner = in.owner();
  lock.pid = in.pid();
  return lock;
}

void put(wire::Space* out, const VolumeSpace& space) {
  out->set_block_size(space.block_size);
  out->set_blocks(space.blocks);
  out->set_blocks_free(space.blocks_free);
  out->set_blocks_available(space.blocks_available);
  out->set_files(space.files);
  out->set_files_free(space.files_free);
  out->set_name_max(space.name_max);
}

VolumeSpace space_from(const wire::Space& in) {
  VolumeSpace space;
  space.block_size = in.block_size();
  space.blocks = in.blocks();
  space.blocks_free = in.blocks_free();
  space.blocks_available = in.blocks_available();
  space.files = in.files();
  space.files_free = in.files_free();
  space.name_max = in.name_max();
  return space;
}

void put(wire::Notify::Change* out, const Invalidation& change) {
  if (!change.gfid.is_nil()) put(out->mutable_gfid(), change.gfid);
  if (!change.entry) return;
  put(out->mutable_parent(), change.entry->parent);
  out->set_name(change.entry->name);
}

Result<Invalidation> invalidation_from(const wire::Notify::Change& in) {
  Invalidation change;
  change.gfid = gfid_from(in.gfid());
  if (!in.has_parent()) return change;
  if (auto ok = check_name(in.name()); !ok) return Error(EPROTO).with("bad name in a notification");
  change.entry = EntryName{gfid_from(in.parent()), in.name()};
  return change;
}

Buffer encode_page(const DirectoryPage& page, std::size_t bytes_max) {
  wire::DirectoryPage out;
  std::size_t bytes = 2;  // of `end`
  bool whole = true;
  for (const auto& entry : page.entries) {
    auto* added = out.add_entries();
    added->set_name(entry.name);
    added->set_cookie(entry.cookie);
    put(added->mutable_attr(), entry.attr);
    bytes += added->ByteSizeLong() + 4;  // tag and length
    if (bytes > bytes_max) {
      whole = false;
      break;
    }
  }
  if (!whole) {
    auto* entries = out.mutable_entries();
    const auto cut = entries->Get(entries->size() - 1).cookie();
    while (!entries->empty() && entries->Get(entries->size() - 1).cookie() == cut) entries->RemoveLast();
  }
  out.set_end(page.end && whole);
  auto buffer = Buffer::allocate(out.ByteSizeLong());
  out.SerializeWithCachedSizesToArray(reinterpret_cast<std::uint8_t*>(buffer.writable().data()));
  return buffer;
}

Result<DirectoryPage> decode_page(ConstBytes bytes) {
  if (bytes.size() > kRpcDirectoryPage_bytes_max)
    return Error(EPROTO).with("directory page of {} bytes", bytes.size());
  wire::DirectoryPage in;
  if (!in.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
    return Error(EPROTO).with("directory page is not readable");
  DirectoryPage page;
  page.end = in.end();
  page.entries.reserve(static_cast<std::size_t>(in.entries_size()));
  for (auto& entry : *in.mutable_entries()) {
    if (auto ok = check_name(entry.name()); !ok) return Error(EPROTO).with("bad name in a directory page");
    TRY(auto attr, attr_from(entry.attr()));
    page.entries.push_back({std::move(*entry.mutable_name()), attr, entry.cookie()});
  }
  return page;
}

Result<Buffer> encode_names(const std::vector<std::string>& names) {
  std::size_t bytes = 0;
  for (const auto& name : names) bytes += name.size() + 1;
  if (bytes > kRpcXattrList_bytes_max) return Error(E2BIG).with("names of xattrs take {} bytes", bytes);
  auto buffer = Buffer::allocate(bytes);
  auto* at = buffer.writable().data();
  for (const auto& name : names) {
    std::memcpy(at, name.c_str(), name.size() + 1);
    at += name.size() + 1;
  }
  return buffer;
}

Result<std::vector<std::string>> decode_names(ConstBytes bytes) {
  std::vector<std::string> names;
  auto rest = as_text(bytes);
  while (!rest.empty()) {
    auto end = rest.find('\0');
    if (end == 0 || end == std::string_view::npos || end > kXattrKeyMax_bytes)
      return Error(EPROTO).with("bad list of xattr names");
    names.emplace_back(rest.substr(0, end));
    rest.remove_prefix(end + 1);
  }
  return names;
}

Error error_from(const wire::Reply& reply) {
  constexpr std::uint32_t kErrnoMax = 4095;  // Linux's MAX_ERRNO
  const auto code = reply.error() <= kErrnoMax ? static_cast<int>(reply.error()) : EPROTO;
  Error error(code);
  if (reply.maybe_applied()) error = std::move(error).set_maybe_applied();
  if (reply.context().empty()) return error;
  return std::move(error).with("{}", reply.context().substr(0, kRpcErrorContext_bytes_max));
}

void put(wire::Reply* out, const Error& error) {
  out->Clear();
  out->set_error(static_cast<std::uint32_t>(error.code()));
  out->set_maybe_applied(error.maybe_applied());
  if (auto context = error.context(); !context.empty())
    out->set_context(std::string(context.substr(0, kRpcErrorContext_bytes_max)));
}

}  // namespace polder
