// SPDX-License-Identifier: GPL-3.0-or-later
#include "georep/secondary/session.h"

#include "base/clock.h"
#include "base/coro.h"
#include "base/log.h"
#include "base/on_worker.h"
#include "georep/protocol/digest.h"
#include "georep/protocol/record_block.h"
#include "georep/protocol/stream.h"
#include "georep/secondary/apply.h"
#include "georep/secondary/rebuild.h"
#include "georep/secondary/spool.h"
#include "proto/georep.pb.h"

namespace polder::georep {

namespace {

using namespace std::chrono_literals;

constexpr auto kSilence = 20s;
constexpr auto kRetryMin = 500ms;
constexpr auto kRetryMax = 30s;

Result<AppliedState> parse_state(const std::string& bytes) {
  AppliedState state;
  if (!state.ParseFromString(bytes)) return Error(EUCLEAN).with("geo-replication: unreadable applied state");
  return state;
}

}  // namespace

struct SecondarySession::Impl {
  Impl(Seams& seams, FileOps& volume, Store& store, SecondaryConfig config)
      : seams_(seams),
        volume_(volume),
        store_(store),
        config_(std::move(config)),
        tasks_("geo-replication secondary " + config_.session) {}

  // --- life ---
  Task<Result<void>> start();
  Task<Result<void>> find_first_cut();
  Task<void> apply_loop();
  Task<Result<bool>> apply_or_sync();  // false: there was nothing to do
  Task<Result<void>> apply_next(std::uint64_t cut);
  Task<Result<void>> sync_and_trim();

  // --- one connection ---
  Task<Result<void>> converse(GeorepStream& stream);
  Task<Result<void>> greet(GeorepStream& stream, const Hello& hello);
  Task<std::optional<Refusal>> find_refusal(const Hello& hello);
  Task<Result<void>> handle(GeorepStream& stream, const StreamFrame& frame);
  Task<Result<KeyLocks::Guard>> lock_spool(const GeorepStream& stream);
  Task<Result<void>> begin_cut(GeorepStream& stream, const CutBegin& begin);
  Task<Result<void>> spool_frame(GeorepStream& stream, const StreamFrame& frame, std::uint64_t cut);
  Task<Result<void>> end_cut(GeorepStream& stream, const StreamFrame& frame);
  Task<Result<void>> take_delta(GeorepStream& stream, const StreamFrame& frame);
  Task<Result<void>> answer_signature(GeorepStream& stream, const SignatureRequest& request);
  Task<Result<void>> answer_verify(GeorepStream& stream, const VerifyRequest& request);
  Result<SpoolState> spool_state();
  void send_progress();

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
  std::string error_;
  GeorepStream* stream_ = nullptr;  // the current connection
  std::unique_ptr<Rebuild> rebuild_;
  std::string rebuilding_;  // gfid bytes
};

Task<Result<void>> SecondarySession::Impl::start() {
  CO_TRY(spool_,
         co_await on_worker(seams_.workers, [&] { return Spool::open(seams_.disk, config_.spool_path); }));
  auto stored = co_await on_worker(seams_.workers, [&] { return store_.applied(config_.session); });
  CO_TRY(auto bytes, std::move(stored));
  if (bytes) {
    CO_TRY(applied_, parse_state(*bytes));
  }
  spooled_state_ = applied_;
  CO_TRY(co_await find_first_cut());
  synced_cut_ = applied_.cut();
  const auto cuts = spool_->finished();
  if (!cuts.empty() && cuts.back() > spooled_state_.cut()) {
    CO_TRY(auto state, co_await on_worker(seams_.workers, [&]() -> Result<AppliedState> {
             TRY(auto reader, spool_->read(cuts.back()));
             AppliedState state;
             while (true) {
               TRY(auto frame, reader.next());
               if (!frame) return state;
               StreamMessage message;
               if (message.ParseFromString(frame->message) && message.has_cut_end())
                 state = message.cut_end().state();
             }
           }));
    spooled_state_ = state;
  }
  tasks_.spawn(co_await asio::this_coro::executor, apply_loop());
  co_return Result<void>();
}

/// What the spool still has and the volume does not need goes. After another boot it needs all of it: cuts
/// stay in the spool until the volume was synced, and what was applied of them may be gone.
Task<Result<void>> SecondarySession::Impl::find_first_cut() {
  if (spool_->same_boot()) {
    CO_TRY(co_await on_worker(seams_.workers, [&] { return spool_->remove_through(applied_.cut()); }));
  }
  const auto cuts = spool_->finished();
  if (!cuts.empty() && cuts.front() > applied_.cut() + 1) {
    co_return Error(EUCLEAN).with(
        "geo-replication spool {} begins with cut {}, but cut {} was the last to be applied",
        config_.spool_path, cuts.front(), applied_.cut());
  }
  if (!cuts.empty() && cuts.front() <= applied_.cut()) {
    applied_.set_cut(cuts.front() - 1);
    co_return Result<void>();
  }
  if (spool_->same_boot()) co_return Result<void>();
  co_return co_await on_worker(seams_.workers, [&] { return spool_->remember_boot(); });
}

/// Applies cuts as they come, in order; retries for ever, since nothing may be skipped.
Task<void> SecondarySession::Impl::apply_loop() {
  nanoseconds pause = kRetryMin;
  while (!co_await is_cancelled()) {
    auto done = co_await apply_or_sync();
    if (done) {
      pause = kRetryMin;
      if (!std::exchange(error_, {}).empty()) send_progress();
      if (!*done && !co_await changed_.wait()) co_return;
      continue;
    }
    if (done.failed_with(ECANCELED)) co_return;
    error_ = done.error().message();
    log::error("geo-replication {}: next try in {} s: {}", config_.session,
               std::chrono::duration<double>(pause).count(), error_);
    send_progress();
    if (!co_await seams_.clock.sleep_for(pause)) co_return;
    pause = std::min<nanoseconds>(2 * pause, kRetryMax);
  }
}

Task<Result<bool>> SecondarySession::Impl::apply_or_sync() {
  const auto cuts = spool_->finished();
  const auto next = applied_.cut() + 1;
  if (std::ranges::count(cuts, next) > 0) {
    CO_TRY((co_await apply_next(next)).with("cut {} cannot be applied", next));
    send_progress();
    co_return true;
  }
  if (synced_cut_ >= applied_.cut()) co_return false;
  CO_TRY(co_await sync_and_trim());
  co_return true;
}

Task<Result<void>> SecondarySession::Impl::apply_next(std::uint64_t cut) {
  CO_TRY(auto guard, co_await spool_lock_.lock({{"apply", KeyLocks::Mode::kExclusive}}));
  CO_TRY(auto state, co_await apply_cut(seams_, *spool_, cut, config_.session, volume_));
  CO_TRY(applied_, parse_state(state));
  // Keeping a few applied cuts until the next sync costs little; a sync per cut would cost much.
  constexpr std::uint64_t kCutsPerSync = 64;
  if (applied_.cut() - synced_cut_ < kCutsPerSync && spool_->bytes() < config_.window_bytes / 2)
    co_return Result<void>();
  guard.release();
  co_return co_await sync_and_trim();
}

/// The spool is needed until what it says survives a power loss.
Task<Result<void>> SecondarySession::Impl::sync_and_trim() {
  const auto cut = applied_.cut();
  const OpContext inside;
  CO_TRY(co_await volume_.sync(inside));
  CO_TRY(auto guard, co_await spool_lock_.lock({{"spool", KeyLocks::Mode::kExclusive}}));
  CO_TRY(co_await on_worker(seams_.workers, [&]() -> Result<void> {
    TRY(spool_->remove_through(cut));
    if (spool_->same_boot()) return {};
    return spool_->remember_boot();  // the volume's own position is true again
  }));
  synced_cut_ = cut;
  send_progress();
  co_return Result<void>();
}

void SecondarySession::Impl::send_progress() {
  if (!stream_) return;
  StreamMessage message;
  auto& progress = *message.mutable_progress();
  progress.set_spooled_cut(last_spooled());
  progress.set_applied_cut(applied_.cut());
  if (applied_.positions_size() > 0) *progress.mutable_applied() = applied_.positions(0);
  progress.set_spooled_bytes(spool_->bytes());
  progress.set_error(error_);
  stream_->send(message);
}

// --- one connection
// -------------------------------------------------------------------------------------------------

Task<Result<void>> SecondarySession::Impl::converse(GeorepStream& stream) {
  CO_TRY(auto first, co_await stream.receive(kSilence));
  if (!first.message->has_hello()) co_return Error(EPROTO).with("the primary did not begin with Hello");
  CO_TRY(co_await greet(stream, first.message->hello()));
  while (true) {
    CO_TRY(auto frame, co_await stream.receive(kSilence));
    CO_TRY(co_await handle(stream, frame));
    CO_TRY(co_await stream.wait_for_room());
  }
}

Task<Result<void>> SecondarySession::Impl::greet(GeorepStream& stream, const Hello& hello) {
  StreamMessage answer;
  if (auto refusal = co_await find_refusal(hello)) {
    *answer.mutable_refusal() = *refusal;
    stream.send(answer);
    co_await stream.drain();
    co_return Error(EACCES).with("{}", refusal->sentence());
  }
  if (stream_) stream_->close();
  CO_TRY(auto guard, co_await spool_lock_.lock({{"spool", KeyLocks::Mode::kExclusive}}));
  rebuild_.reset();
  CO_TRY(auto state, co_await on_worker(seams_.workers, [&] { return spool_state(); }));
  auto& welcome = *answer.mutable_welcome();
  *welcome.mutable_applied() = applied_;
  *welcome.mutable_spooled() = spooled_state_;
  *welcome.mutable_spool() = state;
  welcome.set_window_bytes(config_.window_bytes);
  stream_ = &stream;
  stream.send(answer);
  co_return Result<void>();
}

/// The rules of docs/formats/georep-stream.md, "What it promises", 5.
Task<std::optional<Refusal>> SecondarySession::Impl::find_refusal(const Hello& hello) {
  Refusal refusal;
  auto refuse = [&](Refusal::Code code, std::string sentence) {
    refusal.set_code(code);
    refusal.set_sentence(std::move(sentence));
    return std::optional(refusal);
  };
  if (hello.version() != kStreamVersion) {
    co_return refuse(
        Refusal::VERSION,
        fmt::format("this site speaks version {} of the stream, the primary {}: upgrade the older",
                    kStreamVersion, hello.version()));
  }
  if (hello.session() != config_.session)
    co_return refuse(Refusal::UNKNOWN_SESSION, "no such session on this site");
  if (hello.generation() < config_.generation) {
    co_return refuse(Refusal::SUPERSEDED,
                     fmt::format("the primary's generation {} is older than {}: this site was promoted",
                                 hello.generation(), config_.generation));
  }
  if (spooled_state_.positions_size() > 0) {
    if (spooled_state_.positions(0).lineage() == hello.lineage()) co_return std::nullopt;
    co_return refuse(Refusal::OTHER_LINEAGE,
                     "the primary's changelog is not the one that this volume follows: make a new session "
                     "to an empty volume");
  }
  const OpContext inside;
  auto page = co_await volume_.readdir(inside, Gfid::root(), 0, 1, false);
  if (page && page->entries.empty()) co_return std::nullopt;
  if (spooled_state_.cut() > 0) co_return std::nullopt;
  co_return refuse(
      Refusal::NOT_EMPTY,
      "the secondary volume has content that does not come from this primary: use an empty volume");
}

Task<Result<void>> SecondarySession::Impl::handle(GeorepStream& stream, const StreamFrame& frame) {
  const auto& message = *frame.message;
  switch (message.body_case()) {
    case StreamMessage::kCutBegin:
      co_return co_await begin_cut(stream, message.cut_begin());
    case StreamMessage::kRecords:
      co_return co_await spool_frame(stream, frame, message.records().cut());
    case StreamMessage::kExtent:
      co_return co_await spool_frame(stream, frame, message.extent().cut());
    case StreamMessage::kDelta:
      co_return co_await take_delta(stream, frame);
    case StreamMessage::kCutEnd:
      co_return co_await end_cut(stream, frame);
    case StreamMessage::kSignatureRequest:
      co_return co_await answer_signature(stream, message.signature_request());
    case StreamMessage::kVerifyRequest:
      co_return co_await answer_verify(stream, message.verify_request());
    case StreamMessage::kPing:
      send_progress();
      co_return Result<void>();
    default:
      co_return Error(EPROTO).with("a message that only a secondary sends, or an unknown one ({})",
                                   static_cast<int>(message.body_case()));
  }
}

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

Task<Result<void>> SecondarySession::Impl::end_cut(GeorepStream& stream, const StreamFrame& frame) {
  const auto& end = frame.message->cut_end();
  if (end.state().positions_size() != 1) {
    co_return Error(EPROTO).with("cut {} ends at {} positions", end.cut(), end.state().positions_size());
  }
  if (end.state().cut() != end.cut())
    co_return Error(EPROTO).with("cut {} ends as cut {}", end.cut(), end.state().cut());
  CO_TRY(co_await spool_frame(stream, frame, end.cut()));
  {
    CO_TRY(auto guard, co_await lock_spool(stream));
    CO_TRY(co_await on_worker(seams_.workers, [&] { return spool_->finish(); }));
    spooled_state_ = end.state();
  }
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

// --- the public face
// ------------------------------------------------------------------------------------------------

SecondarySession::SecondarySession(Seams& seams, FileOps& volume, Store& store, SecondaryConfig config)
    : impl_(std::make_unique<Impl>(seams, volume, store, std::move(config))) {}
SecondarySession::~SecondarySession() = default;

Task<Result<void>> SecondarySession::start() {
  return impl_->start();
}

Task<void> SecondarySession::serve(std::unique_ptr<Stream> socket) {
  auto stream = std::make_unique<GeorepStream>(impl_->seams_, std::move(socket));
  TaskGroup writer("geo-replication writer");
  writer.spawn(co_await asio::this_coro::executor, stream->run());
  auto ended = co_await impl_->converse(*stream);
  if (!ended && !ended.failed_with(ENODATA) && !ended.failed_with(ECANCELED)) {
    log::warning("geo-replication {}: connection from {} ended: {}", impl_->config_.session,
                 stream->peer().common_name, ended.error().message());
  }
  if (impl_->stream_ == stream.get()) impl_->stream_ = nullptr;
  stream->close();
  co_await writer.stop();
}

Task<void> SecondarySession::stop() {
  if (impl_->stream_) impl_->stream_->close();
  co_await impl_->tasks_.stop();
}

SecondaryStatus SecondarySession::status() const {
  SecondaryStatus status;
  const auto& impl = *impl_;
  status.connected = impl.stream_ != nullptr;
  status.applied_cut = impl.applied_.cut();
  if (impl.applied_.positions_size() > 0) {
    status.applied_index = impl.applied_.positions(0).index();
    status.applied_hlc = {impl.applied_.positions(0).hlc()};
  }
  if (impl.spool_) {
    status.spooled_cut = impl.last_spooled();
    status.spooled_bytes = impl.spool_->bytes();
  }
  status.error = impl.error_;
  return status;
}

}  // namespace polder::georep
