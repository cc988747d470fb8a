// SPDX-License-Identifier: GPL-3.0-or-later
// OrderingLayer: setattr and extended attributes.
#include "base/on_worker.h"
#include "core-volume/layers/ordering/ordering.h"

namespace polder {

Task<Result<FileAttr>> OrderingLayer::setattr(const OpContext& ctx, Gfid gfid, const SetAttr& change) {
  Keys keys{object_key(gfid, KeyLocks::Mode::kExclusive)};
  CO_TRY(auto held, co_await locks_.lock(std::move(keys)));
  const auto* done = done_before(ctx);
  const bool more = change.fields & ~static_cast<std::uint32_t>(SetAttr::kSize);
  if (done && (done->kind == RecordKind::kSetattr || !more)) co_return co_await attr_of_done(gfid);
  const bool truncated = done != nullptr;  // killed between the two records
  Record truncate, setattr;
  auto work = [&] { return setattr_on_worker(ctx, gfid, change, truncated, truncate, setattr); };
  const bool sizes = (change.fields & SetAttr::kSize) != 0;
  const bool is_long = sizes && (data_sync_.relied_on_log(gfid) || told_files_.would_wait(gfid) ||
                                 co_await frees_much(gfid, change.size));
  auto after = is_long ? co_await on_worker(seams_.workers, work) : co_await on_worker(short_work_, work);
  finish(ctx, truncate);
  finish(ctx, setattr);
  if (!after && truncated) co_return std::move(after).error().set_maybe_applied();
  co_return after;
}

/// Two records when the size changes with something else, and then both or only the first happen.
Result<FileAttr> OrderingLayer::setattr_on_worker(const OpContext& ctx, const Gfid& gfid,
                                                  const SetAttr& change, bool truncated, Record& truncate,
                                                  Record& setattr) {
  TRY(auto before, store_.attr(gfid));
  TRY(check_setattr(before, change));
  if (change.fields & SetAttr::kSize && !truncated) {
    truncate = begin(ctx, RecordKind::kTruncate, gfid);
    truncate.length = change.size;
    Applying how;
    how.undo.emplace();
    how.undo->kind = RecordKind::kTruncate;
    how.undo->gfid = gfid;
    how.undo->length = before.size;
    TRY(commit(truncate, how));
    TRY(before, attr_after(gfid));
  }
  if ((change.fields & ~static_cast<std::uint32_t>(SetAttr::kSize)) == 0) return before;
  setattr = begin(ctx, RecordKind::kSetattr, gfid);
  setattr.state = state_after_setattr(before, change, time_from_ns(setattr.time_ns));
  Applying how;
  how.undo.emplace();
  how.undo->kind = RecordKind::kSetattr;
  how.undo->gfid = gfid;
  how.undo->state = state_after_setattr(before, {}, {});
  auto done = commit(setattr, how);
  if (!done && truncate.index != 0) return std::move(done).error().set_maybe_applied();
  TRY(std::move(done));
  return attr_after(gfid);
}

Task<Result<void>> OrderingLayer::setxattr(const OpContext& ctx, Gfid gfid, std::string_view key,
                                           std::string_view value, int flags) {
  co_return co_await change_xattr(ctx, gfid, std::string(key), std::string(value), flags);
}

Task<Result<void>> OrderingLayer::removexattr(const OpContext& ctx, Gfid gfid, std::string_view key) {
  co_return co_await change_xattr(ctx, gfid, std::string(key), std::nullopt, 0);
}

Task<Result<void>> OrderingLayer::change_xattr(const OpContext& ctx, Gfid gfid, std::string key,
                                               std::optional<std::string> value, int flags) {
  Keys keys{object_key(gfid, KeyLocks::Mode::kExclusive)};
  CO_TRY(auto held, co_await locks_.lock(std::move(keys)));
  if (done_before(ctx)) co_return Result<void>();
  Result<void> room;
  if (value) room = co_await room_for(value->size());
  Record record;
  auto changed = co_await on_worker(
      short_work_, [&] { return xattr_on_worker(ctx, gfid, key, value, flags, room, record); });
  finish(ctx, record);
  co_return changed;
}

Result<void> OrderingLayer::xattr_on_worker(const OpContext& ctx, const Gfid& gfid, const std::string& key,
                                            const std::optional<std::string>& value, int flags,
                                            const Result<void>& room, Record& record) {
  XattrFacts facts;
  TRY(facts.object, store_.attr(gfid));
  TRY(check_xattr_key(key));
  auto before = store_.get_xattr(gfid, key);
  facts.exists = before.has_value();
  bool unknown = !before && !before.failed_with(ENODATA) && !before.failed_with(EOPNOTSUPP);
  if (unknown) return std::move(before).error();
  TRY(auto plan, value ? plan_setxattr(facts, key, *value, flags) : plan_removexattr(facts, key));
  if (plan.nothing) return {};
  if (plan.value) {
    TRY(room);
  }
  record = begin(ctx, RecordKind::kXattr, gfid);
  record.key = key;
  record.value = std::move(plan.value);
  record.state.mode = plan.mode;
  Applying how;
  how.undo.emplace();
  how.undo->kind = RecordKind::kXattr;
  how.undo->gfid = gfid;
  how.undo->key = key;
  if (facts.exists) how.undo->value = *std::move(before);
  how.undo->state.mode = facts.object.mode;
  return commit(record, how);
}

}  // namespace polder
