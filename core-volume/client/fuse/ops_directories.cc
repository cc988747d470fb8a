// SPDX-License-Identifier: GPL-3.0-or-later
// Listing directories. The kernel's offsets are the volume's cookies, which are functions of the names; the
// volume leaves 1 and 2 free for "." and "..", which exist only here.
#include <algorithm>

#include "base/coro.h"
#include "core-volume/client/fuse/bridge.h"
#include "core-volume/client/fuse/fuse_server.h"

namespace polder {

namespace {

constexpr std::uint64_t kAfterDot = 1;
constexpr std::uint64_t kAfterDotDot = 2;

/// One answer under construction: entries as the kernel wants them, until they do not fit any more.
class Listing {
 public:
  Listing(fuse_req_t raw, std::size_t size_bytes, bool with_attributes)
      : raw_(raw), bytes_(size_bytes, '\0'), with_attributes_(with_attributes) {}

  bool add(const std::string& name, const fuse_entry_param& entry, std::uint64_t offset) {
    char* at = bytes_.data() + used_;
    const std::size_t room = bytes_.size() - used_;
    const auto off = static_cast<off_t>(offset);
    const std::size_t size = with_attributes_
                                 ? fuse_add_direntry_plus(raw_, at, room, name.c_str(), &entry, off)
                                 : fuse_add_direntry(raw_, at, room, name.c_str(), &entry.attr, off);
    if (size > room) return false;
    used_ += size;
    return true;
  }
  std::size_t used() const { return used_; }
  void cut(std::size_t used_bytes) { used_ = used_bytes; }
  std::string_view bytes() const { return {bytes_.data(), used_}; }

 private:
  fuse_req_t raw_;
  std::string bytes_;
  std::size_t used_ = 0;
  bool with_attributes_;
};

/// "." or "..": an inode number and a type; with node 0 the kernel takes nothing else from it.
fuse_entry_param dot_entry(Gfid gfid) {
  fuse_entry_param entry{};
  entry.attr.st_ino = gfid.inode();
  entry.attr.st_mode = S_IFDIR;
  return entry;
}

std::uint32_t entries_that_may_fit(std::size_t size_bytes, bool with_attributes) {
  // An entry takes a header, its name rounded up to 8 bytes, and its attributes.
  const std::size_t typical = with_attributes ? 128 + 24 + 16 : 24 + 16;
  return static_cast<std::uint32_t>(std::max<std::size_t>(size_bytes / typical, 2));
}

}  // namespace

Task<void> Bridge::readdir(Request request, NodeId node, std::size_t size_bytes, std::uint64_t offset,
                           bool with_attributes) {
  const Gfid gfid = gfid_or_stale(request, node);
  if (gfid.is_nil()) co_return;
  const Gfid parent = inodes_.find(node)->parent.is_nil() ? gfid : inodes_.find(node)->parent;

  const std::uint64_t cookie = offset <= kAfterDotDot ? 0 : offset;
  auto page = co_await volume_.readdir(request.context(), gfid, cookie,
                                       entries_that_may_fit(size_bytes, with_attributes), with_attributes);
  if (!page) {
    request.fail(page.error());
    co_return;
  }
  Listing listing(nullptr, size_bytes, with_attributes);
  if (offset < kAfterDot) listing.add(".", dot_entry(gfid), kAfterDot);
  if (offset < kAfterDotDot) listing.add("..", dot_entry(parent), kAfterDotDot);

  std::vector<NodeId> given;
  // Names with equal cookies can only be resumed after all of them: such a group is given whole or not at
  // all.
  std::uint64_t group_cookie = 0;
  std::size_t group_bytes = 0, group_given = 0;
  for (const ListedEntry& listed : page->entries) {
    if (listed.cookie != group_cookie) {
      group_cookie = listed.cookie;
      group_bytes = listing.used();
      group_given = given.size();
    }
    fuse_entry_param entry{};
    if (with_attributes) {
      entry = remember(node, listed.name, listed.attr);
      given.push_back(entry.ino);
    } else {
      entry.attr.st_ino = listed.attr.gfid.inode();
      entry.attr.st_mode = listed.attr.mode;
    }
    if (listing.add(listed.name, entry, listed.cookie)) continue;
    listing.cut(group_bytes);
    const std::size_t kept = std::min(group_given, given.size());
    for (std::size_t i = kept; i < given.size(); ++i) inodes_.forget(given[i], 1);
    given.resize(kept);
    break;
  }
  if (!request.data(listing.bytes()))
    for (NodeId taken_back : given) inodes_.forget(taken_back, 1);
}

}  // namespace polder
