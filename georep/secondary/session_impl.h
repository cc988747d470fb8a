// SPDX-License-Identifier: GPL-3.0-or-later
// Inside of SecondarySession, shared by session.cc (life, applying), connection.cc (the conversation with a
// primary) and intake.cc (cuts on their way into the spool, and what is asked about the volume).
#pragma once
#include <memory>
#include <optional>
#include <string>

#include "base/concurrency.h"
#include "georep/protocol/stream.h"
#include "georep/secondary/rebuild.h"
#include "georep/secondary/session.h"
#include "georep/secondary/spool.h"
#include "proto/georep.pb.h"

namespace polder::georep {

struct SecondarySession::Impl {
  Impl(Seams& seams, FileOps& volume, Store& store, SecondaryConfig config)
      : seams_(seams),
        volume_(volume),
        store_(store),
        config_(std::move(config)),
        tasks_("geo-replication secondary " + config_.session) {}

  // session.cc
  Task<Result<void>> start();
  Task<Result<void>> find_first_cut();
  Task<Result<void>> drop_spool();
  Task<void> apply_loop();
  Task<Result<bool>> apply_or_sync();  // false: there was nothing to do
  Task<Result<void>> apply_next(std::uint64_t cut);
  Task<Result<void>> sync_and_trim();

  // connection.cc
  Task<void> serve(GeorepStream& stream);
  Task<Result<void>> converse(GeorepStream& stream);
  Task<Result<StreamFrame>> receive(GeorepStream& stream);
  Task<Result<void>> greet(GeorepStream& stream, const Hello& hello);
  Task<std::optional<Refusal>> find_refusal(const Hello& hello);
  Task<Result<void>> handle(GeorepStream& stream, const StreamFrame& frame);
  Task<void> tell_failure(GeorepStream& stream, const Error& error);
  void send_progress();

  // intake.cc
  Task<Result<KeyLocks::Guard>> lock_spool(const GeorepStream& stream);
  Task<Result<void>> begin_cut(GeorepStream& stream, const CutBegin& begin);
  Task<Result<void>> spool_frame(GeorepStream& stream, const StreamFrame& frame, std::uint64_t cut);
  Task<Result<void>> end_cut(GeorepStream& stream, const StreamFrame& frame);
  Task<Result<void>> take_delta(GeorepStream& stream, const StreamFrame& frame);
  Task<Result<void>> answer_signature(GeorepStream& stream, const SignatureRequest& request);
  Task<Result<void>> answer_verify(GeorepStream& stream, const VerifyRequest& request);
  Result<SpoolState> spool_state();

  std::uint64_t last_spooled() const {
    const auto cuts = spool_->finished();
    return cuts.empty() ? applied_.cut() : cuts.back();
  }

  Seams& seams_;
  FileOps& volume_;
  Store& store_;
  const SecondaryConfig config_;
  TaskGroup tasks_;
  Event changed_;        // the spool got a cut, or applying may go on
  KeyLocks spool_lock_;  // "spool": one user of the spool on workers at a time; "apply": between two cuts
  std::unique_ptr<Spool> spool_;
  AppliedState applied_;
  AppliedState spooled_state_;
  std::uint64_t synced_cut_ = 0;
  bool sync_first_ = false;   // no other cut before the volume is synced
  std::string apply_error_;   // why applying does not go on
  std::string intake_error_;  // why the last connection was broken off here; until another one gets further
  GeorepStream* stream_ = nullptr;  // the current connection
  std::unique_ptr<Rebuild> rebuild_;
  std::string rebuilding_;  // gfid bytes
};

}  // namespace polder::georep
