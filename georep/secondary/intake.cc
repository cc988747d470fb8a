// SPDX-License-Identifier: GPL-3.0-or-later
// Cuts on their way into the spool; signatures of bases and digests of objects for the primary.
#include "base/coro.h"
#include "base/on_worker.h"
#include "georep/protocol/digest.h"
#include "georep/protocol/record_block.h"
#include "georep/secondary/apply.h"
#include "georep/secondary/session_impl.h"

namespace polder::georep {

/// For the frames of the current connection. One that was replaced may still be on its way here: what it
/// brings, its successor was told to send.
Task<Result<KeyLocks::Guard>> SecondarySession::Impl::lock_spool(const GeorepStream& stream) {
  CO_TRY(auto guard, co_await spool_lock_.lock({{"spool", KeyLocks::Mode::kExclusive}}));
  if (stream_ != &stream) co_return Error(ECONNRESET).with("a newer connection has replaced this one");
  co_return std::move(guard);
}

Task<Result<void>> SecondarySession::Impl::begin_cut(GeorepStream& stream, const CutBegin& begin) {
  CO_TRY(auto guard, co_await lock_spool(stream));
  if (begin.cut() != last_spooled() + 1) {
    co_return Error(EPROTO).with("cut {} was begun after cut {}", begin.cut(), last_spooled());
  }
  if (begin.resume() && spool_->unfinished() == begin.cut()) co_return Result<void>();
  StreamMessage message;
  *message.mutable_cut_begin() = begin;
  const auto bytes = message.SerializeAsString();
  co_return co_await on_worker(seams_.workers, [&]() -> Result<void> {
    TRY(spool_->abandon());
    TRY(spool_->begin(begin.cut()));
    return spool_->append(as_bytes(bytes), {});
  });
}

Task<Result<void>> SecondarySession::Impl::spool_frame(GeorepStream& stream, const StreamFrame& frame,
                                                       std::uint64_t cut) {
  const auto bytes = frame.message->SerializeAsString();
  CO_TRY(auto guard, co_await lock_spool(stream));
  if (cut == 0 || cut != spool_->unfinished())
    co_return Error(EPROTO).with("a frame of cut {} outside of it", cut);
  co_return co_await on_worker(seams_.workers, [&]() -> Result<void> {
    // Nothing goes into the spool that cannot be applied: a damaged stream must not become a damaged spool.
    TRY(records_of_frame({bytes, frame.payload}));
    return spool_->append(as_bytes(bytes), frame.payload.bytes());
  });
}

namespace {

/// A log never rewinds: where a position is behind the one before, something else has its number now.
Result<void> check_goes_on(const Position& before, const Position& after) {
  if (before.lineage() != after.lineage() || before.set() != after.set())
    return Error(EPROTO).with("a cut of another changelog than the one before it");
  const auto number = [](const Position& position) { return std::pair(position.term(), position.index()); };
  if (number(after) >= number(before)) return {};
  return Error(EPROTO).with(
      "a cut ends at record {} of term {}, after one that ended at record {} of term {}", after.index(),
      after.term(), before.index(), before.term());
}

}  // namespace

Task<Result<void>> SecondarySession::Impl::end_cut(GeorepStream& stream, const StreamFrame& frame) {
  const auto& end = frame.message->cut_end();
  if (end.state().positions_size() != 1) {
    co_return Error(EPROTO).with("cut {} ends at {} positions", end.cut(), end.state().positions_size());
  }
  if (end.state().cut() != end.cut())
    co_return Error(EPROTO).with("cut {} ends as cut {}", end.cut(), end.state().cut());
  if (spooled_state_.positions_size() > 0) {
    CO_TRY(check_goes_on(spooled_state_.positions(0), end.state().positions(0)));
  }
  CO_TRY(co_await spool_frame(stream, frame, end.cut()));
  {
    CO_TRY(auto guard, co_await lock_spool(stream));
    auto finished = co_await on_worker(seams_.workers, [&] { return spool_->finish(); });
    if (last_spooled() == end.cut()) spooled_state_ = end.state();  // perhaps only its name is not durable
    CO_TRY(std::move(finished));
  }
  intake_error_.clear();
  changed_.notify_all();
  send_progress();
  co_return Result<void>();
}

/// The file is rebuilt at once, while the basis still is as it was signed; the spool gets a Delta frame
/// without payload that stands for the rebuilt file.
Task<Result<void>> SecondarySession::Impl::take_delta(GeorepStream& stream, const StreamFrame& frame) {
  const auto& delta = frame.message->delta();
  CO_TRY(const Gfid gfid, gfid_from(delta.gfid()));
  CO_TRY(const Gfid basis, gfid_from(delta.basis()));
  if (gfid.is_nil()) co_return Error(EPROTO).with("a delta of no object");
  CO_TRY(auto guard, co_await lock_spool(stream));
  if (delta.cut() == 0 || delta.cut() != spool_->unfinished())
    co_return Error(EPROTO).with("a delta outside of a cut");
  if (!rebuild_ || rebuilding_ != delta.gfid()) {
    const auto path = spool_->side_file(delta.cut(), gfid.hex());
    CO_TRY(rebuild_,
           co_await on_worker(seams_.workers, [&] { return Rebuild::begin(seams_.disk, path, basis); }));
    rebuilding_ = delta.gfid();
  }
  CO_TRY(co_await on_worker(seams_.workers, [&]() -> Result<void> {
    TRY(auto raw, unpack(frame.payload, delta.raw_bytes()));
    return rebuild_->add(raw.bytes());
  }));
  if (!delta.last()) co_return Result<void>();
  CO_TRY(const bool good, co_await on_worker(seams_.workers, [&]() -> Result<bool> {
           TRY(const bool matches, rebuild_->finish(store_, delta.result_bytes(), delta.result_xxh3_128()));
           rebuild_.reset();
           if (!matches) return false;
           TRY(spool_->sync_directory());
           StreamMessage mark;
           *mark.mutable_delta() = delta;
           mark.mutable_delta()->set_raw_bytes(0);
           TRY(spool_->append(as_bytes(mark.SerializeAsString()), {}));
           return true;
         }));
  StreamMessage answer;
  answer.mutable_delta_result()->set_gfid(delta.gfid());
  answer.mutable_delta_result()->set_ok(good);
  stream.send(answer);
  co_return Result<void>();
}

Task<Result<void>> SecondarySession::Impl::answer_signature(GeorepStream& stream,
                                                            const SignatureRequest& request) {
  CO_TRY(const Gfid gfid, gfid_from(request.gfid()));
  CO_TRY(auto signed_basis, co_await on_worker(seams_.workers, [&] { return sign_basis(store_, gfid); }));
  StreamMessage answer;
  auto& signature = *answer.mutable_signature();
  signature.set_gfid(request.gfid());
  const bool usable = signed_basis && signed_basis->signature.size() <= kMaxSignature_bytes;
  signature.set_absent(!usable);
  Buffer payload;
  if (usable) {
    signature.set_basis_bytes(signed_basis->basis_bytes);
    payload = Buffer::copy_of(signed_basis->signature);
  }
  stream.send(answer, payload);
  co_return Result<void>();
}

/// Between two cuts, so that the answer belongs to exactly the applied position.
Task<Result<void>> SecondarySession::Impl::answer_verify(GeorepStream& stream, const VerifyRequest& request) {
  constexpr int kMaxObjects = 4096;
  if (request.gfid_size() > kMaxObjects)
    co_return Error(EPROTO).with("verify of {} objects", request.gfid_size());
  CO_TRY(auto guard, co_await spool_lock_.lock({{"apply", KeyLocks::Mode::kExclusive}}));
  StreamMessage answer;
  auto& reply = *answer.mutable_verify_reply();
  reply.set_id(request.id());
  if (applied_.positions_size() > 0) *reply.mutable_applied() = applied_.positions(0);
  for (const auto& bytes : request.gfid()) {
    CO_TRY(const Gfid gfid, gfid_from(bytes));
    CO_TRY(auto digest, co_await on_worker(seams_.workers, [&] { return digest_object(store_, gfid); }));
    auto& object = *reply.add_object();
    object.set_gfid(bytes);
    object.set_absent(!digest);
    if (digest) object.set_digest(*digest);
  }
  stream.send(answer);
  co_return Result<void>();
}

/// How far the unfinished cut has come: read from its file, so it is true after any crash. Blocks.
Result<SpoolState> SecondarySession::Impl::spool_state() {
  SpoolState state;
  const auto cut = spool_->unfinished();
  if (cut == 0) return state;
  TRY(auto reader, spool_->read(cut));
  while (true) {
    TRY(auto frame, reader.next());
    if (!frame) return state;
    StreamMessage message;
    if (!message.ParseFromString(frame->message))
      return Error(EUCLEAN).with("geo-replication spool: cut {} unreadable", cut);
    if (message.has_cut_begin()) {
      if (message.cut_begin().scan()) return state;  // begun anew: the scan's pieces are small
      state.set_cut(cut);
      state.set_upto_index(message.cut_begin().upto().index());
    } else if (message.has_records()) {
      state.set_index(message.records().last().index());
    } else if (message.has_delta()) {
      state.set_index(message.delta().at().index());
    } else if (message.has_extent()) {
      state.set_extent_index(message.extent().at().index());
      state.set_extent_gfid(message.extent().gfid());
      state.set_extent_end(message.extent().offset() + message.extent().raw_bytes() +
                           message.extent().hole_bytes());
    }
  }
}

}  // namespace polder::georep
