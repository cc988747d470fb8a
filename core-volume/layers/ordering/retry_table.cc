// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/layers/ordering/retry_table.h"

namespace polder {
namespace {

/// As OrderingLayer makes undoing records: see its commit.cc and heal.cc.
bool undoes(const Record& record, const RetryTable::Done& before) {
  if (record.gfid != before.gfid) return false;
  switch (record.kind) {
    case RecordKind::kWrite:
      return before.kind == RecordKind::kWrite;
    case RecordKind::kUnlink:
      return before.kind == RecordKind::kCreate || before.kind == RecordKind::kLink;
    case RecordKind::kTruncate:
      return before.kind == RecordKind::kWrite || before.kind == RecordKind::kTruncate ||
             before.kind == RecordKind::kFallocate || before.kind == RecordKind::kPunch ||
             before.kind == RecordKind::kZero;
    case RecordKind::kRename:
    case RecordKind::kSetattr:
    case RecordKind::kXattr:
      return before.kind == record.kind;
    default:
      return false;
  }
}

}  // namespace

const RetryTable::Done* RetryTable::find(std::uint32_t session, std::uint64_t sequence) const {
  auto of_session = sessions_.find(session);
  if (of_session == sessions_.end()) return nullptr;
  auto at = of_session->second.done.find(sequence);
  return at == of_session->second.done.end() ? nullptr : &at->second;
}

void RetryTable::note(const Record& record) {
  if (record.session == 0 || record.sequence == 0) return;
  auto& session = sessions_[record.session];
  auto [at, fresh] = session.done.try_emplace(record.sequence);
  if (!fresh && undoes(record, at->second)) {
    session.done.erase(at);
    return;
  }
  at->second = {record.kind, record.gfid, record.offset, record.length};
  if (!fresh) return;
  session.order.push_back(record.sequence);
  if (session.order.size() <= kPerSession) return;
  session.done.erase(session.order.front());
  session.order.pop_front();
}

}  // namespace polder
