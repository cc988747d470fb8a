// SPDX-License-Identifier: GPL-3.0-or-later
// MemoryLayer: looking, making, names.
#include <fcntl.h>

#include "base/coro.h"
#include "base/random.h"
#include "core-volume/layers/memory/memory_layer.h"

namespace polder {

// --- looking

Task<Result<FileAttr>> MemoryLayer::lookup(const OpContext&, Gfid parent, std::string_view name) {
  CO_TRY(Place at, place(parent, name));
  if (!at.there) co_return Error(ENOENT);
  co_return attr(*at.there);
}

Task<Result<FileAttr>> MemoryLayer::getattr(const OpContext&, Gfid gfid) {
  co_return attr(gfid);
}

Task<Result<std::string>> MemoryLayer::readlink(const OpContext&, Gfid gfid) {
  CO_TRY(MemoryObject * link, object(gfid));
  if (!S_ISLNK(link->attr.mode)) co_return Error(EINVAL);
  co_return link->target;
}

Task<Result<DirectoryPage>> MemoryLayer::readdir(const OpContext&, Gfid gfid, std::uint64_t cookie,
                                                 std::uint32_t max_entries, bool with_attributes) {
  CO_TRY(MemoryObject * parent, directory(gfid));
  DirectoryPage page;
  auto at = parent->entries.lower_bound({cookie + (cookie != UINT64_MAX), std::string()});
  for (; at != parent->entries.end(); ++at) {
    const auto& [key, child] = *at;
    // The page ends between different cookies only, or the rest of equal ones could not be asked for.
    if (page.entries.size() >= std::max(max_entries, 1u) && page.entries.back().cookie != key.first) break;
    CO_TRY(FileAttr attributes, attr(child));
    ListedEntry entry{.name = key.second, .attr = attributes, .cookie = key.first};
    if (!with_attributes) {
      entry.attr = FileAttr{};
      entry.attr.gfid = attributes.gfid;
      entry.attr.mode = attributes.mode & S_IFMT;
    }
    page.entries.push_back(std::move(entry));
  }
  page.end = at == parent->entries.end();
  co_return page;
}

Task<Result<VolumeSpace>> MemoryLayer::statfs(const OpContext&) {
  VolumeSpace space;
  space.blocks = options_.capacity_bytes / space.block_size;
  space.files = 1ull << 32;
  space.blocks_free = space.blocks_available = space.blocks;
  space.files_free = space.files - tree_.size();
  co_return space;
}

// --- making

ParentFacts MemoryLayer::facts_of(const MemoryObject& parent) const {
  auto acl = parent.xattrs.find(std::string(kAclDefault));
  return {parent.attr.mode, parent.attr.gid, acl == parent.xattrs.end() ? std::string() : acl->second};
}

Result<FileAttr> MemoryLayer::make(const OpContext& ctx, Gfid parent, std::string_view name,
                                   ObjectState state) {
  Record record = begin(ctx, RecordKind::kCreate, Gfid::random(random_, parent.slot()));
  record.name = {parent, std::string(name)};
  record.state = std::move(state);
  record.state.atime = record.state.mtime = time_from_ns(record.time_ns);
  const Gfid gfid = record.gfid;
  commit(ctx, std::move(record), {.gfid = gfid, .created = true});
  return attr(gfid);
}

Result<FileAttr> MemoryLayer::make_object(const OpContext& ctx, Gfid parent, std::string_view name,
                                          NewObject wanted, Result<std::uint32_t> mode) {
  if (const Done* done = done_before(ctx)) return attr(done->gfid);
  TRY(Place at, place_for_new(parent, name));
  TRY(wanted.mode, std::move(mode));
  if (at.there) return Error(EEXIST);
  TRY(ObjectState state, state_of_new_object(ctx, facts_of(*at.parent), wanted));
  return make(ctx, parent, name, std::move(state));
}

Task<Result<FileAttr>> MemoryLayer::mknod(const OpContext& ctx, Gfid parent, std::string_view name,
                                          const NewObject& object) {
  co_return make_object(ctx, parent, name, object, mode_for_mknod(object.mode));
}

Task<Result<FileAttr>> MemoryLayer::mkdir(const OpContext& ctx, Gfid parent, std::string_view name,
                                          const NewObject& object) {
  co_return make_object(ctx, parent, name, object, mode_for_mkdir(object.mode));
}

Task<Result<FileAttr>> MemoryLayer::symlink(const OpContext& ctx, Gfid parent, std::string_view name,
                                            std::string_view target) {
  if (const Done* done = done_before(ctx)) co_return attr(done->gfid);
  CO_TRY(Place at, place_for_new(parent, name));
  if (at.there) co_return Error(EEXIST);
  CO_TRY(ObjectState state, state_of_new_symlink(ctx, facts_of(*at.parent), target));
  co_return make(ctx, parent, name, std::move(state));
}

Task<Result<Opened>> MemoryLayer::create(const OpContext& ctx, Gfid parent, std::string_view name,
                                         const NewObject& object, int flags) {
  if (const Done* done = done_before(ctx)) {
    CO_TRY(Opened opened, open_object(ctx, done->gfid, flags & ~O_TRUNC));
    opened.created = done->created;
    co_return opened;
  }
  CO_TRY(Place at, place_for_new(parent, name));
  NewObject wanted = object;
  CO_TRY(wanted.mode, mode_for_create(object.mode));
  if (at.there) {
    if (flags & O_EXCL) co_return Error(EEXIST);
    CO_TRY(FileAttr existing, attr(*at.there));
    if (existing.is_directory()) co_return Error(EISDIR);
    co_return open_object(ctx, existing.gfid, flags);
  }
  CO_TRY(ObjectState state, state_of_new_object(ctx, facts_of(*at.parent), wanted));
  CO_TRY(FileAttr made, make(ctx, parent, name, std::move(state)));
  CO_TRY(Opened opened, open_object(ctx, made.gfid, flags & ~O_TRUNC));
  opened.created = true;
  co_return opened;
}

Task<Result<FileAttr>> MemoryLayer::link(const OpContext& ctx, Gfid gfid, Gfid parent,
                                         std::string_view name) {
  if (const Done* done = done_before(ctx)) co_return attr(done->gfid);
  CO_TRY(Place at, place_for_new(parent, name));
  CO_TRY(MemoryObject * target, object(gfid));
  if (target->attr.is_directory()) co_return Error(EPERM);
  if (at.there) co_return Error(EEXIST);
  if (!tree_.has_name(*target)) co_return Error(ENOENT);
  if (target->names.size() >= kLinkMax) co_return Error(EMLINK);
  Record record = begin(ctx, RecordKind::kLink, gfid);
  record.name = {parent, std::string(name)};
  commit(ctx, std::move(record), {.gfid = gfid});
  co_return attr(gfid);
}

// --- names

Task<Result<void>> MemoryLayer::unlink(const OpContext& ctx, Gfid parent, std::string_view name) {
  if (done_before(ctx)) co_return Result<void>();
  CO_TRY(Place at, place(parent, name));
  if (!at.there) co_return Error(ENOENT);
  MemoryObject* victim = tree_.find(*at.there);
  if (victim->attr.is_directory()) co_return Error(EISDIR);
  Record record = begin(ctx, RecordKind::kUnlink, *at.there);
  record.name = {parent, std::string(name)};
  record.last_link = victim->names.size() == 1;
  commit(ctx, std::move(record), {});
  co_return Result<void>();
}

Task<Result<void>> MemoryLayer::rmdir(const OpContext& ctx, Gfid parent, std::string_view name) {
  if (done_before(ctx)) co_return Result<void>();
  CO_TRY(Place at, place(parent, name));
  if (!at.there) co_return Error(ENOENT);
  MemoryObject* victim = tree_.find(*at.there);
  if (!victim->attr.is_directory()) co_return Error(ENOTDIR);
  if (!victim->entries.empty()) co_return Error(ENOTEMPTY);
  Record record = begin(ctx, RecordKind::kUnlink, *at.there);
  record.name = {parent, std::string(name)};
  record.last_link = true;
  commit(ctx, std::move(record), {});
  co_return Result<void>();
}

Task<Result<void>> MemoryLayer::rename(const OpContext& ctx, Gfid from_parent, std::string_view from_name,
                                       Gfid to_parent, std::string_view to_name, unsigned flags) {
  if (done_before(ctx)) co_return Result<void>();
  CO_TRY(Place from, place(from_parent, from_name));
  CO_TRY(Place to, place_for_new(to_parent, to_name));
  if (!from.there) co_return Error(ENOENT);
  RenameFacts facts;
  CO_TRY(facts.source, attr(*from.there));
  facts.source_above_target = facts.source.is_directory() && tree_.is_above(*from.there, to_parent);
  MemoryObject* displaced = to.there ? tree_.find(*to.there) : nullptr;
  if (displaced) {
    facts.target = tree_.attr_of(*displaced);
    facts.target_empty = displaced->entries.empty();
    facts.target_above_source = facts.target->is_directory() && tree_.is_above(*to.there, from_parent);
  }
  CO_TRY(RenameAction action, check_rename(facts, flags));
  if (action == RenameAction::kNothing) co_return Result<void>();
  Record record = begin(ctx, RecordKind::kRename, facts.source.gfid);
  record.name = {from_parent, std::string(from_name)};
  record.to = {to_parent, std::string(to_name)};
  record.exchange = action == RenameAction::kExchange;
  if (displaced) record.displaced = displaced->attr.gfid;
  record.last_link = action == RenameAction::kReplace && displaced->names.size() == 1;
  commit(ctx, std::move(record), {});
  co_return Result<void>();
}

}  // namespace polder
