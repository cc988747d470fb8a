// SPDX-License-Identifier: GPL-3.0-or-later
// OrderingLayer: rename.
//
// 1. Guess what both names show (hints), lock names, parents and objects in one step; directories that change
//    their parent also take the one key of the tree, so that its shape stands still while ancestors are
//    asked.
// 2. On a worker: look again. A wrong guess is replaced by the truth, and all begins anew.
// 3. Decide by POSIX's rules, append, apply.
//
// Across sets the same three steps are a transaction.
#include "base/on_worker.h"
#include "core-volume/layer/not_there_yet.h"
#include "core-volume/layers/ordering/lead.h"
#include "core-volume/layers/ordering/ordering.h"

namespace polder {

struct OrderingLayer::Renaming {
  EntryName from, to;
  unsigned flags;
  NameHints::Hint source, target;  // thought to be there; nil: free
  bool keep_target = false;        // for now: must_stay(), is_large()
  bool wrong = false;              // the hints were, and are right now
  bool across = false;             // other sets have a part in it

  bool moves_directory() const { return from.parent != to.parent && (source.directory || target.directory); }
};

OrderingLayer::Keys OrderingLayer::keys_of(const Renaming& renaming) const {
  Keys keys{name_key(renaming.from.parent, renaming.from.name),
            name_key(renaming.to.parent, renaming.to.name),
            object_key(renaming.from.parent, KeyLocks::Mode::kShared),
            object_key(renaming.to.parent, KeyLocks::Mode::kShared)};
  for (const auto& hint : {renaming.source, renaming.target})
    if (!hint.gfid.is_nil()) keys.push_back(object_key(hint.gfid, KeyLocks::Mode::kExclusive));
  if (renaming.moves_directory()) keys.push_back(tree_key());
  return keys;
}

Task<Result<void>> OrderingLayer::rename(const OpContext& ctx, Gfid from_parent, std::string_view from_name,
                                         Gfid to_parent, std::string_view to_name, unsigned flags) {
  CO_TRY(check_name(from_name));
  CO_TRY(check_name(to_name));
  Renaming renaming{{from_parent, std::string(from_name)}, {to_parent, std::string(to_name)}, flags, {}, {}};
  if (!store_.owns(from_parent)) co_return co_await rename_across(ctx, renaming);
  renaming.source = hints_.find(renaming.from);
  renaming.target = hints_.find(renaming.to);
  while (true) {
    CO_TRY(auto held, co_await locks_.lock(keys_of(renaming)));
    if (done_before(ctx)) co_return Result<void>();
    renaming.keep_target = must_stay(renaming.target.gfid);
    renaming.wrong = false;
    Record record;
    auto renamed = co_await on_worker(short_work_, [&] { return rename_on_worker(ctx, renaming, record); });
    if (renaming.wrong) continue;
    if (renaming.across) {
      held.release();
      co_return co_await rename_across(ctx, renaming);
    }
    finish(ctx, record);
    if (record.index != 0) {
      hints_.learn(renaming.to, renaming.source);
      hints_.learn(renaming.from, record.exchange ? renaming.target : NameHints::Hint{});
    }
    held.release();
    if (record.index != 0 && record.last_link && renaming.keep_target)
      co_await orphaned(record.displaced, record.index);
    co_return renamed;
  }
}

Result<void> OrderingLayer::rename_on_worker(const OpContext& ctx, Renaming& renaming, Record& record) {
  auto target_there = store_.lookup_again(renaming.to.parent, renaming.to.name);
  if (!target_there && !target_there.failed_with(ENOENT)) return std::move(target_there).error();
  TRY(auto source, store_.lookup_again(renaming.from.parent, renaming.from.name));
  std::optional<FileAttr> target;
  if (target_there) target = *target_there;

  NameHints::Hint true_source{source.gfid, source.is_directory()}, true_target;
  if (target) true_target = {target->gfid, target->is_directory()};
  if (true_source.gfid != renaming.source.gfid || true_target.gfid != renaming.target.gfid) {
    renaming.source = true_source;
    renaming.target = true_target;
    renaming.wrong = true;
    return {};
  }

  const bool several = placement_ && !placement_->is_single();
  renaming.across =
      several && (source.elsewhere || (target && target->elsewhere) || renaming.moves_directory());
  if (renaming.across) return {};
  TRY(store_.directory_facts(renaming.to.parent));  // refuses one that was removed
  TRY(auto facts, rename_facts(renaming, source, target));
  TRY(auto action, check_rename(facts, renaming.flags));
  if (action == RenameAction::kNothing) return {};
  record = begin(ctx, RecordKind::kRename, source.gfid);
  record.name = renaming.from;
  record.to = renaming.to;
  record.exchange = action == RenameAction::kExchange;
  if (target) record.displaced = target->gfid;
  record.last_link = action == RenameAction::kReplace && target->nlink == 1;
  renaming.keep_target |= record.last_link && is_large(*target);
  // A name that is free may be one too many for its directory; one that is replaced or exchanged needs no
  // room.
  std::optional<Record> undo;
  if (!target) {
    undo.emplace();
    undo->kind = RecordKind::kRename;
    undo->gfid = source.gfid;
    undo->name = renaming.to;
    undo->to = renaming.from;
  }
  return commit(record,
                {.apply = {}, .hints = {.keep_object = renaming.keep_target}, .undo = std::move(undo)});
}

Result<RenameFacts> OrderingLayer::rename_facts(const Renaming& renaming, const FileAttr& source,
                                                const std::optional<FileAttr>& target) {
  RenameFacts facts{.source = source, .target = target};
  // A child of a directory is above neither it nor its siblings.
  const bool moves = renaming.from.parent != renaming.to.parent;
  if (moves && source.is_directory()) {
    TRY(facts.source_above_target, is_above(source.gfid, renaming.to.parent));
  }
  if (target && target->is_directory()) {
    TRY(facts.target_empty, store_.is_empty(target->gfid));
    if (moves) {
      TRY(facts.target_above_source, is_above(target->gfid, renaming.from.parent));
    }
  }
  return facts;
}

/// Whether `above` is `gfid` or a directory on its way to the root. With the tree's key held.
Result<bool> OrderingLayer::is_above(const Gfid& above, Gfid gfid) {
  constexpr int kDeepest = 1 << 20;
  for (int depth = 0; depth < kDeepest; ++depth) {
    if (gfid == above) return true;
    if (gfid == Gfid::root()) return false;
    TRY(auto entry, store_.parent_of(gfid));
    gfid = entry.parent;
  }
  return Error(EUCLEAN).with("the way from directory {} to the root does not end", gfid.hex());
}

/// This set has the target's directory, and leads.
Task<Result<void>> OrderingLayer::rename_across(const OpContext& ctx, const Renaming& renaming) {
  std::pair<Gfid, Gfid> missing;
  while (true) {
    // Ahead of looking: neither what the names show now nor a disk that fails changes that it has happened.
    if (done_before(ctx)) co_return Result<void>();
    CO_TRY(auto* from_set, peer(placement_->set_of(renaming.from.parent)));
    CO_TRY(auto source, co_await from_set->peek(renaming.from));
    CO_TRY(auto target, co_await peek(renaming.to));
    if (source.gfid.is_nil()) co_return Error(ENOENT);
    Led led(*this, RecordKind::kRename);
    led.record.gfid = source.gfid;
    led.record.name = renaming.from;
    led.record.to = renaming.to;
    led.record.displaced = target.gfid;
    led.record.tx.mode = source.mode;
    led.record.tx.displaced_mode = target.mode;
    led.locks_tree =
        renaming.from.parent != renaming.to.parent && (S_ISDIR(source.mode) || S_ISDIR(target.mode));
    auto prepared = co_await prepare_all(led);
    if (done_before(ctx)) {
      co_await give_up(led);
      co_return Result<void>();
    }
    const std::pair objects{source.gfid, target.gfid};
    const bool is_missing = prepared.failed_with(ENXIO);
    if (is_missing && objects == missing) co_return not_there_yet(source.gfid);
    missing = is_missing ? objects : std::pair<Gfid, Gfid>();
    if (is_missing || prepared.failed_with(EAGAIN)) continue;
    CO_TRY(std::move(prepared));
    auto renamed = co_await rename_prepared(ctx, led, renaming);
    co_return renamed;
  }
}

Task<Result<void>> OrderingLayer::rename_prepared(const OpContext& ctx, Led& led, const Renaming& renaming) {
  RenameFacts facts{
      .source = *led.facts.object, .target = led.facts.displaced, .target_empty = led.facts.displaced_empty};
  if (led.record.displaced == led.record.gfid) facts.target = facts.source;
  auto decide_what = [&]() -> Task<Result<RenameAction>> {
    if (led.locks_tree && facts.source.is_directory()) {
      CO_TRY(facts.source_above_target, co_await is_above_across(facts.source.gfid, renaming.to.parent));
    }
    if (led.locks_tree && facts.target && facts.target->is_directory()) {
      CO_TRY(facts.target_above_source, co_await is_above_across(facts.target->gfid, renaming.from.parent));
    }
    co_return check_rename(facts, renaming.flags);
  };
  auto action = co_await decide_what();
  if (!action || *action == RenameAction::kNothing) {
    co_await give_up(led);
    if (action) co_return Result<void>();
    co_return std::move(action).error();
  }
  led.record.exchange = *action == RenameAction::kExchange;
  led.record.last_link = *action == RenameAction::kReplace && facts.target->nlink == 1;
  CO_TRY(co_await decide(ctx, led));
  forget_hints(led.record);
  co_return Result<void>();
}

}  // namespace polder
