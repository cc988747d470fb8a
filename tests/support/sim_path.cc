// SPDX-License-Identifier: GPL-3.0-or-later
// SimDisk: how a path is walked, and the transactions that make, move and remove names.
#include <linux/limits.h>

#include <algorithm>

#include "tests/support/sim_acl.h"
#include "tests/support/sim_disk_state.h"

namespace polder {

namespace {

constexpr int kMaxSymlinks = 40;

}  // namespace

Result<void> SimPlace::check_length() const {
  if (name.size() > NAME_MAX) return Error(ENAMETOOLONG);
  return {};
}

Result<SimPlace> SimDisk::State::walk(Inode start, const std::string& path, bool follow) {
  std::string rest = path;
  Inode at = start;
  int links = 0;
  while (true) {
    if (rest.starts_with('/') && rest.find_first_not_of('/') == rest.npos)
      return SimPlace{at, "", at, SimPlace::Kind::root, true};
    rest.erase(0, std::min(rest.find_first_not_of('/'), rest.size()));
    auto end = std::min(rest.find('/'), rest.size());
    std::string name = rest.substr(0, end);
    rest.erase(0, end);
    bool slash = !rest.empty();
    bool last = rest.find_first_not_of('/') == rest.npos;
    if (!meta(at).is_directory()) return Error(ENOTDIR);
    // In a removed directory that is still open there is nothing to find, whatever the length.
    if (meta(at).links == 0) name.resize(std::min<std::size_t>(name.size(), NAME_MAX));
    if (name.size() > NAME_MAX && !last) return Error(ENAMETOOLONG);
    Inode target = tree.lookup(at, name);
    if (target != 0 && meta(target).is_symlink() && (!last || follow || slash)) {
      if (++links > kMaxSymlinks) return Error(ELOOP);
      rest = meta(target).target + rest;
      if (rest.starts_with('/')) at = SimTree::kRoot;
      continue;
    }
    if (last) {
      if (slash && target != 0 && !meta(target).is_directory()) return Error(ENOTDIR);
      auto kind = name == "."    ? SimPlace::Kind::dot
                  : name == ".." ? SimPlace::Kind::dotdot
                                 : SimPlace::Kind::normal;
      return SimPlace{at, name, target, kind, slash};
    }
    if (target == 0) return Error(ENOENT);
    at = target;
  }
}

Result<SimPlace> SimDisk::State::resolve(int dir, const std::string& path, bool follow) {
  TRY(auto place, find(dir, path, follow));
  TRY(place.check_length());
  return place;
}

Result<SimPlace> SimDisk::State::find(int dir, const std::string& path, bool follow) {
  if (path.find('\0') != path.npos) return Error(EINVAL);
  if (path.size() >= PATH_MAX) return Error(ENAMETOOLONG);
  if (path.empty()) return Error(ENOENT);
  Inode start = SimTree::kRoot;
  if (dir != Disk::kNoDir && path[0] != '/') {
    TRY(auto from, any_handle(dir));
    start = from.inode;
  }
  if (path[0] == '/' && path.starts_with(mount_point))
    return walk(start, path.size() == mount_point.size() ? "/" : path.substr(mount_point.size()), follow);
  return walk(start, path, follow);
}

Result<Inode> SimDisk::State::object(int dir, const std::string& name) {
  if (name.empty()) {
    if (dir == Disk::kNoDir) return SimTree::kRoot;
    TRY(auto found, any_handle(dir));
    return found.inode;
  }
  TRY(auto place, resolve(dir, name, false));
  if (place.target == 0) return Error(ENOENT);
  return place.target;
}

Result<SimPlace> SimDisk::State::new_name(int dir, const std::string& name, bool for_directory) {
  // Whether the name is taken comes before whether it may end with a slash.
  auto end = name.find_last_not_of('/');
  bool slash = end != name.npos && end + 1 < name.size();
  TRY(auto place, resolve(dir, slash ? name.substr(0, end + 1) : name, false));
  if (place.kind != SimPlace::Kind::normal || place.target != 0) return Error(EEXIST);
  if (slash && !for_directory) return Error(ENOENT);
  if (meta(place.parent).links == 0) return Error(ENOENT);  // a removed directory that is still open
  return place;
}

void SimDisk::State::inherit_acl(const SimMeta& directory, SimMeta& meta) {
  auto found = directory.xattrs.find(SimAcl::kDefault);
  if (found == directory.xattrs.end() || meta.is_symlink()) return;
  auto acl = *SimAcl::parse(found->second).value();
  acl.restrict_to(meta.mode);
  meta.mode = (meta.mode & ~0777U) | acl.mode_bits();
  if (!acl.is_only_mode()) meta.xattrs[SimAcl::kAccess] = acl.serialize();
  if (meta.is_directory()) meta.xattrs[SimAcl::kDefault] = found->second;
}

SimMeta SimDisk::State::new_meta(Inode directory, mode_t mode, dev_t device, const std::string& target) {
  const SimMeta& parent = meta(directory);
  SimMeta made;
  made.mode = mode;
  made.device = device;
  made.target = target;
  made.links = S_ISDIR(mode) ? 2 : 1;
  made.parent = S_ISDIR(mode) ? directory : 0;
  made.atime = made.mtime = made.ctime = now();
  if (parent.mode & S_ISGID) {
    made.gid = parent.gid;
    if (S_ISDIR(mode)) made.mode |= S_ISGID;
  }
  inherit_acl(parent, made);
  return made;
}

Result<Inode> SimDisk::State::create(const SimPlace& place, mode_t mode, dev_t device,
                                     const std::string& target) {
  if (!has_room()) return Error(ENOSPC);
  SimMeta made = new_meta(place.parent, mode, device, target);
  SimMeta parent = meta(place.parent);
  parent.mtime = parent.ctime = made.ctime;
  if (made.is_directory()) ++parent.links;
  Inode inode = tree.add(made);
  tree.commit({SimTree::SetMeta{inode, made}, SimTree::SetEntry{place.parent, place.name, inode},
               SimTree::SetMeta{place.parent, parent}});
  return inode;
}

Result<Inode> SimDisk::State::create_unnamed(Inode directory, mode_t mode) {
  if (!has_room()) return Error(ENOSPC);
  SimMeta made = new_meta(directory, mode, 0, "");
  made.links = 0;
  Inode inode = tree.add(made);
  tree.commit({SimTree::SetMeta{inode, made}});
  return inode;
}

Result<void> SimDisk::State::add_name(const SimPlace& place, Inode inode) {
  if (meta(inode).is_directory()) return Error(EPERM);
  auto& node = tree.node(inode);
  if (node.meta.links == 0 && !node.linkable) return Error(ENOENT);
  node.linkable = false;
  SimMeta named = node.meta;
  SimMeta parent = meta(place.parent);
  ++named.links;
  named.ctime = parent.mtime = parent.ctime = now();
  tree.commit({SimTree::SetMeta{inode, named}, SimTree::SetEntry{place.parent, place.name, inode},
               SimTree::SetMeta{place.parent, parent}});
  return {};
}

void SimDisk::State::remove_name(const SimPlace& place) {
  SimMeta victim = meta(place.target);
  SimMeta parent = meta(place.parent);
  if (victim.is_directory()) {
    victim.links = 0;
    --parent.links;
  } else {
    --victim.links;
  }
  victim.ctime = parent.mtime = parent.ctime = now();
  tree.commit({SimTree::SetEntry{place.parent, place.name, 0}, SimTree::SetMeta{place.target, victim},
               SimTree::SetMeta{place.parent, parent}});
  tree.release(place.target);
}

void SimDisk::State::move_name(const SimPlace& from, const SimPlace& to) {
  auto time = now();
  std::map<Inode, SimMeta> metas;  // a directory may be both parents
  for (Inode inode : {from.parent, to.parent, from.target}) metas[inode] = meta(inode);
  bool is_directory = metas[from.target].is_directory();
  if (is_directory) {
    --metas[from.parent].links;
    ++metas[to.parent].links;
    metas[from.target].parent = to.parent;
  }
  if (to.target != 0) {
    metas[to.target] = meta(to.target);
    if (is_directory) --metas[to.parent].links;
    metas[to.target].links = is_directory ? 0 : metas[to.target].links - 1;
    metas[to.target].ctime = time;
  }
  metas[from.target].ctime = time;
  std::vector<SimTree::Edit> edits{SimTree::SetEntry{from.parent, from.name, 0},
                                   SimTree::SetEntry{to.parent, to.name, from.target}};
  for (Inode inode : {from.parent, to.parent}) metas[inode].mtime = metas[inode].ctime = time;
  for (const auto& [inode, changed] : metas) edits.emplace_back(SimTree::SetMeta{inode, changed});
  tree.commit(std::move(edits));
  if (to.target != 0) tree.release(to.target);
}

void SimDisk::State::exchange_names(const SimPlace& first, const SimPlace& second) {
  auto time = now();
  std::map<Inode, SimMeta> metas;
  for (Inode inode : {first.parent, second.parent, first.target, second.target}) metas[inode] = meta(inode);
  for (auto [place, other] : {std::pair(&first, &second), std::pair(&second, &first)}) {
    if (!metas[place->target].is_directory()) continue;
    --metas[place->parent].links;
    ++metas[other->parent].links;
    metas[place->target].parent = other->parent;
  }
  for (auto& [inode, changed] : metas) changed.ctime = time;
  for (Inode inode : {first.parent, second.parent}) metas[inode].mtime = time;
  std::vector<SimTree::Edit> edits{SimTree::SetEntry{first.parent, first.name, second.target},
                                   SimTree::SetEntry{second.parent, second.name, first.target}};
  for (const auto& [inode, changed] : metas) edits.emplace_back(SimTree::SetMeta{inode, changed});
  tree.commit(std::move(edits));
}

}  // namespace polder
