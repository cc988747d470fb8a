// SPDX-License-Identifier: GPL-3.0-or-later
// OrderingLayer: new objects.
#include <fcntl.h>

#include "base/on_worker.h"
#include "base/random.h"
#include "core-volume/layers/ordering/lead.h"
#include "core-volume/layers/ordering/ordering.h"

namespace polder {

/// A new object on its way.
struct OrderingLayer::Making {
  EntryName entry;
  StateOf state_of;
  Result<void> room;
  Record record;
  bool elsewhere = false;  // not made: its slot is another set's
};

Task<Result<FileAttr>> OrderingLayer::mknod(const OpContext& ctx, Gfid parent, std::string_view name,
                                            const NewObject& object) {
  NewObject wanted = object;
  CO_TRY(check_name(name));
  CO_TRY(wanted.mode, mode_for_mknod(object.mode));
  StateOf state_of = [&](const ParentFacts& facts) { return state_of_new_object(ctx, facts, wanted); };
  co_return co_await make(ctx, parent, name, state_of);
}

Task<Result<FileAttr>> OrderingLayer::mkdir(const OpContext& ctx, Gfid parent, std::string_view name,
                                            const NewObject& object) {
  NewObject wanted = object;
  CO_TRY(check_name(name));
  CO_TRY(wanted.mode, mode_for_mkdir(object.mode));
  StateOf state_of = [&](const ParentFacts& facts) { return state_of_new_object(ctx, facts, wanted); };
  co_return co_await make(ctx, parent, name, state_of);
}

Task<Result<FileAttr>> OrderingLayer::symlink(const OpContext& ctx, Gfid parent, std::string_view name,
                                              std::string_view target) {
  CO_TRY(check_name(name));
  StateOf state_of = [&](const ParentFacts& facts) { return state_of_new_symlink(ctx, facts, target); };
  co_return co_await make(ctx, parent, name, state_of, target.size());
}

Task<Result<FileAttr>> OrderingLayer::make(const OpContext& ctx, Gfid parent, std::string_view name,
                                           StateOf state_of, std::uint64_t bytes) {
  Making making{{parent, std::string(name)}, std::move(state_of), {}, {}};
  Keys keys{name_key(parent, name), object_key(parent, KeyLocks::Mode::kShared)};
  CO_TRY(auto held, co_await locks_.lock(std::move(keys)));
  if (const auto* done = done_before(ctx)) {
    auto gfid = done->gfid;
    if (!store_.owns(gfid)) co_return FileAttr{.gfid = gfid, .elsewhere = true};
    co_return co_await attr_of_done(gfid);
  }
  making.room = co_await room_for(bytes);
  auto made = co_await on_worker(short_work_, [&]() -> Result<FileAttr> {
    auto there = store_.lookup_again(parent, making.entry.name);
    if (there) return Error(EEXIST);
    if (!there.failed_with(ENOENT)) return std::move(there).error();
    return make_on_worker(ctx, making);
  });
  if (making.elsewhere)
    made = co_await make_elsewhere(ctx, making);
  else
    finish(ctx, making.record);
  if (made) hints_.learn(making.entry, {made->gfid, made->is_directory()});
  co_return made;
}

namespace {

/// As the store would say, without asking it.
FileAttr attr_of_new_file(const Record& record) {
  const auto& state = record.state;
  FileAttr attr;
  attr.gfid = record.gfid;
  attr.mode = state.mode;
  attr.uid = state.uid;
  attr.gid = state.gid;
  attr.nlink = 1;
  attr.atime = state.atime;
  attr.mtime = state.mtime;
  attr.ctime = time_from_ns(record.time_ns);
  attr.plain = state.xattrs.empty();
  return attr;
}

}  // namespace

/// A directory's slot spreads the load; a file lives where its directory does, unless that has become large.
std::uint16_t OrderingLayer::slot_for(const Gfid& parent, const Store::DirectoryFacts& facts,
                                      std::uint32_t mode) {
  if (!placement_)
    return S_ISDIR(mode) ? static_cast<std::uint16_t>(seams_.random.below(1 << 16)) : parent.slot();
  const auto spread = placement_->spread();
  const bool large = facts.size > options_.large_directory_bytes;
  const bool away = S_ISDIR(mode) || spread == Spread::kFiles || (spread == Spread::kAuto && large);
  return away ? placement_->choose_slot(seams_.random) : parent.slot();
}

/// The name is free and its key held.
Result<FileAttr> OrderingLayer::make_on_worker(const OpContext& ctx, Making& making) {
  auto& record = making.record;
  const auto& parent = making.entry.parent;
  TRY(auto facts, store_.directory_facts(parent));
  TRY(auto state, making.state_of({facts.mode, facts.gid, facts.default_acl}));
  TRY(making.room);
  const auto slot = slot_for(parent, facts, state.mode);
  record = begin(ctx, RecordKind::kCreate, Gfid::random(seams_.random, slot));
  record.name = making.entry;
  record.state = std::move(state);
  making.elsewhere = !store_.owns(record.gfid);
  if (making.elsewhere) return FileAttr();
  record.state.atime = record.state.mtime = time_from_ns(record.time_ns);
  Record undo;
  undo.kind = RecordKind::kUnlink;
  undo.gfid = record.gfid;
  undo.name = record.name;
  undo.last_link = true;
  TRY(commit(record, {.apply = {}, .hints = {}, .undo = std::move(undo)}));
  if (S_ISREG(record.state.mode)) return attr_of_new_file(record);
  return attr_after(record.gfid);
}

/// Nothing else can know the new object, so there is nothing to prepare.
Task<Result<FileAttr>> OrderingLayer::make_elsewhere(const OpContext& ctx, Making& making) {
  CO_TRY(peer(placement_->set_of(making.record.gfid)));
  Led led(*this, RecordKind::kCreate);
  const auto id = led.record.tx.id;
  led.record = std::move(making.record);
  led.record.tx.id = id;
  led.record.tx.mode = led.record.state.mode & S_IFMT;
  CO_TRY(auto attr, co_await decide(ctx, led));
  if (attr) co_return *attr;
  auto made = attr_of_new_file(led.record);
  made.elsewhere = true;
  co_return made;
}

Task<Result<Opened>> OrderingLayer::create(const OpContext& ctx, Gfid parent, std::string_view name,
                                           const NewObject& object, int flags) {
  NewObject wanted = object;
  CO_TRY(check_name(name));
  CO_TRY(wanted.mode, mode_for_create(object.mode));
  StateOf state_of = [&](const ParentFacts& facts) { return state_of_new_object(ctx, facts, wanted); };
  Gfid existing;
  {
    Making making{{parent, std::string(name)}, state_of, {}, {}};
    Keys keys{name_key(parent, name), object_key(parent, KeyLocks::Mode::kShared)};
    CO_TRY(auto held, co_await locks_.lock(std::move(keys)));
    if (const auto* done = done_before(ctx)) {
      bool created = done->kind == RecordKind::kCreate;
      auto gfid = done->gfid;
      if (!store_.owns(gfid)) {
        FileAttr there{.gfid = gfid, .elsewhere = true, .mode = S_IFREG};
        co_return Opened{.attr = there, .handle = 0, .created = created};
      }
      held.release();
      auto opened = co_await open_existing(ctx, gfid, flags & ~O_TRUNC, created);
      if (!opened) co_return std::move(opened).error().set_maybe_applied();
      co_return opened;
    }
    making.room = co_await room_for(0);
    auto made = co_await on_worker(short_work_, [&]() -> Result<FileAttr> {
      auto there = store_.lookup_again(parent, making.entry.name);
      if (there.failed_with(ENOENT)) return make_on_worker(ctx, making);
      if (there && (flags & O_EXCL)) return Error(EEXIST);
      return there;
    });
    if (making.elsewhere) {
      CO_TRY(auto attr, co_await make_elsewhere(ctx, making));
      attr.elsewhere = true;
      co_return Opened{.attr = attr, .handle = 0, .created = true};  // distribute opens it there
    }
    finish(ctx, making.record);
    if (!made) co_return std::move(made).error();
    if (making.record.index != 0) {
      hints_.learn(making.entry, {made->gfid, false});
      co_return Opened{.attr = *made, .handle = opens_.add(ctx.session, made->gfid), .created = true};
    }
    if (made->elsewhere) co_return Opened{.attr = *made, .handle = 0, .created = false};
    existing = made->gfid;
  }
  // Not with the name's key held: an unlink of this name waits for that one with the object's in its hand.
  auto opened = co_await open_existing(ctx, existing, flags & ~(O_CREAT | O_EXCL), false);
  // Gone between the look-up and the open: to the caller the name was never there.
  if (opened.failed_with(ESTALE)) co_return co_await create(ctx, parent, name, object, flags);
  co_return opened;
}

Task<Result<Opened>> OrderingLayer::open_existing(const OpContext& ctx, Gfid gfid, int flags, bool created) {
  CO_TRY(auto opened, co_await open(ctx, gfid, flags));
  opened.created = created;
  co_return opened;
}

}  // namespace polder
