// SPDX-License-Identifier: GPL-3.0-or-later
// One connection: greeting, refusals, which message goes where.
#include "base/clock.h"
#include "base/coro.h"
#include "base/log.h"
#include "base/on_worker.h"
#include "georep/secondary/session_impl.h"

namespace polder::georep {

namespace {

using namespace std::chrono_literals;

constexpr auto kSilence = 20s;
constexpr auto kFarewell = 5s;

}  // namespace

void SecondarySession::Impl::send_progress() {
  if (!stream_) return;
  StreamMessage message;
  auto& progress = *message.mutable_progress();
  progress.set_spooled_cut(last_spooled());
  progress.set_applied_cut(applied_.cut());
  if (applied_.positions_size() > 0) *progress.mutable_applied() = applied_.positions(0);
  progress.set_spooled_bytes(spool_->bytes());
  progress.set_error(apply_error_);
  stream_->send(message);
}

Task<void> SecondarySession::Impl::serve(GeorepStream& stream) {
  auto ended = co_await converse(stream);
  if (!ended && !ended.failed_with(ENODATA) && !ended.failed_with(ECANCELED)) {
    log::warning("geo-replication {}: connection from {} ended: {}", config_.session,
                 stream.peer().common_name, ended.error().message());
  }
  if (stream_ == &stream) stream_ = nullptr;
}

Task<Result<void>> SecondarySession::Impl::converse(GeorepStream& stream) {
  CO_TRY(auto first, co_await receive(stream));
  if (!first.message->has_hello()) co_return Error(EPROTO).with("the primary did not begin with Hello");
  CO_TRY(co_await greet(stream, first.message->hello()));
  while (true) {
    CO_TRY(auto frame, co_await receive(stream));
    if (auto handled = co_await handle(stream, frame); !handled) {
      co_await tell_failure(stream, handled.error());
      co_return std::move(handled).error();
    }
    CO_TRY(co_await stream.wait_for_room());
  }
}

/// A clock that is wrong, here or there, is for the admins of both sites, also when it is met in the Hello.
Task<Result<StreamFrame>> SecondarySession::Impl::receive(GeorepStream& stream) {
  auto frame = co_await stream.receive(kSilence);
  if (frame.failed_with(ERANGE)) {
    if (!stream_) stream_ = &stream;
    co_await tell_failure(stream, frame.error());
  }
  co_return frame;
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
      intake_error_.clear();
      send_progress();
      co_return Result<void>();
    default:
      co_return Error(EPROTO).with("a message that only a secondary sends, or an unknown one ({})",
                                   static_cast<int>(message.body_case()));
  }
}

/// What went wrong here (a full disk, say) is for the admins of both sites; the primary tries again. Reads on
/// until the primary goes: a socket that is closed with unread bytes takes back what it has sent.
Task<void> SecondarySession::Impl::tell_failure(GeorepStream& stream, const Error& error) {
  if (stream_ != &stream) co_return;  // replaced: its successor says how things are
  intake_error_ = error.message();
  StreamMessage message;
  message.mutable_refusal()->set_code(Refusal::FAILED);
  message.mutable_refusal()->set_sentence(intake_error_);
  stream.send(message);
  stream_ = nullptr;
  const auto until = seams_.clock.boot_time() + kFarewell;
  while (seams_.clock.boot_time() < until && co_await stream.receive(kFarewell)) continue;
}

}  // namespace polder::georep
