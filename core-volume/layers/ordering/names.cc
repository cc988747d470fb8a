// SPDX-License-Identifier: GPL-3.0-or-later
// OrderingLayer: link, unlink, rmdir.
#include "base/on_worker.h"
#include "core-volume/layer/not_there_yet.h"
#include "core-volume/layers/ordering/lead.h"
#include "core-volume/layers/ordering/ordering.h"

namespace polder {

namespace {

Result<void> check_link_target(const FileAttr& target) {
  if (target.is_directory()) return Error(EPERM);
  if (target.nlink == 0) return Error(ENOENT);  // unlinked, only open
  if (target.nlink >= kLinkMax) return Error(EMLINK);
  return {};
}

}  // namespace

Task<Result<FileAttr>> OrderingLayer::link(const OpContext& ctx, Gfid gfid, Gfid parent,
                                           std::string_view name) {
  CO_TRY(check_name(name));
  EntryName entry{parent, std::string(name)};
  if (!store_.owns(gfid)) co_return co_await link_across(ctx, gfid, std::move(entry));
  Keys keys{name_key(parent, name), object_key(parent, KeyLocks::Mode::kShared),
            object_key(gfid, KeyLocks::Mode::kExclusive)};
  CO_TRY(auto held, co_await locks_.lock(std::move(keys)));
  if (done_before(ctx)) co_return co_await attr_of_done(gfid);
  const auto room = co_await room_for(0);
  Record record;
  auto linked = co_await on_worker(short_work_, [&]() -> Result<FileAttr> {
    auto there = store_.lookup_again(parent, entry.name);
    if (!there && !there.failed_with(ENOENT)) return std::move(there).error();
    TRY(store_.directory_facts(parent));  // refuses one that was removed
    TRY(auto target, store_.attr(gfid));
    if (there && !target.is_directory()) return Error(EEXIST);
    TRY(check_link_target(target));
    TRY(room);
    record = begin(ctx, RecordKind::kLink, gfid);
    record.name = entry;
    Record undo;
    undo.kind = RecordKind::kUnlink;
    undo.gfid = gfid;
    undo.name = entry;
    TRY(commit(record, {.apply = {}, .hints = {}, .undo = std::move(undo)}));
    return attr_after(gfid);
  });
  finish(ctx, record);
  if (linked) hints_.learn(entry, {gfid, false});
  co_return linked;
}

Task<Result<void>> OrderingLayer::unlink(const OpContext& ctx, Gfid parent, std::string_view name) {
  co_return co_await remove(ctx, parent, name, false);
}

Task<Result<void>> OrderingLayer::rmdir(const OpContext& ctx, Gfid parent, std::string_view name) {
  co_return co_await remove(ctx, parent, name, true);
}

struct OrderingLayer::Removal {
  EntryName entry;
  bool directory;
  NameHints::Hint hint;         // what the name is thought to show; its key is held
  bool keep = false;            // that object stays for now: must_stay(), is_large()
  bool wrong = false;           // the name shows something else: `hint` says what
  std::uint32_t elsewhere = 0;  // type of the object, which is on another set
};

/// The object must be locked together with its name, but only the name is known: guess, lock, look again.
Task<Result<void>> OrderingLayer::remove(const OpContext& ctx, Gfid parent, std::string_view name,
                                         bool directory) {
  CO_TRY(check_name(name));
  Removal removal{{parent, std::string(name)}, directory, {}};
  removal.hint = hints_.find(removal.entry);
  Gfid missing;
  while (true) {
    Keys keys{name_key(parent, name), object_key(parent, KeyLocks::Mode::kShared)};
    if (!removal.hint.gfid.is_nil())
      keys.push_back(object_key(removal.hint.gfid, KeyLocks::Mode::kExclusive));
    CO_TRY(auto held, co_await locks_.lock(std::move(keys)));
    if (done_before(ctx)) co_return Result<void>();
    removal.keep = must_stay(removal.hint.gfid);
    removal.wrong = false;
    Record record;
    auto removed = co_await on_worker(short_work_, [&] { return remove_on_worker(ctx, removal, record); });
    if (removal.wrong) continue;
    if (removal.elsewhere != 0) {
      held.release();
      auto across = co_await remove_across(ctx, removal);
      removal.elsewhere = 0;
      const bool is_missing = across.failed_with(ENXIO);
      if (is_missing && removal.hint.gfid == missing) co_return not_there_yet(missing);
      missing = is_missing ? removal.hint.gfid : Gfid();
      if (is_missing || across.failed_with(EAGAIN)) continue;
      co_return across;
    }
    finish(ctx, record);
    hints_.forget(removal.entry);
    held.release();
    if (record.index != 0 && record.last_link && removal.keep) co_await orphaned(record.gfid, record.index);
    co_return removed;
  }
}

Result<void> OrderingLayer::remove_on_worker(const OpContext& ctx, Removal& removal, Record& record) {
  TRY(auto victim, store_.lookup_again(removal.entry.parent, removal.entry.name));
  if (!removal.directory && victim.is_directory()) return Error(EISDIR);
  if (removal.directory && !victim.is_directory()) return Error(ENOTDIR);
  if (victim.gfid != removal.hint.gfid) {
    removal.hint = {victim.gfid, victim.is_directory()};
    removal.wrong = true;
    return {};
  }
  if (victim.elsewhere) {
    removal.elsewhere = victim.mode & S_IFMT;
    return {};
  }
  if (removal.directory) {
    TRY(bool empty, store_.is_empty(victim.gfid));
    if (!empty) return Error(ENOTEMPTY);
  }
  record = begin(ctx, RecordKind::kUnlink, victim.gfid);
  record.name = removal.entry;
  record.last_link = victim.nlink == 1;
  removal.keep |= record.last_link && is_large(victim);
  return commit(record, {.apply = {}, .hints = {.keep_object = removal.keep}, .undo = {}});
}

// --- of objects on other sets

/// EAGAIN: the name shows something else by now. ENXIO: or its object is not on its set.
Task<Result<void>> OrderingLayer::remove_across(const OpContext& ctx, const Removal& removal) {
  Led led(*this, RecordKind::kUnlink);
  led.record.gfid = removal.hint.gfid;
  led.record.name = removal.entry;
  led.record.tx.mode = removal.elsewhere;
  auto prepared = co_await prepare_all(led);
  if (done_before(ctx)) {
    co_await give_up(led);
    co_return Result<void>();
  }
  CO_TRY(std::move(prepared));
  if (removal.directory && !led.facts.object_empty) {
    co_await give_up(led);
    co_return Error(ENOTEMPTY);
  }
  led.record.last_link = led.facts.object->nlink == 1;
  CO_TRY(co_await decide(ctx, led));
  hints_.forget(removal.entry);
  co_return Result<void>();
}

Task<Result<FileAttr>> OrderingLayer::link_across(const OpContext& ctx, Gfid gfid, EntryName entry) {
  Led led(*this, RecordKind::kLink);
  led.record.gfid = gfid;
  led.record.name = entry;
  auto prepared = co_await prepare_all(led);
  if (done_before(ctx)) {
    co_await give_up(led);
    co_return FileAttr{.gfid = gfid, .elsewhere = true};
  }
  if (prepared.failed_with(ENXIO)) co_return Error(ESTALE);  // nothing but the object can have gone
  CO_TRY(std::move(prepared));
  auto allowed = check_link_target(*led.facts.object);
  if (!allowed) {
    co_await give_up(led);
    co_return std::move(allowed).error();
  }
  led.record.tx.mode = led.facts.object->mode & S_IFMT;
  CO_TRY(auto attr, co_await decide(ctx, led));
  hints_.learn(entry, {gfid, false});
  co_return attr ? *attr : FileAttr{.gfid = gfid, .elsewhere = true};
}

}  // namespace polder
