// SPDX-License-Identifier: GPL-3.0-or-later
#include "georep/secondary/session.h"

#include "base/clock.h"
#include "base/coro.h"
#include "base/log.h"
#include "base/on_worker.h"
#include "georep/secondary/apply.h"
#include "georep/secondary/session_impl.h"

namespace polder::georep {

namespace {

using namespace std::chrono_literals;

constexpr auto kRetryMin = 500ms;
constexpr auto kRetryMax = 30s;

Result<AppliedState> parse_state(const std::string& bytes) {
  AppliedState state;
  if (!state.ParseFromString(bytes)) return Error(EUCLEAN).with("geo-replication: unreadable applied state");
  return state;
}

}  // namespace
Task<Result<void>> SecondarySession::Impl::start() {
  CO_TRY(spool_, co_await on_worker(seams_.workers, [&] {
           return Spool::open(seams_.disk, config_.spool_path, store_.boot_id());
         }));
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
  auto cuts = spool_->finished();
  if (!cuts.empty() && cuts.front() > applied_.cut() + 1) {
    CO_TRY(co_await drop_spool());
    cuts.clear();
  }
  if (!cuts.empty() && cuts.front() <= applied_.cut()) {
    applied_.set_cut(cuts.front() - 1);
    applied_.clear_positions();  // whoever waits for a position must not take this for having reached it
    co_return Result<void>();
  }
  // It may have been a sweep, and the process was killed before it had synced the volume.
  sync_first_ = applied_.cut() > 0;
  if (spool_->same_boot()) co_return Result<void>();
  co_return co_await on_worker(seams_.workers, [&] { return spool_->remember_boot(); });
}

/// The volume was restored to an earlier state, or wiped: what is spooled does not follow what it has. The
/// primary sends what does, or scans.
Task<Result<void>> SecondarySession::Impl::drop_spool() {
  const auto cuts = spool_->finished();
  log::warning(
      "geo-replication {}: the volume has cut {}, and the spool begins with {}: it is dropped, the primary "
      "sends again what is missing",
      config_.session, applied_.cut(), cuts.front());
  co_return co_await on_worker(seams_.workers, [&]() -> Result<void> {
    TRY(spool_->abandon());
    TRY(spool_->remove_through(cuts.back()));
    return spool_->sync_directory();
  });
}

/// Applies cuts as they come, in order; retries for ever, since nothing may be skipped.
Task<void> SecondarySession::Impl::apply_loop() {
  nanoseconds pause = kRetryMin;
  while (!co_await is_cancelled()) {
    auto done = co_await apply_or_sync();
    if (done) {
      pause = kRetryMin;
      if (!std::exchange(apply_error_, {}).empty()) send_progress();
      if (!*done && !co_await changed_.wait()) co_return;
      continue;
    }
    if (done.failed_with(ECANCELED)) co_return;
    apply_error_ = done.error().message();
    log::error("geo-replication {}: next try in {} s: {}", config_.session,
               std::chrono::duration<double>(pause).count(), apply_error_);
    send_progress();
    if (!co_await seams_.clock.sleep_for(pause)) co_return;
    pause = std::min<nanoseconds>(2 * pause, kRetryMax);
  }
}

Task<Result<bool>> SecondarySession::Impl::apply_or_sync() {
  if (sync_first_) {
    CO_TRY(co_await sync_and_trim());
  }
  const auto cuts = spool_->finished();
  const auto next = applied_.cut() + 1;
  if (std::ranges::count(cuts, next) > 0) {
    CO_TRY((co_await apply_next(next)).with("cut {} cannot be applied to brick {}", next, store_.path()));
    apply_error_.clear();
    send_progress();
    co_return true;
  }
  if (synced_cut_ >= applied_.cut()) co_return false;
  CO_TRY(co_await sync_and_trim());
  co_return true;
}

Task<Result<void>> SecondarySession::Impl::apply_next(std::uint64_t cut) {
  CO_TRY(auto guard, co_await spool_lock_.lock({{"apply", KeyLocks::Mode::kExclusive}}));
  CO_TRY(auto done, co_await apply_cut(seams_, *spool_, cut, config_.session, volume_, store_));
  CO_TRY(applied_, parse_state(done.state));
  sync_first_ = done.swept;
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
    // Again after a power loss, a sweep would take what has lost its name there to a cut that follows.
    if (sync_first_) {
      TRY(spool_->sync_directory());
    }
    if (spool_->same_boot()) return {};
    return spool_->remember_boot();  // the volume's own position is true again
  }));
  synced_cut_ = cut;
  sync_first_ = false;
  send_progress();
  co_return Result<void>();
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
  co_await impl_->serve(*stream);
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
  status.error = impl.apply_error_.empty() ? impl.intake_error_ : impl.apply_error_;
  return status;
}

}  // namespace polder::georep
