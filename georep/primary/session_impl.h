// SPDX-License-Identifier: GPL-3.0-or-later
// Inside of PrimarySession, shared by session.cc (life and connection), follow.cc (scan and log) and
// verify.cc.
#pragma once
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "base/concurrency.h"
#include "georep/primary/session.h"
#include "georep/primary/transfer.h"
#include "georep/protocol/stream.h"
#include "proto/georep.pb.h"

namespace polder::georep {

struct PrimarySession::Impl {
  Impl(Seams& seams, PrimaryBrick brick, PrimaryConfig config);

  // session.cc
  Task<void> run();
  Task<Result<void>> connect_and_serve(const Endpoint& endpoint);
  Task<Result<void>> greet();
  Task<Result<void>> read_answers();
  Task<void> ping();
  void send_ping();
  Task<void> read_answers_until_end();
  Result<void> adopt(const Welcome& welcome);
  /// Whether the secondary has all of the first sync, or of a rescan: shipping it is not enough.
  bool has_scan() const {
    return shipped_.scan_done() && shipped_.rescan().empty() && applied_.cut >= last_scan_cut_;
  }
  bool is_exact() const { return has_scan() && applied_.index >= shipped_.exact_from_index(); }
  PrimaryStatus::State state_of_progress() const;
  Result<void> refused(const Refusal& refusal);
  void take_progress(const Progress& progress);
  void keep_in_flight(std::uint64_t applied, std::uint64_t last);
  Task<Result<void>> set_cursor(std::uint64_t index);

  // follow.cc
  Task<Result<void>> ship();
  Task<Result<void>> ship_scan();
  bool log_reaches(std::uint64_t index) const;
  Task<Result<void>> begin_scan_if_needed();
  Task<Result<void>> begin_scan(std::string rescan);
  Task<Result<void>> ship_log();
  Task<Result<bool>> ship_next_cut();  // false: nothing to ship now
  Task<Result<bool>> ship_sweep();     // false: it is not time for it
  static void note_found(const std::vector<Record>& records, AppliedState& state);
  std::size_t size_of_next_cut() const;
  Task<Result<CutPlan>> plan_next(std::vector<Record> records);
  Task<Result<CutPlan>> plan_restored(const Record& restored);
  Result<void> check_stable(std::uint64_t index) const;
  enum class CutKind { kScan, kLog, kSweep };
  Task<Result<void>> send_cut(const CutPlan& plan, AppliedState state, CutKind kind, Hlc first_hlc);
  Task<Result<void>> wait_for_window();
  Task<Result<void>> look_ahead();
  bool still_written(const Record& create) const;

  // verify.cc
  Task<Result<std::vector<VerifyReply::Object>>> ask_digests(const std::vector<Gfid>& gfids);
  Task<Result<void>> compare(const std::vector<Gfid>& gfids, std::vector<Gfid>& different,
                             std::vector<Gfid>& missing);

  /// A caller of checkpoint() or verify(): stop() waits for it, since the brick goes after that.
  class Use {
   public:
    explicit Use(Impl& impl) : impl_(impl) { ++impl_.users_; }
    Use(const Use&) = delete;
    ~Use() {
      --impl_.users_;
      impl_.progress_.notify_all();
    }

   private:
    Impl& impl_;
  };
  Result<void> check_running() const;

  bool connected() const { return transfer_ != nullptr; }
  std::uint64_t shipped_index() const {
    return shipped_.positions_size() ? shipped_.positions(0).index() : 0;
  }
  std::uint64_t applied_index() const { return applied_.index; }

  Seams& seams_;
  PrimaryBrick brick_;
  const PrimaryConfig config_;
  const std::string cursor_name_;
  TaskGroup tasks_;
  KeyLocks verify_lock_;

  // The connection; null between two.
  std::unique_ptr<GeorepStream> stream_;
  std::unique_ptr<Answers> answers_;
  Result<void> answers_ended_;  // why nothing more was read from the current connection
  std::unique_ptr<Transfer> transfer_;
  std::optional<nanoseconds> welcomed_at_;  // by the current or last connection
  std::uint64_t window_bytes_ = 0;
  std::optional<SpoolState> unfinished_;  // of Welcome, until that cut has been sent

  AppliedState shipped_;                   // the last cut that was sent whole
  std::uint64_t last_scan_cut_ = 0;        // once shipped_ has the whole scan; that, or a later one
  std::string rescan_cause_;               // the log does not have what is to follow: to be begun
  std::string rescan_;                     // why the last rescan was; the secondary may still apply it
  std::unique_ptr<JournalReader> reader_;  // null: to be opened behind shipped_ and ahead_
  std::deque<Record> ahead_;               // read and not yet shipped
  struct Applied {
    std::uint64_t cut = 0;
    std::uint64_t index = 0;
    Hlc hlc{};
  } applied_;
  std::uint64_t heard_ = 0;  // how often the secondary has said what is applied
  struct InFlight {
    std::uint64_t bytes = 0;
    Hlc first_hlc{};  // of the oldest change in it
  };
  std::map<std::uint64_t, InFlight> in_flight_;  // cut → what it holds, until applied
  std::uint64_t in_flight_bytes_ = 0;            // sum over in_flight_
  Event progress_;  // something was applied, the connection ended, or the session is stopping
  bool stopping_ = false;
  int users_ = 0;
  Hlc waiting_since_{};  // oldest change seen in the log and not yet shipped; 0: none

  std::optional<VerifyReply> verify_reply_;  // to the last request
  std::uint64_t next_verify_ = 1;

  PrimaryStatus status_;
  std::uint64_t finished_sent_bytes_ = 0;  // of connections that have ended
  std::uint64_t finished_received_bytes_ = 0;
};

}  // namespace polder::georep
