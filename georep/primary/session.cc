// SPDX-License-Identifier: GPL-3.0-or-later
#include "georep/primary/session.h"

#include "base/clock.h"
#include "base/coro.h"
#include "base/log.h"
#include "base/on_worker.h"
#include "georep/primary/session_impl.h"
#include "georep/protocol/record_block.h"

namespace polder::georep {

namespace {

using namespace std::chrono_literals;
constexpr auto kSilence = 20s;
constexpr auto kPingInterval = 5s;
constexpr auto kRetryMin = 250ms;
constexpr auto kRetryMax = 5s;
constexpr auto kSettled = 1s;  // a connection that ends earlier was of no use: the next try comes later

}  // namespace

std::string_view to_string(PrimaryStatus::State state) {
  switch (state) {
    case PrimaryStatus::State::kInitializing:
      return "Initializing";
    case PrimaryStatus::State::kInitialSync:
      return "Initial sync";
    case PrimaryStatus::State::kRescan:
      return "Rescan";
    case PrimaryStatus::State::kLive:
      return "Live";
    case PrimaryStatus::State::kFaulty:
      return "Faulty";
    case PrimaryStatus::State::kSuperseded:
      return "Superseded";
  }
  return "unknown";
}

PrimarySession::Impl::Impl(Seams& seams, PrimaryBrick brick, PrimaryConfig config)
    : seams_(seams),
      brick_(std::move(brick)),
      config_(std::move(config)),
      cursor_name_(kCursorPrefix + config_.session),
      tasks_("geo-replication primary " + config_.session) {}

/// Connects, serves until something breaks, and again, for ever: a secondary that is away is not an error of
/// the primary's.
Task<void> PrimarySession::Impl::run() {
  nanoseconds pause = kRetryMin;
  std::string told;  // the reason that was logged last
  for (std::size_t turn = 0; !co_await is_cancelled(); ++turn) {
    const auto& endpoint = config_.secondary[turn % config_.secondary.size()];
    welcomed_at_.reset();
    auto ended = co_await connect_and_serve(endpoint);
    if (ended.failed_with(ECANCELED)) co_return;
    if (status_.state != PrimaryStatus::State::kSuperseded) status_.state = PrimaryStatus::State::kFaulty;
    status_.reason = ended ? std::string("the secondary closed the connection") : ended.error().message();
    const bool settled = welcomed_at_ && seams_.clock.boot_time() - *welcomed_at_ >= kSettled;
    if (settled || status_.reason != told)
      log::warning("geo-replication {} to {}: {}", config_.volume, endpoint.text(), status_.reason);
    told = status_.reason;
    pause = settled ? nanoseconds(kRetryMin) : std::min<nanoseconds>(2 * pause, kRetryMax);
    if (!co_await seams_.clock.sleep_for(pause)) co_return;
  }
}

Task<Result<void>> PrimarySession::Impl::connect_and_serve(const Endpoint& endpoint) {
  auto socket = co_await seams_.transport.connect(endpoint, kGeorepProtocol, config_.identity);
  if (!socket) co_return std::move(socket.error()).with("connect to the secondary at {}", endpoint.text());
  stream_ = std::make_unique<GeorepStream>(seams_, std::move(*socket));
  answers_ = std::make_unique<Answers>();
  answers_ended_ = Result<void>();
  TaskGroup helpers("geo-replication connection");
  const auto executor = co_await asio::this_coro::executor;
  helpers.spawn(executor, stream_->run());
  auto ended = co_await greet();
  if (ended) {
    helpers.spawn(executor, read_answers_until_end());
    helpers.spawn(executor, ping());
    ended = co_await ship();
  }
  transfer_.reset();
  stream_->close();
  answers_->end();
  progress_.notify_all();
  co_await helpers.stop();
  finished_sent_bytes_ += stream_->sent_bytes();
  finished_received_bytes_ += stream_->received_bytes();
  stream_.reset();
  // The reader knows more than somebody who was writing when the connection ended.
  if (ended.failed_with(ECONNRESET) && !answers_ended_) co_return std::move(answers_ended_);
  co_return ended;
}

Task<Result<void>> PrimarySession::Impl::greet() {
  StreamMessage message;
  auto& hello = *message.mutable_hello();
  hello.set_version(kStreamVersion);
  hello.set_session(config_.session);
  hello.set_generation(config_.generation);
  hello.set_primary_cluster(config_.cluster);
  hello.set_primary_volume(config_.volume);
  const auto position = brick_.journal.position(brick_.journal.stable_index());
  hello.set_lineage(gfid_bytes(position.lineage));
  stream_->send(message);
  CO_TRY(auto answer, co_await stream_->receive(kSilence));
  if (answer.message->has_refusal()) co_return refused(answer.message->refusal());
  if (!answer.message->has_welcome())
    co_return Error(EPROTO).with("the secondary did not answer with Welcome");
  CO_TRY(adopt(answer.message->welcome()));
  transfer_ = std::make_unique<Transfer>(seams_, brick_.store, *stream_, *answers_, config_.scratch_directory,
                                         position);
  status_.reason.clear();
  status_.state = state_of_progress();
  welcomed_at_ = seams_.clock.boot_time();
  co_return co_await set_cursor(applied_.index);
}

PrimaryStatus::State PrimarySession::Impl::state_of_progress() const {
  if (is_exact()) return PrimaryStatus::State::kLive;
  return rescan_.empty() ? PrimaryStatus::State::kInitialSync : PrimaryStatus::State::kRescan;
}

Result<void> PrimarySession::Impl::refused(const Refusal& refusal) {
  if (refusal.code() == Refusal::SUPERSEDED) status_.state = PrimaryStatus::State::kSuperseded;
  if (refusal.code() == Refusal::FAILED) return Error(EIO).with("at the secondary: {}", refusal.sentence());
  return Error(EACCES).with("the secondary refuses: {}", refusal.sentence());
}

/// What the secondary has is the truth about what was shipped.
Result<void> PrimarySession::Impl::adopt(const Welcome& welcome) {
  const auto index_of = [](const AppliedState& state) {
    return state.positions_size() ? state.positions(0).index() : 0;
  };
  if (welcome.spooled().scan_id() != 0 && welcome.spooled().positions_size() != 1) {
    return Error(EPROTO).with("the secondary tells of {} positions", welcome.spooled().positions_size());
  }
  if (index_of(welcome.spooled()) > brick_.journal.stable_index()) {
    return Error(EUCLEAN).with(
        "the secondary has changes up to {}, but this changelog ends at {}: it is not the one that was "
        "shipped; make a new session to an empty volume",
        index_of(welcome.spooled()), brick_.journal.stable_index());
  }
  ++heard_;
  shipped_ = welcome.spooled();
  const auto& applied = welcome.applied();
  const bool applied_scan =
      applied.scan_done() && applied.rescan().empty() && applied.scan_id() == shipped_.scan_id();
  last_scan_cut_ = applied_scan ? 0 : shipped_.cut();
  rescan_ = shipped_.rescan().empty() ? applied.rescan() : shipped_.rescan();
  applied_ = {applied.cut(), index_of(applied), {}};
  if (applied.positions_size() > 0) applied_.hlc = {applied.positions(0).hlc()};
  window_bytes_ = std::max<std::uint64_t>(welcome.window_bytes(), 1u << 20);
  rescan_cause_.clear();
  reader_.reset();
  ahead_.clear();
  unfinished_.reset();
  // Only what can be finished; any other is begun anew. So is one from before a power loss: it may have bytes
  // that were lost here (welcomed_at_: by this process).
  const bool may_be_lost = !welcomed_at_ && !brick_.store.same_boot();
  const auto upto = welcome.spool().upto_index();
  const bool ours = upto > index_of(welcome.spooled()) && upto <= brick_.journal.stable_index();
  if (welcome.spool().cut() == shipped_.cut() + 1 && ours && !may_be_lost) unfinished_ = welcome.spool();
  keep_in_flight(applied_.cut, shipped_.cut());
  return {};
}

/// Cuts behind `applied` up to `last`.
void PrimarySession::Impl::keep_in_flight(std::uint64_t applied, std::uint64_t last) {
  const auto drop = [this](auto cut) {
    in_flight_bytes_ -= cut->second.bytes;
    in_flight_.erase(cut);
  };
  while (!in_flight_.empty() && in_flight_.begin()->first <= applied) drop(in_flight_.begin());
  while (!in_flight_.empty() && in_flight_.rbegin()->first > last) drop(std::prev(in_flight_.end()));
}

/// Retention keeps what the secondary has not applied. Before the first scan: what will have to be followed.
Task<Result<void>> PrimarySession::Impl::set_cursor(std::uint64_t index) {
  // The secondary applies its spool again after a power loss: the cursor stays where it is.
  if (shipped_.scan_id() != 0 && index == 0) co_return Result<void>();
  // What the log has not any more it need not be kept for: a rescan begins later in it.
  const auto needed = log_reaches(index) ? index : std::max(index, shipped_index());
  const auto keep = shipped_.scan_id() == 0 ? brick_.journal.stable_index() : needed;
  co_return co_await on_worker(seams_.workers, [&] { return brick_.journal.set_cursor(cursor_name_, keep); });
}

Task<void> PrimarySession::Impl::read_answers_until_end() {
  auto ended = co_await read_answers();
  if (!ended && !ended.failed_with(ECANCELED)) {
    log::info("geo-replication {}: connection ended: {}", config_.volume, ended.error().message());
    answers_ended_ = std::move(ended);
  }
  stream_->close();
  answers_->end();
  progress_.notify_all();
}

Task<Result<void>> PrimarySession::Impl::read_answers() {
  while (true) {
    CO_TRY(auto frame, co_await stream_->receive(kSilence));
    const auto& message = *frame.message;
    switch (message.body_case()) {
      case StreamMessage::kProgress: {
        const auto before = applied_.index;
        take_progress(message.progress());
        if (applied_.index != before) {
          CO_TRY(co_await set_cursor(applied_.index));
        }
        break;
      }
      case StreamMessage::kSignature:
        answers_->signature(std::move(frame));
        break;
      case StreamMessage::kDeltaResult:
        answers_->delta_result(message.delta_result().ok());
        break;
      case StreamMessage::kVerifyReply:
        // Others were asked for by somebody who has gone away.
        if (message.verify_reply().id() + 1 == next_verify_) verify_reply_ = message.verify_reply();
        progress_.notify_all();
        break;
      case StreamMessage::kRefusal:
        co_return refused(message.refusal());
      default:
        co_return Error(EPROTO).with("a message that only a primary sends, or an unknown one");
    }
  }
}

void PrimarySession::Impl::take_progress(const Progress& progress) {
  ++heard_;
  applied_.cut = progress.applied_cut();
  if (progress.has_applied()) {
    applied_.index = progress.applied().index();
    applied_.hlc = {progress.applied().hlc()};
  }
  keep_in_flight(applied_.cut, UINT64_MAX);
  status_.reason = progress.error().empty() ? "" : "the secondary cannot apply: " + progress.error();
  progress_.notify_all();
}

Task<void> PrimarySession::Impl::ping() {
  while (co_await seams_.clock.sleep_for(kPingInterval)) send_ping();
}

void PrimarySession::Impl::send_ping() {
  if (!transfer_) return;
  StreamMessage message;
  message.mutable_ping();
  stream_->send(message);
}

// --- the public face
// ------------------------------------------------------------------------------------------------

PrimarySession::PrimarySession(Seams& seams, PrimaryBrick brick, PrimaryConfig config)
    : impl_(std::make_unique<Impl>(seams, std::move(brick), std::move(config))) {}
PrimarySession::~PrimarySession() = default;

Task<void> PrimarySession::start() {
  impl_->tasks_.spawn(co_await asio::this_coro::executor, impl_->run());
}

Task<void> PrimarySession::stop() {
  impl_->stopping_ = true;
  if (impl_->stream_) impl_->stream_->close();
  impl_->progress_.notify_all();
  co_await impl_->tasks_.stop();
  while (impl_->users_ > 0) (void)co_await impl_->progress_.wait();
}

Result<void> PrimarySession::Impl::check_running() const {
  if (stopping_) return Error(ECANCELED).with("the geo-replication session was stopped");
  return {};
}

PrimaryStatus PrimarySession::status() const {
  const auto& impl = *impl_;
  auto status = impl.status_;
  // Connected, and nothing moves: an admin must see it without reading further.
  if (!status.reason.empty() && status.state != PrimaryStatus::State::kSuperseded)
    status.state = PrimaryStatus::State::kFaulty;
  if (status.state == PrimaryStatus::State::kRescan) status.reason = impl.rescan_;
  const auto stable = impl.brick_.journal.stable_index();
  status.applied_index = impl.applied_.index;
  status.applied_hlc = impl.applied_.hlc;
  status.queued_records = stable > impl.applied_.index ? stable - impl.applied_.index : 0;
  status.shipped_bytes = impl.finished_sent_bytes_ + (impl.stream_ ? impl.stream_->sent_bytes() : 0);
  status.received_bytes = impl.finished_received_bytes_ + (impl.stream_ ? impl.stream_->received_bytes() : 0);
  status.exact = impl.is_exact();
  const Hlc oldest =
      impl.in_flight_.empty() ? impl.waiting_since_ : impl.in_flight_.begin()->second.first_hlc;
  const auto now = static_cast<std::uint64_t>(impl.seams_.clock.wall_time().count());
  if (oldest.ns != 0 && now > oldest.ns) status.lag_s = static_cast<double>(now - oldest.ns) / 1e9;
  return status;
}

Task<Result<std::uint64_t>> PrimarySession::checkpoint() {
  auto& impl = *impl_;
  const Impl::Use use(impl);
  CO_TRY(impl.check_running());
  CO_TRY(co_await on_worker(impl.seams_.workers, [&] { return impl.brick_.journal.sync(); }));
  const auto target = impl.brick_.journal.stable_index();
  // What was heard before may not be true any more: the secondary may have lost power, and apply its spool
  // again.
  const auto heard = impl.heard_;
  impl.send_ping();
  while (impl.heard_ == heard || impl.applied_.index < target || !impl.has_scan()) {
    CO_TRY(impl.check_running());
    CO_TRY(co_await impl.progress_.wait());
  }
  co_return target;
}

}  // namespace polder::georep
