// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/layers/ordering/told_files.h"

#include <sys/stat.h>

#include <algorithm>

#include "core-volume/layers/ordering/ordering.h"

namespace polder {
namespace {

bool changes_bytes(const Record& record) {
  return record.kind <= RecordKind::kZero;
}

/// Afterwards there are no bytes that were there before.
bool begins_anew(const Record& record) {
  return record.kind == RecordKind::kCreate ? S_ISREG(record.state.mode)
                                            : record.kind == RecordKind::kTruncate && record.length == 0;
}

}  // namespace

bool ToldFiles::would_wait(const Gfid& gfid) {
  return is_followed() && !is_told(gfid);
}

/// The checkpoint is asked for when the record is appended: one that begins later makes it stable itself.
Result<void> ToldFiles::before(const Record& appended) {
  if (!changes_bytes(appended) || begins_anew(appended) || !would_wait(appended.gfid)) return {};
  TRY(journal_.sync());
  tell(appended);
  return {};
}

void ToldFiles::after(const Record& applied) {
  if (begins_anew(applied) && is_followed()) tell(applied);
}

bool ToldFiles::is_followed() {
  const auto as_of = journal_.cursor_changes();
  std::lock_guard lock(mutex_);
  if (!followed_as_of_ || *followed_as_of_ < as_of) {
    followed_ = std::ranges::any_of(journal_.cursor_names(), [](const std::string& name) {
      return name != kTransactionsCursor && !name.starts_with(kPinPrefix);
    });
    followed_as_of_ = as_of;
  }
  return followed_;
}

bool ToldFiles::is_told(const Gfid& gfid) {
  const auto checkpoint = journal_.next_checkpoint_index();
  std::lock_guard lock(mutex_);
  auto found = files_.find(gfid);
  return found != files_.end() && found->second > checkpoint;
}

void ToldFiles::tell(const Record& record) {
  const auto checkpoint = journal_.next_checkpoint_index();
  std::lock_guard lock(mutex_);
  if (files_.size() >= kFilesMax)
    std::erase_if(files_, [&](const auto& file) { return file.second <= checkpoint; });
  if (files_.size() >= kFilesMax) files_.clear();
  files_[record.gfid] = record.index;
}

}  // namespace polder
