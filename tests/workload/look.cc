// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/workload/look.h"

#include "base/coro.h"

namespace polder {
namespace {

constexpr std::uint32_t kPage = 100;
constexpr std::uint32_t kReadMaxBytes = 1 << 20;
const OpContext kInside;

/// What is in one directory; its subdirectories go to `below`.
Task<Result<void>> look_into(FileOps& top, Gfid directory, FoundVolume& found, std::vector<Gfid>& below) {
  for (std::uint64_t cookie = 0;;) {
    CO_TRY(auto page, co_await top.readdir(kInside, directory, cookie, kPage, true));
    for (const auto& entry : page.entries) {
      cookie = entry.cookie;
      found.names[{directory, entry.name}] = entry.attr.gfid;
      if (entry.attr.is_directory()) {
        below.push_back(entry.attr.gfid);
      } else if (!found.files.contains(entry.attr.gfid)) {
        CO_TRY(found.files[entry.attr.gfid], co_await look_at_file(top, entry.attr, 0));
      }
    }
    if (page.end) co_return Result<void>();
  }
}

}  // namespace

Task<Result<FileState>> look_at_file(FileOps& top, FileAttr attr, HandleId handle) {
  FileState state{.content = "", .mode = attr.mode & 07777, .xattr = ""};
  CO_TRY(auto bytes, co_await top.read(kInside, attr.gfid, handle, 0, kReadMaxBytes));
  state.content = bytes.text();
  auto xattr = co_await top.getxattr(kInside, attr.gfid, "user.v");
  if (xattr) state.xattr = *xattr;
  if (!xattr && !xattr.failed_with(ENODATA)) co_return xattr.error();
  co_return state;
}

Task<Result<FoundVolume>> look(FileOps& top) {
  FoundVolume found;
  std::vector<Gfid> directories{Gfid::root()};
  while (!directories.empty()) {
    const auto directory = directories.back();
    directories.pop_back();
    CO_TRY(co_await look_into(top, directory, found, directories));
  }
  co_return found;
}

}  // namespace polder
