// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/client/fuse/request.h"

#include <sys/sysmacros.h>

#include <algorithm>
#include <vector>

#include "base/log.h"

namespace polder {

Request::Request(fuse_req_t raw, std::shared_ptr<const void> until_answered)
    : raw_(raw), until_answered_(std::move(until_answered)) {
  const fuse_ctx* ctx = fuse_req_ctx(raw);
  context_.uid = ctx->uid;
  context_.gid = ctx->gid;
  context_.pid = static_cast<std::uint32_t>(ctx->pid);
}

Request::~Request() {
  if (raw_ != nullptr) fail(EINTR);
}

bool Request::is_in_group(std::uint32_t gid) const {
  if (context_.gid == gid) return true;
  constexpr int kGroupsMax = 65536;  // NGROUPS_MAX
  std::vector<gid_t> groups(kGroupsMax);
  const int count = raw_ == nullptr ? -1 : fuse_req_getgroups(raw_, kGroupsMax, groups.data());
  groups.resize(static_cast<std::size_t>(std::clamp(count, 0, kGroupsMax)));
  return std::ranges::find(groups, gid) != groups.end();
}

bool Request::fail(int code) {
  // The awaiting process was interrupted: that is what it must see, however the layers call it.
  return fuse_reply_err(take(), code == ECANCELED ? EINTR : code) == 0;
}

bool Request::failed(const Result<void>& result) {
  if (!result) fail(result.error());
  return !result;
}

bool Request::fail(const Error& error) {
  if (!error.context().empty()) log::debug("{}", error.message());
  return fail(error.code() > 0 ? error.code() : EIO);
}

bool Request::xattr(std::string_view value, std::size_t asked_bytes) {
  if (asked_bytes == 0) return fuse_reply_xattr(take(), value.size()) == 0;
  if (value.size() > asked_bytes) return fail(ERANGE);
  return data(value);
}

struct stat to_stat(const FileAttr& attr) {
  struct stat st{};
  st.st_ino = attr.gfid.inode();
  st.st_mode = attr.mode;
  st.st_nlink = attr.nlink;
  st.st_uid = attr.uid;
  st.st_gid = attr.gid;
  st.st_rdev = makedev(attr.rdev_major, attr.rdev_minor);
  st.st_size = static_cast<off_t>(attr.size);
  st.st_blocks = static_cast<blkcnt_t>(attr.blocks_512);
  st.st_blksize = 65536;  // stdio allocates and reads this much: fewer requests, no mmap per fopen
  st.st_atim = attr.atime;
  st.st_mtim = attr.mtime;
  st.st_ctim = attr.ctime;
  return st;
}

}  // namespace polder
