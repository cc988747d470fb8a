// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/rpc/server_session.h"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>

#include "base/log.h"

namespace polder {
namespace {

// A resent request may run beside its first instance, and open requests of a session's re-claim come on top.
constexpr std::size_t kRunningMax = 4 * kRpcInFlightMax;
constexpr std::size_t kAnswersMax = 8 * kRpcInFlightMax;
constexpr std::size_t kChangesMax = 4096;
constexpr int kChangesPerFrame = 256;                    // stays below the limit of a message
constexpr std::size_t kNotifyBehind_bytes = 256u << 10;  // a client that reads slowly is told later, and less
constexpr std::size_t kRequestCost_bytes = 1024;

std::size_t cost_of(const wire::Request& request, std::size_t payload_bytes) {
  auto cost = kRequestCost_bytes + payload_bytes;
  if (request.has_read()) cost += request.read().length();
  if (request.has_readdir()) cost += kRpcDirectoryPage_bytes_max / 8;
  return cost;
}

/// Whether the answer has the attributes of an object that a lease may be on.
bool gives_object(const wire::Request& request) {
  return request.has_lookup() || request.has_getattr() || request.has_mknod() || request.has_mkdir() ||
         request.has_symlink() || request.has_create() || request.has_link();
}

bool needs_undo(const wire::Request& request) {
  return request.has_open() || request.has_create() || request.has_set_lock();
}

void die_of_exception(const std::exception_ptr& failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const std::exception& e) {
    log::fatal(fmt::format("exception out of a request: {}", e.what()));
  }
}

}  // namespace

void RpcSession::attach(std::shared_ptr<FramedConnection> connection, RpcRole role,
                        std::string client_version) {
  if (connection_) {
    connection_->on_written({});
    connection_->close();
  }
  connection_ = std::move(connection);
  wake_reader();
  role_ = role;
  client_version_ = std::move(client_version);
  connected_ns_ = static_cast<std::uint64_t>(seams_.clock.wall_time().count());
  ++connections_;
  restarted = false;
  heard_at_ = seams_.clock.boot_time();
  if (auto* leases = volume_->served->leases) leases->attached(number(), *this);
  // What a client missed while it was away it drops by itself at reconnection.
  changes_.clear();
  everything_changed_ = false;
  connection_->on_written([this] {
    send_changes();
    wake_reader();
  });
}

void RpcSession::detach(const FramedConnection& connection) {
  if (connection_.get() != &connection) return;
  connection_->on_written({});
  connection_.reset();
  detached_at = seams_.clock.boot_time();
  if (auto* leases = volume_->served->leases) leases->detached(number());
  // Plain reads are asked again on the next connection; changes go on, their replies are kept.
  for (auto& serving : running_)
    if (serving.request.sequence() == 0) serving.cancel.emit(asio::cancellation_type::all);
}

void RpcSession::reconcile(const wire::Hello& hello) {
  std::set<std::uint64_t> pending(hello.pending().begin(), hello.pending().end());
  std::set<std::uint64_t> abandoned(hello.abandoned().begin(), hello.abandoned().end());
  for (auto& serving : running_) {
    if (!abandoned.contains(serving.request.sequence()) || serving.request.sequence() == 0) continue;
    serving.abandoned = true;
    serving.cancel.emit(asio::cancellation_type::all);
  }
  for (auto at = answers_.begin(); at != answers_.end();) {
    auto& [sequence, answer] = *at;
    if (!answer.done || pending.contains(sequence)) {
      ++at;
      continue;
    }
    if (abandoned.contains(sequence)) undo_later(std::move(answer.request), std::move(answer.reply));
    at = answers_.erase(at);
  }
}

Result<void> RpcSession::check_bounds() const {
  if (running_.size() >= kRunningMax)
    return Error(EPROTO).with("more than {} requests in flight", kRunningMax);
  if (answers_.size() >= kAnswersMax)
    return Error(EPROTO).with("more than {} replies never acknowledged", kAnswersMax);
  return {};
}

Result<void> RpcSession::request(const Frame& frame) {
  finished_.clear();
  TRY(check_bounds());
  auto& serving = running_.emplace_back();
  auto at = std::prev(running_.end());
  auto refuse = [&](Error error) -> Result<void> {
    running_.erase(at);
    return error;
  };
  auto& request = serving.request;
  if (!request.ParseFromArray(frame.message.data(), static_cast<int>(frame.message.size())))
    return refuse(Error(EPROTO).with("request is not readable"));
  if (auto ok = check_request(request, frame.payload.size()); !ok) return refuse(std::move(ok).error());
  acknowledge(request);
  if (answered_before(request, frame.header.id)) {
    running_.erase(at);
    return {};
  }
  serving.id = frame.header.id;
  serving.payload = frame.payload;
  serving.volume = volume_.get();
  serving.role = role_;
  serving.connection = connections_;
  if (request.wants_lease() && volume_->served->leases) serving.lease_mark = volume_->served->leases->mark();
  serving.cost_bytes = cost_of(request, frame.payload.size());
  serving.ctx = {.session = number(),
                 .sequence = request.sequence(),
                 .hlc = frame.header.hlc,
                 .uid = request.uid(),
                 .gid = request.gid(),
                 .pid = request.pid(),
                 .retry = request.retry()};
  held_bytes_ += serving.cost_bytes;
  bytes_written_ += frame.payload.size();
  ++requests_total_;
  auto ended = [this, self = shared_from_this(), at](const std::exception_ptr& failure) {
    if (failure) die_of_exception(failure);
    finished_.splice(finished_.end(), running_, at);
    if (running_.empty() && undoing_ == 0) idle_.notify_all();
  };
  asio::co_spawn(executor_, run(at, shared_from_this()),
                 asio::bind_cancellation_slot(serving.cancel.slot(), std::move(ended)));
  return {};
}

void RpcSession::acknowledge(const wire::Request& request) {
  for (auto sequence : request.acknowledged()) {
    auto at = answers_.find(sequence);
    if (at != answers_.end() && at->second.done) answers_.erase(at);
  }
}

/// A sequence that was seen before is answered from the table, now or when its first instance is done.
bool RpcSession::answered_before(const wire::Request& request, std::uint64_t id) {
  if (request.sequence() == 0) return false;
  auto [at, fresh] = answers_.try_emplace(request.sequence());
  auto& answer = at->second;
  answer.id = id;
  if (fresh) return false;
  if (answer.done && connection_) connection_->send(header(RpcFrame::kReply, id), as_bytes(answer.message));
  return true;
}

Task<void> RpcSession::run(RpcServings::iterator serving, std::shared_ptr<RpcSession> self) {
  co_await asio::this_coro::throw_if_cancelled(false);
  if (serving->request.has_end_session()) {
    // Answered by end(): everything else must have ended before.
    leaving_ = serving->id;
    co_return;
  }
  if (serving->request.has_reclaim_done()) {
    volume_->end_grace_of(number());
  } else if (auto done = co_await dispatch(*serving); !done) {
    put(&serving->reply, done.error());
    serving->reply_payload = {};
  }
  if (serving->abandoned && serving->reply.error() == 0)
    co_await undo(*volume_->served->ops, serving->ctx, serving->request, serving->reply);
  finish(*serving);
}

/// In the moment in which the answer is sent: a recall comes after it, or it grants nothing.
std::uint32_t RpcSession::grant_leases(const RpcServing& serving) {
  auto* leases = volume_->served->leases;
  const auto& request = serving.request;
  if (!leases || !request.wants_lease() || !connection_ || serving.connection != connections_) return 0;
  std::uint32_t granted = 0;
  auto grant = [&](const wire::Gfid& gfid, LeaseAsk::Part part) {
    if (leases->grant(number(), gfid_from(gfid), serving.lease_mark)) granted |= part;
  };
  const bool answered = serving.reply.error() == 0;
  if (request.has_lookup() && (answered || serving.reply.error() == ENOENT))
    grant(request.lookup().parent(), LeaseAsk::kDirectory);
  if (answered && request.has_readdir()) grant(request.readdir().gfid(), LeaseAsk::kObject);
  if (answered && gives_object(request)) grant(serving.reply.attr().gfid(), LeaseAsk::kObject);
  return granted;
}

void RpcSession::finish(RpcServing& serving) {
  if (auto granted = grant_leases(serving)) serving.reply.set_leases(granted);
  held_bytes_ -= serving.cost_bytes;
  bytes_read_ += serving.reply_payload.size();
  serving.payload = {};
  const auto head = header(RpcFrame::kReply, serving.id);
  if (serving.request.sequence() == 0) {
    if (connection_ && serving.connection == connections_)
      connection_->send(head, serving.reply, {&serving.reply_payload, 1});
  } else if (serving.abandoned) {
    answers_.erase(serving.request.sequence());
  } else {
    auto& answer = answers_[serving.request.sequence()];
    answer.done = true;
    answer.message = serving.reply.SerializeAsString();
    if (needs_undo(serving.request) && serving.reply.error() == 0) {
      answer.request = std::move(serving.request);
      answer.reply = std::move(serving.reply);
    }
    if (connection_) connection_->send(header(RpcFrame::kReply, answer.id), as_bytes(answer.message));
  }
  wake_reader();
}

RpcClientInfo RpcSession::info() const {
  RpcClientInfo info{.session = number(),
                     .client_name = stored_.client_name,
                     .client_version = client_version_,
                     .owner = stored_.owner,
                     .address = {},
                     .role = role_,
                     .connected = attached(),
                     .connected_ns = connected_ns_,
                     .requests = running_.size(),
                     .requests_total = requests_total_,
                     .bytes_read = bytes_read_,
                     .bytes_written = bytes_written_,
                     .held_bytes = held_bytes_,
                     .queued_bytes = connection_ ? connection_->queued_bytes() : 0,
                     .replies_kept = answers_.size(),
                     .notices_waiting = changes_.size()};
  if (connection_) {
    const auto& peer = connection_->peer();
    info.address = peer.uid ? fmt::format("pid {}", peer.pid) : peer.address;
  }
  return info;
}

std::string_view to_string(RpcRole role) {
  switch (role) {
    case RpcRole::kGeorep:
      return "geo-replication";
    case RpcRole::kNode:
      return "node";
    case RpcRole::kAdmin:
      return "admin";
    default:
      return "client";
  }
}

void RpcSession::cancel(std::uint64_t id) {
  for (auto& serving : running_)
    if (serving.id == id) return serving.cancel.emit(asio::cancellation_type::all);
}

bool RpcSession::full() const {
  return held_bytes_ + (connection_ ? connection_->queued_bytes() : 0) > options_.session_bytes_max;
}

Task<void> RpcSession::wait_for_room(const FramedConnection& connection) {
  while (full() && !ended_ && connection_.get() == &connection) {
    reader_waits_ = true;
    if (auto woken = co_await room_.wait(); !woken) co_return;
  }
}

void RpcSession::wake_reader() {
  if (!reader_waits_) return;
  reader_waits_ = false;
  room_.notify_all();
}

void RpcSession::notify(const Invalidation& change) {
  if (!connection_ || everything_changed_) return;
  changes_.push_back(change);
  if (changes_.size() > kChangesMax) {
    changes_.assign(1, Invalidation{});
    everything_changed_ = true;
  }
  send_changes();
}

void RpcSession::send_changes() {
  while (!changes_.empty() && connection_ && connection_->queued_bytes() < kNotifyBehind_bytes) {
    wire::Notify notify;
    const auto count = std::min<std::size_t>(changes_.size(), kChangesPerFrame / 2);
    for (std::size_t i = 0; i < count; ++i) put(notify.add_changes(), changes_[i]);
    changes_.erase(changes_.begin(), changes_.begin() + static_cast<std::ptrdiff_t>(count));
    everything_changed_ = false;
    connection_->send(header(RpcFrame::kNotify, 0), notify);
  }
}

void RpcSession::recall(std::span<const Gfid> gfids, std::uint64_t number) {
  if (!connection_) return;
  wire::Notify notify;
  for (const auto& gfid : gfids) {
    auto* one = notify.add_recalls();
    if (!gfid.is_nil()) put(one->mutable_gfid(), gfid);
    one->set_number(number);
  }
  connection_->send(header(RpcFrame::kNotify, 0), notify);
}

FrameHeader RpcSession::header(RpcFrame type, std::uint64_t id) const {
  return {.type = static_cast<std::uint8_t>(type), .id = id, .hlc = seams_.hlc.last()};
}

void RpcSession::undo_later(wire::Request request, wire::Reply reply) {
  if (!needs_undo(request) || reply.error() != 0) return;
  ++undoing_;
  auto task = [](std::shared_ptr<RpcSession> self, wire::Request request, wire::Reply reply) -> Task<void> {
    OpContext ctx{.session = self->number()};
    co_await undo(*self->volume_->served->ops, ctx, request, reply);
    --self->undoing_;
    if (self->running_.empty() && self->undoing_ == 0) self->idle_.notify_all();
  };
  asio::co_spawn(executor_, task(shared_from_this(), std::move(request), std::move(reply)),
                 [](const std::exception_ptr& failure) {
                   if (failure) die_of_exception(failure);
                 });
}

Task<void> RpcSession::drain() {
  ended_ = true;
  if (connection_) connection_->close();
  wake_reader();
  for (auto& serving : running_) serving.cancel.emit(asio::cancellation_type::all);
  while (!running_.empty() || undoing_ > 0) {
    // Also when this task itself is cancelled: the layers must not go away under a running request.
    if (auto woken = co_await idle_.wait(); !woken) co_await asio::post(executor_, asio::use_awaitable);
  }
  if (auto* leases = volume_->served->leases) leases->forgotten(number());
}

Task<void> RpcSession::end() {
  auto self = shared_from_this();
  co_await drain();
  volume_->end_grace_of(number());
  OpContext ctx{.session = number()};
  if (auto ended = co_await volume_->served->ops->end_session(ctx); !ended)
    log::error("session {} of volume {}: cannot end it: {}", number(), volume_->served->name,
               ended.error().message());
}

}  // namespace polder
