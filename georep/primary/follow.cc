// SPDX-License-Identifier: GPL-3.0-or-later
// What is shipped over a connection: a scan when the log does not reach, then the log, cut by cut.
#include "base/clock.h"
#include "base/coro.h"
#include "base/log.h"
#include "base/on_worker.h"
#include "base/random.h"
#include "core-volume/layer/record_rules.h"
#include "georep/primary/restate.h"
#include "georep/primary/scan.h"
#include "georep/primary/session_impl.h"
#include "georep/protocol/record_block.h"

namespace polder::georep {

namespace {

using namespace std::chrono_literals;
constexpr auto kPollInterval = 10ms;  // of the stable index, which advances every 50 ms at most by itself
constexpr nanoseconds kYoung = 2s;    // a new file's bulk data waits for its close, or this long
constexpr std::size_t kAheadRecords = 8192;
constexpr std::uint64_t kAhead_bytes = 32u << 20;

/// About the log, or about this site: not for others.
bool stays_here(RecordKind kind) {
  return !is_about_object(kind) && kind != RecordKind::kRestored;
}

void append(CutPlan& plan, std::vector<Record> records, std::uint64_t index) {
  if (records.empty()) return;
  plan.items.emplace_back(RecordsItem{plan.records.size(), records.size()});
  for (auto& record : records) {
    record.index = index;
    plan.records.push_back(std::move(record));
  }
}

/// What the records since the mark name. A restore among them stands for all that it undid, back to its own
/// mark. Blocks.
Result<Touched> touched_by_restore(Journal& journal, const Record& restored) {
  Touched touched;
  std::uint64_t from = restored.offset + 1, upto = restored.index;
  while (from < upto) {
    auto reader = journal.read_from(from);
    if (!reader) return std::move(reader).error();
    auto earlier = from;
    while (true) {
      TRY(auto record, (*reader)->next());
      if (!record || record->index >= upto) break;
      touched.add(*record);
      if (record->kind == RecordKind::kRestored) earlier = std::min(earlier, record->offset + 1);
    }
    upto = from;
    from = earlier;
  }
  return touched;
}

/// Everything that `touched` names, as it is now. Blocks.
Result<CutPlan> plan_state(Store& store, const Touched& touched, std::uint64_t index) {
  CutPlan plan;
  plan.upto_index = index;
  plan.of_state = true;
  std::vector<Gfid> present, gone;
  for (const auto& gfid : touched.objects) {
    TRY(auto records, begin_object(store, gfid));
    const bool there = !records.empty();
    (there ? present : gone).push_back(gfid);
    const bool has_data = there && S_ISREG(records.front().state.mode);
    const std::uint64_t size = has_data ? records.back().length : 0;
    append(plan, std::move(records), index);
    if (size > 0) plan.items.emplace_back(ExtentItem{index, gfid, 0, size, 1});
  }
  for (const auto& [name, seen] : touched.names) {
    TRY(auto records, state_of_name(store, name, seen));
    append(plan, std::move(records), index);
  }
  for (const auto& gfid : gone) {
    TRY(auto records, removed_if_gone(store, gfid));
    append(plan, std::move(records), index);
  }
  for (const auto& gfid : present) {
    TRY(auto records, finish_object(store, gfid));
    append(plan, std::move(records), index);
  }
  return plan;
}

}  // namespace

Task<Result<void>> PrimarySession::Impl::ship() {
  while (true) {
    CO_TRY(co_await begin_scan_if_needed());
    CO_TRY(co_await ship_scan());
    auto ended = co_await ship_log();
    if (rescan_cause_.empty()) co_return ended;
  }
}

// --- scans
// -----------------------------------------------------------------------------------------------------

bool PrimarySession::Impl::log_reaches(std::uint64_t index) const {
  return index + 1 >= brick_.journal.first_index();
}

Task<Result<void>> PrimarySession::Impl::begin_scan_if_needed() {
  if (shipped_.scan_id() == 0) co_return co_await begin_scan("");
  if (rescan_cause_.empty() && !log_reaches(shipped_index()))
    rescan_cause_ = "the changelog no longer reaches back to what the secondary has";
  if (rescan_cause_.empty()) co_return Result<void>();
  co_return co_await begin_scan(rescan_cause_);
}

/// The log is followed from here on: what changes while the scan runs comes afterwards, as records.
Task<Result<void>> PrimarySession::Impl::begin_scan(std::string rescan) {
  CO_TRY(co_await on_worker(seams_.workers, [&] { return brick_.journal.sync(); }));
  const auto start = brick_.journal.stable_index();
  CO_TRY(co_await on_worker(seams_.workers, [&] { return brick_.journal.set_cursor(cursor_name_, start); }));
  if (!rescan.empty()) log::warning("geo-replication {}: a rescan begins: {}", config_.volume, rescan);
  rescan_ = rescan;
  rescan_cause_.clear();
  reader_.reset();
  ahead_.clear();
  unfinished_.reset();
  shipped_.set_scan_id(seams_.random.next() | 1);
  shipped_.set_scan_done(false);
  shipped_.set_scan_cursor("");
  shipped_.set_exact_from_index(0);
  shipped_.set_rescan(std::move(rescan));
  shipped_.clear_positions();
  set_position(shipped_.add_positions(), brick_.journal.position(start));
  status_.scanned_objects = 0;
  status_.state = state_of_progress();
  co_return Result<void>();
}

Task<Result<void>> PrimarySession::Impl::ship_scan() {
  if (shipped_.scan_done()) co_return Result<void>();
  CO_TRY(auto scan, co_await on_worker(seams_.workers, [&] {
           return Scan::begin(brick_.store, shipped_.scan_cursor(), !shipped_.rescan().empty());
         }));
  while (!shipped_.scan_done()) {
    CO_TRY(auto piece, co_await on_worker(seams_.workers, [&] { return scan->next(); }));
    auto state = shipped_;
    state.set_scan_cursor(piece.cursor);
    if (piece.done) {
      CO_TRY(co_await on_worker(seams_.workers, [&] { return brick_.journal.sync(); }));
      state.set_scan_done(true);
      state.set_exact_from_index(brick_.journal.stable_index());
    }
    CO_TRY(co_await send_cut(piece.plan, std::move(state), CutKind::kScan, {}));
    status_.scanned_objects += piece.objects;
  }
  co_return Result<void>();
}

// --- the log
// --------------------------------------------------------------------------------------------------------

Task<Result<void>> PrimarySession::Impl::ship_log() {
  while (true) {
    status_.state = state_of_progress();
    CO_TRY(const bool swept, co_await ship_sweep());
    CO_TRY(const bool sent, co_await ship_next_cut());
    if (stream_->closed()) co_return Error(ECONNRESET).with("the connection to the secondary ended");
    if (!sent && !swept) {
      CO_TRY(co_await seams_.clock.sleep_for(kPollInterval));
    }
  }
}

/// Whoever has read it: what a power loss could still take from here neither leaves nor decides what does.
Result<void> PrimarySession::Impl::check_stable(std::uint64_t index) const {
  const auto stable = brick_.journal.stable_index();
  if (index <= stable) return {};
  return Error(EIO).with("record {} was to be shipped, but only {} are stable", index, stable);
}

/// The end of a rescan: the secondary has every name as it is here, so what has none is not here any more.
Task<Result<bool>> PrimarySession::Impl::ship_sweep() {
  if (shipped_.rescan().empty() || shipped_index() < shipped_.exact_from_index()) co_return false;
  auto state = shipped_;
  state.clear_rescan();
  CO_TRY(co_await send_cut({}, std::move(state), CutKind::kSweep, {}));
  co_return true;
}

/// Fills `ahead_` with what may be read now, within bounds.
Task<Result<void>> PrimarySession::Impl::look_ahead() {
  auto looked = co_await on_worker(seams_.workers, [&]() -> Result<void> {
    if (!reader_) {
      const auto from = (ahead_.empty() ? shipped_index() : ahead_.back().index) + 1;
      TRY(reader_, brick_.journal.read_from(from));
    }
    std::uint64_t bytes = 0;
    for (const auto& record : ahead_) bytes += record.length;
    while (ahead_.size() < kAheadRecords && bytes < kAhead_bytes) {
      TRY(auto record, reader_->next());
      if (!record) break;
      TRY(check_stable(record->index));
      bytes += record->length;
      ahead_.push_back(std::move(*record));
    }
    return {};
  });
  if (looked.failed_with(ENODATA))
    rescan_cause_ = "the changelog no longer reaches back to what the secondary has";
  co_return looked;
}

Task<Result<bool>> PrimarySession::Impl::ship_next_cut() {
  CO_TRY(co_await wait_for_window());
  CO_TRY(co_await look_ahead());
  const auto size = size_of_next_cut();
  waiting_since_ = ahead_.empty() ? Hlc{} : ahead_.front().hlc;
  if (size == 0) co_return false;
  std::vector<Record> records(ahead_.begin(), ahead_.begin() + static_cast<std::ptrdiff_t>(size));
  const auto first_hlc = records.front().hlc;
  const auto last = records.back().index;
  const auto last_hlc = records.back().hlc;
  auto state = shipped_;
  note_found(records, state);
  CO_TRY(auto plan, co_await plan_next(std::move(records)));
  plan.upto_index = last;
  state.clear_positions();
  set_position(state.add_positions(), brick_.journal.position(last), last_hlc);
  CO_TRY(co_await send_cut(plan, std::move(state), CutKind::kLog, first_hlc));
  ahead_.erase(ahead_.begin(), ahead_.begin() + static_cast<std::ptrdiff_t>(size));
  waiting_since_ = ahead_.empty() ? Hlc{} : ahead_.front().hlc;
  co_return true;
}

/// Between the two records that enclose what a start after a power loss has found, the secondary is at no
/// point in time of this volume.
void PrimarySession::Impl::note_found(const std::vector<Record>& records, AppliedState& state) {
  for (const auto& record : records) {
    if (record.kind == RecordKind::kFoundBegin) state.set_exact_from_index(UINT64_MAX);
    if (record.kind == RecordKind::kFoundEnd) state.set_exact_from_index(record.index);
  }
}

/// A `restored` record is a cut of its own.
std::size_t PrimarySession::Impl::size_of_next_cut() const {
  if (unfinished_) {  // the same cut must be finished
    return static_cast<std::size_t>(std::count_if(ahead_.begin(), ahead_.end(), [&](const Record& record) {
      return record.index <= unfinished_->upto_index();
    }));
  }
  const std::vector<Record> records(ahead_.begin(), ahead_.end());
  auto size = choose_cut(records, [this](const Record& create) { return still_written(create); });
  for (std::size_t i = 0; i < size; ++i) {
    if (records[i].kind == RecordKind::kRestored) return std::max<std::size_t>(i, 1);
  }
  return size;
}

bool PrimarySession::Impl::still_written(const Record& create) const {
  // One that is made in the future is as old as that: the clock was set back, and hours may pass until it
  // gets there.
  const auto age =
      std::chrono::abs(seams_.clock.wall_time() - nanoseconds(static_cast<std::int64_t>(create.hlc.ns)));
  return age < kYoung && brick_.is_open(create.gfid);
}

Task<Result<CutPlan>> PrimarySession::Impl::plan_next(std::vector<Record> records) {
  if (records.front().kind == RecordKind::kRestored) {
    unfinished_.reset();  // planned from the state of now, under one index: there is no place to resume at
    co_return co_await plan_restored(records.front());
  }
  const std::vector<Record> all(ahead_.begin(), ahead_.end());
  const auto renamed_over = find_renamed_over(all);
  std::erase_if(records, [](const Record& record) { return stays_here(record.kind); });
  co_return plan_cut(std::move(records), renamed_over);
}

/// The volume went back to a mark: everything that the records since then name is sent as it is now.
Task<Result<CutPlan>> PrimarySession::Impl::plan_restored(const Record& restored) {
  auto touched =
      co_await on_worker(seams_.workers, [&] { return touched_by_restore(brick_.journal, restored); });
  if (touched.failed_with(ENODATA))
    rescan_cause_ = "the volume was restored to a snapshot that the changelog no longer reaches back to";
  CO_TRY(const auto all, std::move(touched));
  co_return co_await on_worker(seams_.workers, [&] { return plan_state(brick_.store, all, restored.index); });
}

// --- cuts
// -----------------------------------------------------------------------------------------------------------

Task<Result<void>> PrimarySession::Impl::wait_for_window() {
  while (!stream_->closed()) {
    if (in_flight_bytes_ < window_bytes_) co_return Result<void>();
    CO_TRY(co_await progress_.wait());
  }
  co_return Error(ECONNRESET).with("the connection to the secondary ended");
}

Task<Result<void>> PrimarySession::Impl::send_cut(const CutPlan& plan, AppliedState state, CutKind kind,
                                                  Hlc first_hlc) {
  CO_TRY(check_stable(state.positions_size() ? state.positions(0).index() : 0));
  CO_TRY(co_await wait_for_window());
  const auto cut = shipped_.cut() + 1;
  ResumePoint resume;
  StreamMessage begin;
  begin.mutable_cut_begin()->set_cut(cut);
  *begin.mutable_cut_begin()->mutable_upto() = state.positions(0);
  begin.mutable_cut_begin()->set_scan(kind == CutKind::kScan);
  begin.mutable_cut_begin()->set_keep_objects(!shipped_.rescan().empty());
  if (unfinished_ && kind == CutKind::kLog && unfinished_->cut() == cut) {
    begin.mutable_cut_begin()->set_resume(true);
    resume = {unfinished_->index(), unfinished_->extent_index(), {}, unfinished_->extent_end()};
    if (unfinished_->extent_index() != 0) {
      CO_TRY(resume.extent_gfid, gfid_from(unfinished_->extent_gfid()));
    }
  }
  unfinished_.reset();
  if (kind != CutKind::kLog) last_scan_cut_ = cut;
  stream_->send(begin);
  const auto wire_before = stream_->sent_bytes();
  in_flight_[cut].first_hlc = first_hlc;
  const auto frames_before = transfer_->frames();
  CO_TRY(co_await transfer_->send_items(cut, plan, resume));
  // A change that was read and is not yet in the log for certain could be lost here, and stay there.
  if (plan.is_read_from_volume()) {
    CO_TRY(co_await on_worker(seams_.workers, [&] { return brick_.journal.sync(); }));
  }
  state.set_cut(cut);
  state.set_generation(config_.generation);
  StreamMessage end;
  end.mutable_cut_end()->set_cut(cut);
  end.mutable_cut_end()->set_sweep(kind == CutKind::kSweep);
  end.mutable_cut_end()->set_frames(transfer_->frames() - frames_before);
  *end.mutable_cut_end()->mutable_state() = state;
  stream_->send(end);
  in_flight_[cut].bytes = stream_->sent_bytes() - wire_before;
  in_flight_bytes_ += in_flight_[cut].bytes;
  shipped_ = std::move(state);
  co_return Result<void>();
}

}  // namespace polder::georep
