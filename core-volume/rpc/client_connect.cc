// SPDX-License-Identifier: GPL-3.0-or-later
// The life of the client's connection: connect → Hello/Welcome → re-claim what a restarted server has lost →
// ready, until it breaks; then again, with back-off, for as long as the client lives.
#include <algorithm>

#include "base/concurrency_impl.h"
#include "base/log.h"
#include "core-volume/rpc/client_link.h"
#include "core-volume/rpc/loop_partner.h"

namespace polder {
namespace {

constexpr nanoseconds kConnectTimeout = std::chrono::seconds(10);
constexpr nanoseconds kConnectTimeoutMin = std::chrono::seconds(2);  // where several endpoints share the time
constexpr auto kPingAfter = std::chrono::seconds(10);                // nothing heard for so long: ask
constexpr auto kSilenceTimeout = std::chrono::seconds(30);  // nothing heard still: the connection is dead
constexpr auto kKeepAliveEvery = std::chrono::seconds(5);
constexpr auto kGoodbyeTimeout = std::chrono::seconds(3);
constexpr auto kGoodConnection = std::chrono::seconds(2);
constexpr nanoseconds kLeaseTermMax = std::chrono::seconds(10);  // whatever a server says
constexpr std::size_t kReclaimAtOnce = 32;                       // fewer than there are urgent slots

double seconds(nanoseconds duration) {
  return std::chrono::duration<double>(duration).count();
}

}  // namespace

Task<Result<void>> ClientLink::start() {
  outage_since_ = seams_.clock.boot_time();
  tasks_.spawn(executor_, run());
  tasks_.spawn(executor_, keep_alive());
  const auto deadline = outage_since_ + options_.start_timeout;
  auto ready = [](ClientLink& link) -> Task<Result<void>> {
    while (link.state_ != State::kReady && !link.start_refused_) {
      CO_TRY(co_await link.changed_.wait());
    }
    if (link.state_ == State::kReady) co_return Result<void>();
    co_return *link.start_refused_;
  };
  auto started = co_await with_deadline<void>(seams_.clock, deadline, ready(*this));
  if (started) co_return started;
  co_await stop();
  if (!started.failed_with(ETIMEDOUT)) co_return started;
  co_return Error(ETIMEDOUT).with("volume {}: no answer within {:.0f} s; last: {}", options_.volume,
                                  seconds(options_.start_timeout), last_error_);
}

Task<void> ClientLink::stop() {
  leases_ended_ = true;
  drop_leases();
  if (!stopping_ && state_ == State::kReady) {
    stopping_ = true;
    RpcCall call;
    call.urgent = true;
    call.request.mutable_end_session();
    // If it does not arrive, the server ends the session by itself a little later.
    (void)co_await with_deadline<void>(seams_.clock, seams_.clock.boot_time() + kGoodbyeTimeout,
                                       perform(call));
  }
  stopping_ = true;
  if (connection_) connection_->close();
  state_ = State::kAway;
  fail_all(ECANCELED, "the client is stopping", true);
  slot_free_.notify_all();
  co_await tasks_.stop();
}

Task<Result<void>> ClientLink::end_session() {
  leases_ended_ = true;
  drop_leases();
  RpcCall call;
  call.request.mutable_end_session();
  CO_TRY(co_await perform(call));
  lose_session(ESTALE);
  session_ = 0;
  token_.clear();
  if (connection_) connection_->close();
  co_return Result<void>();
}

Task<void> ClientLink::run() {
  auto backoff = options_.backoff_min;
  while (!co_await is_cancelled()) {
    auto connected = co_await connect();
    if (connected) connected = co_await reclaim();
    if (connected) {
      become_ready();
      const auto since = seams_.clock.boot_time();
      while (state_ != State::kAway)
        if (auto waited = co_await changed_.wait(); !waited) co_return;
      // At once, unless connections break as soon as they are made.
      if (seams_.clock.boot_time() - since >= kGoodConnection) {
        backoff = options_.backoff_min;
        continue;
      }
    } else {
      if (connection_) {
        connection_->close();
        disconnected(*connection_, connected.error());
      }
      report_outage(connected.error());
    }
    if (auto slept = co_await seams_.clock.sleep_for(backoff); !slept) co_return;
    backoff = std::min(2 * backoff, options_.backoff_max);
  }
}

/// Each endpoint once, beginning with the one that worked last.
Task<Result<void>> ClientLink::connect() {
  Error last = Error(EINVAL).with("no endpoint given");
  for (std::size_t tried = 0; tried < options_.endpoints.size(); ++tried) {
    const auto& endpoint = options_.endpoints[endpoint_];
    auto connected = co_await connect_to(endpoint);
    if (connected) co_return connected;
    last = std::move(connected).error();
    endpoint_ = (endpoint_ + 1) % options_.endpoints.size();
    if (co_await is_cancelled()) break;
  }
  co_return last;
}

Task<Result<void>> ClientLink::connect_to(const Endpoint& endpoint) {
  // The first address may be that of a machine that is off: it must not use up the whole time of a mount.
  const auto share = options_.start_timeout / static_cast<int>(options_.endpoints.size());
  const auto deadline = seams_.clock.boot_time() + std::clamp(share, kConnectTimeoutMin, kConnectTimeout);
  auto stream = co_await with_deadline<std::unique_ptr<Stream>>(
      seams_.clock, deadline, seams_.transport.connect(endpoint, kRpcProtocol, options_.identity));
  if (!stream) {
    // The certificates do not match: trying again does not help whoever is mounting now.
    const bool denied = stream.failed_with(EACCES) || stream.failed_with(EPERM);
    if (denied && session_ == 0) {
      start_refused_ = stream.error();
      changed_.notify_all();
    }
    co_return std::move(stream).error();
  }
  auto connection = std::make_shared<FramedConnection>(*std::move(stream), kRpcFormat);
  tasks_.spawn(executor_, write_frames(connection));
  auto welcome = co_await with_deadline<wire::Welcome>(seams_.clock, deadline, greet(connection));
  if (!welcome) {
    connection->close();
    co_return std::move(welcome).error().with("{}", endpoint.text());
  }
  connection_ = connection;
  LoopPartner::of(executor_).set(connection->peer().pid);
  state_ = State::kReclaiming;
  heard_at_ = seams_.clock.boot_time();
  adopt(*welcome);
  tasks_.spawn(executor_, read_frames(connection));
  co_return Result<void>();
}

Task<Result<wire::Welcome>> ClientLink::greet(std::shared_ptr<FramedConnection> connection) {
  wire::Hello hello;
  hello.set_version_min(kRpcVersion);
  hello.set_version_max(kRpcVersion);
  hello.set_volume(options_.volume);
  hello.set_client_name(options_.client_name);
  hello.set_client_version(options_.client_version);
  hello.set_token(token_);
  hello.set_server_incarnation(incarnation_);
  for (const auto* call : calls_in_order())
    if (call->sent && call->request.sequence() != 0) hello.add_pending(call->request.sequence());
  hello.mutable_abandoned()->Add(abandoned_.begin(), abandoned_.end());
  connection->send(header(RpcFrame::kHello, 0), hello);

  CO_TRY(auto frames, co_await connection->read());
  const auto& frame = frames[0];
  const auto size = static_cast<int>(frame.message.size());
  seams_.hlc.observe_own(frame.header.hlc);  // whatever this machine's clock says: a client makes no stamps
  if (frame.header.type == static_cast<std::uint8_t>(RpcFrame::kRefusal)) {
    wire::Refusal refusal;
    if (!refusal.ParseFromArray(frame.message.data(), size)) co_return Error(EPROTO);
    co_return refused(refusal);
  }
  wire::Welcome welcome;
  const bool good =
      frames.size() == 1 && frame.header.type == static_cast<std::uint8_t>(RpcFrame::kWelcome) &&
      welcome.ParseFromArray(frame.message.data(), size) && welcome.token().size() == kRpcToken_bytes &&
      welcome.session() != 0 && wire::Welcome::Session_IsValid(welcome.kind());
  if (!good) co_return Error(EPROTO).with("the answer to Hello is not a Welcome");
  if (welcome.version() != kRpcVersion)
    co_return Error(EPROTONOSUPPORT).with("the server chose protocol {}", welcome.version());
  co_return welcome;
}

Error ClientLink::refused(const wire::Refusal& refusal) {
  using R = wire::Refusal;
  auto make = [&](int code) { return Error(code).with("{}", refusal.text().substr(0, 1024)); };
  auto final = [&](Error error) {
    start_refused_ = error;
    refused_ = error;
    fail_all(error.code(), error.context(), false);  // a refusal may end: then files are closed as well
    changed_.notify_all();
    return error;
  };
  auto for_now = [&](Error error) {
    if (session_ == 0) start_refused_ = error;
    changed_.notify_all();
    return error;
  };
  switch (refusal.reason()) {
    case R::NO_SUCH_VOLUME:
      // In the midst of use ENOENT would read as "empty directory", to readdir(3) for one.
      return final(make(session_ == 0 ? ENOENT : ESTALE));
    case R::NOT_ALLOWED:
      return final(make(EACCES));
    case R::VERSION:
      return final(make(EPROTONOSUPPORT));
    case R::NOT_STARTED:
      return for_now(make(ENOTCONN));
    case R::CLOCK:
      return for_now(make(ERANGE));
    default:
      return make(EAGAIN);
  }
}

/// Draws the consequences of a Welcome before anything is sent.
void ClientLink::adopt(const wire::Welcome& welcome) {
  const bool first = session_ == 0;
  const bool restored = !first && (welcome.volume_incarnation() != volume_incarnation_ ||
                                   gfid_from(welcome.volume()) != volume_);
  session_ = welcome.session();
  token_ = welcome.token();
  incarnation_ = welcome.server_incarnation();
  volume_incarnation_ = welcome.volume_incarnation();
  volume_ = gfid_from(welcome.volume());
  lineage_ = gfid_from(welcome.lineage());
  read_only_ = welcome.read_only();
  // A restore has undone it, whatever the restored brick remembers of power losses.
  if (restored || (!first && welcome.losses() != losses_)) {
    log::warning("volume {}: {}: what was not synced before may be gone", options_.volume,
                 restored ? "the volume was restored" : "the server has lost power");
    unsynced_.lose();
  }
  losses_ = welcome.losses();
  lease_term_ = std::min<nanoseconds>(std::chrono::milliseconds(welcome.lease_term_ms()), kLeaseTermMax);
  leases_ended_ = stopping_;
  refused_.reset();
  start_refused_.reset();
  abandoned_.clear();
  const bool fresh = welcome.kind() == wire::Welcome::NEW;
  if (!first && (fresh || restored)) {
    log::warning("volume {}: {}: open files of before are gone", options_.volume,
                 restored ? "the volume was restored" : "the session expired while there was no connection");
    lose_session(restored ? ESTALE : EIO);
  }
  if (fresh) reclaimed_incarnation_ = incarnation_;
  if (!first && listener) listener(Invalidation{});
}

/// Open files and locks of before are gone. What may have been done already is never done again.
void ClientLink::lose_session(int code) {
  handles_.kill_all();
  locks_.clear();
  reclaim_locks_ = false;
  for (auto* call : calls_in_order()) {
    if (call->handle)
      complete(*call, call->sent ? Error(ESTALE).set_maybe_applied() : Error(ESTALE));
    else if (call->sent && call->request.sequence() != 0)
      complete(*call, Error(code).with("the session ended before the answer came").set_maybe_applied());
  }
}

/// Opens and locks again, in the server process that knows nothing of it, what the callers believe to hold.
Task<Result<void>> ClientLink::reclaim() {
  const bool restarted = reclaimed_incarnation_ != incarnation_;
  if (restarted) {
    release_what_is_gone();
    auto ids = handles_.to_reopen(incarnation_);
    for (std::size_t at = 0; at < ids.size(); at += kReclaimAtOnce) {
      std::vector<Task<Result<void>>> batch;
      for (auto i = at; i < std::min(ids.size(), at + kReclaimAtOnce); ++i) batch.push_back(reopen(ids[i]));
      auto outcomes = co_await fan_out(std::move(batch));
      for (auto& outcome : outcomes) {
        CO_TRY(std::move(outcome));
      }
    }
  }
  if (restarted || reclaim_locks_) {
    auto locks = locks_.all();
    for (const auto& [gfid, lock] : locks) {
      CO_TRY(co_await relock(gfid, lock));
    }
  }
  reclaim_locks_ = false;
  if (restarted) {
    RpcCall call;
    call.urgent = true;
    call.request.mutable_reclaim_done();
    CO_TRY(co_await perform(call));
    reclaimed_incarnation_ = incarnation_;
  }
  if (state_ != State::kReclaiming) co_return Error(ECONNRESET);
  co_return Result<void>();
}

/// What was open at the old process went with it. A file may have been opened again at the new one already,
/// by a coming back that broke off: that one has to be closed there.
void ClientLink::release_what_is_gone() {
  for (auto* call : calls_in_order()) {
    if (!call->request.has_release()) continue;
    const auto* handle = handles_.find(*call->handle);
    if (!handle || handle->server_incarnation != incarnation_) complete(*call, std::nullopt);
  }
}

/// An error only when the connection failed; a file that cannot be opened again is ESTALE for its users.
Task<Result<void>> ClientLink::reopen(HandleId id) {
  const auto* before = handles_.find(id);
  if (!before) co_return Result<void>();
  RpcCall call;
  call.urgent = true;
  put(call.request.mutable_open()->mutable_gfid(), before->gfid);
  call.request.mutable_open()->set_flags(before->open_flags);
  auto opened = co_await perform(call);
  if (call.failure || (!opened && call.reply.error() == 0)) co_return opened;
  auto* handle = handles_.find(id);
  if (!handle) co_return Result<void>();  // released meanwhile: the server frees its side with the session
  handle->server_incarnation = incarnation_;
  handle->at_server = call.reply.handle();
  if (!opened) {
    handle->dead = true;
    log::error("volume {}: file {} cannot be opened again: {}", options_.volume, handle->gfid.hex(),
               opened.error().message());
  }
  co_return Result<void>();
}

Task<Result<void>> ClientLink::relock(Gfid gfid, FileLock lock) {
  RpcCall call;
  call.urgent = true;
  call.request.set_retry(true);  // the locks layer's word for "held before"
  auto* op = call.request.mutable_set_lock();
  put(op->mutable_gfid(), gfid);
  put(op->mutable_lock(), lock);
  op->set_reclaim(true);
  auto locked = co_await perform(call);
  if (locked || call.failure || call.reply.error() == 0) co_return locked;
  log::error("volume {}: a lock on file {} is lost: {}", options_.volume, gfid.hex(),
             locked.error().message());
  lock.type = FileLock::Type::kUnlock;
  locks_.apply(gfid, lock);
  co_return Result<void>();
}

void ClientLink::become_ready() {
  state_ = State::kReady;
  if (reported_)
    log::info("volume {}: connected again to {} after {:.1f} s", options_.volume,
              options_.endpoints[endpoint_].text(), seconds(seams_.clock.boot_time() - outage_since_));
  reported_ = false;
  soft_expired_ = false;
  last_error_.clear();
  send_waiting();
  changed_.notify_all();
}

void ClientLink::report_outage(const Error& cause) {
  last_error_ = cause.message();
  if (reported_ || stopping_) return;
  reported_ = true;
  log::warning("volume {}: no connection: {}; trying on", options_.volume, last_error_);
}

Task<void> ClientLink::write_frames(std::shared_ptr<FramedConnection> connection) {
  // The reading task says why it ended.
  (void)co_await connection->run_writer();
}

Task<void> ClientLink::read_frames(std::shared_ptr<FramedConnection> connection) {
  Error cause(ECONNRESET);
  while (!connection->closed()) {
    auto frames = co_await connection->read();
    if (!frames) {
      cause = frames.failed_with(ENODATA) ? Error(ECONNRESET).with("the server closed the connection")
                                          : std::move(frames).error();
      break;
    }
    heard_at_ = seams_.clock.boot_time();
    Result<void> handled;
    for (const auto& frame : *frames) {
      handled = handle_frame(frame);
      if (!handled) break;
    }
    if (!handled) {
      cause = std::move(handled).error();
      break;
    }
  }
  connection->close();
  disconnected(*connection, cause);
}

/// Once for each connection, whoever notices first.
void ClientLink::disconnected(const FramedConnection& connection, const Error& cause) {
  if (connection_.get() != &connection) return;
  connection_.reset();
  state_ = State::kAway;
  drop_leases();
  outage_since_ = seams_.clock.boot_time();
  ++outages_;
  report_outage(cause);
  for (auto* call : calls_in_order()) {
    if (call->urgent)
      abandon(*call, ECONNRESET);
    else if (call->cancelled)
      abandon(*call, ECANCELED);
  }
  if (!options_.hard && !stopping_) tasks_.spawn(executor_, watch_outage(outages_));
  changed_.notify_all();
}

Task<void> ClientLink::watch_outage(std::uint64_t outage) {
  auto slept = co_await seams_.clock.sleep_until(outage_since_ + options_.soft_timeout);
  if (!slept || outage != outages_ || state_ == State::kReady) co_return;
  soft_expired_ = true;
  fail_all(ETIMEDOUT, "no connection to the volume", false);
  slot_free_.notify_all();
}

Task<void> ClientLink::keep_alive() {
  while (co_await seams_.clock.sleep_for(kKeepAliveEvery)) {
    if (!connection_) continue;
    const auto silent = seams_.clock.boot_time() - heard_at_;
    if (silent >= kSilenceTimeout)
      connection_->close();
    else if (silent >= kPingAfter)
      connection_->send(header(RpcFrame::kPing, 0), ConstBytes{});
  }
}

}  // namespace polder
