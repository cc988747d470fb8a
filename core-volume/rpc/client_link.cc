// SPDX-License-Identifier: GPL-3.0-or-later
// Requests in flight. A request's id holds its slot's number, so a reply finds its request without a search,
// and a number that rises, so requests can be sent again in the order they were made.
#include "core-volume/rpc/client_link.h"

#include <fcntl.h>

#include <algorithm>

#include "base/log.h"

namespace polder {
namespace {

constexpr std::uint32_t kUrgentSlots = 64;
constexpr std::uint32_t kSlots = kRpcInFlightMax + kUrgentSlots;
constexpr std::uint64_t kSlotBits = 11;
static_assert(kSlots <= 1u << kSlotBits);
constexpr std::uint64_t kSequencePending = 1;  // until there is a slot
constexpr std::size_t kAbandonedMax = 4096;    // a Hello must stay a small message

}  // namespace

ClientLink::ClientLink(Seams& seams, const asio::any_io_executor& executor, RpcClientOptions options)
    : seams_(seams), executor_(executor), options_(std::move(options)), slots_(kSlots), tasks_("rpc client") {
  for (auto i = kSlots; i-- > 0;) (i < kRpcInFlightMax ? free_slots_ : free_urgent_slots_).push_back(i);
}

ClientLink::~ClientLink() {
  if (connection_) connection_->close();
}

bool ClientLink::take_slot(RpcCall& call) {
  auto& free = call.urgent ? free_urgent_slots_ : free_slots_;
  if (free.empty()) return false;
  const auto slot = free.back();
  free.pop_back();
  slots_[slot].call = &call;
  call.id = ++last_id_ << kSlotBits | slot;
  call.since = seams_.clock.boot_time();
  if (needs_sequence(call.request.op_case())) call.request.set_sequence(++last_sequence_);
  return true;
}

RpcCall* ClientLink::find(std::uint64_t id) {
  const auto slot = id & ((1u << kSlotBits) - 1);
  if (slot >= slots_.size()) return nullptr;
  auto* call = slots_[slot].call;
  return call && call->id == id ? call : nullptr;
}

bool ClientLink::may_send(const RpcCall& call) const {
  return state_ == State::kReady || (state_ == State::kReclaiming && call.urgent);
}

Task<Result<void>> ClientLink::perform(RpcCall& call) {
  // What the server would close the connection for must not be sent: it would be sent again and again.
  std::size_t payload_bytes = 0;
  for (const auto& piece : call.payload) payload_bytes += piece.size();
  if (needs_sequence(call.request.op_case())) call.request.set_sequence(kSequencePending);
  if (auto good = check_request(call.request, payload_bytes); !good)
    co_return Error(EINVAL).with("{}", good.error().context());
  while (true) {
    if (co_await is_cancelled()) co_return Error(ECANCELED);
    if (stopping_ && !call.urgent) co_return Error(ECANCELED).with("the client is stopping");
    if (refused_) co_return *refused_;
    if (call.urgent && state_ == State::kAway) co_return Error(ECONNRESET);
    if (soft_expired_ && state_ == State::kAway)
      co_return Error(ETIMEDOUT).with("no connection to volume {}", options_.volume);
    if (take_slot(call)) break;
    CO_TRY(co_await slot_free_.wait());
  }
  if (may_send(call)) transmit(call);
  if (!call.done) {
    const auto id = call.id;
    auto& slot = slots_[id & ((1u << kSlotBits) - 1)];
    co_await slot.wake.wait([this, id] { on_cancel(id); });
  }
  if (call.failure) co_return std::move(*call.failure);
  if (call.leases) tell_leases(call);
  if (call.reply.error() != 0) co_return error_from(call.reply);
  co_return Result<void>();
}

void ClientLink::perform_detached(std::unique_ptr<RpcCall> call) {
  if (stopping_) return;
  call->detached = true;
  if (!take_slot(*call)) {
    detached_waiting_.push_back(std::move(call));
    return;
  }
  auto* owned = call.release();  // complete() deletes it
  if (may_send(*owned)) transmit(*owned);
}

/// False when the handle is dead and the call is done.
bool ClientLink::put_handle(RpcCall& call) {
  if (!call.handle) return true;
  const auto* handle = handles_.find(*call.handle);
  auto& request = call.request;
  const bool released = !handle || (handle->closing && !request.has_release());
  if (released || handle->dead) {
    complete(call, Error(released ? EBADF : ESTALE));
    return false;
  }
  if (request.has_read()) request.mutable_read()->set_handle(handle->at_server);
  if (request.has_write()) request.mutable_write()->set_handle(handle->at_server);
  if (request.has_release()) request.mutable_release()->set_handle(handle->at_server);
  return true;
}

void ClientLink::transmit(RpcCall& call) {
  if (!put_handle(call)) return;
  auto& request = call.request;
  if (call.sent && call.sent_incarnation != incarnation_ && request.sequence() != 0) request.set_retry(true);
  request.clear_acknowledged();
  if (!acknowledge_.empty()) {
    request.mutable_acknowledged()->Add(acknowledge_.begin(), acknowledge_.end());
    acknowledge_.clear();
  }
  if (call.detached) {
    connection_->send_along(header(RpcFrame::kRequest, call.id), request);
    if (!std::exchange(flushing_soon_, true)) tasks_.spawn(executor_, flush_soon());
  } else {
    connection_->send(header(RpcFrame::kRequest, call.id), request, call.payload);
  }
  call.resent = call.sent;
  if (!call.sent) call.sent_incarnation = incarnation_;
  call.sent = true;
}

/// Releases that no other request has taken along.
Task<void> ClientLink::flush_soon() {
  (void)co_await seams_.clock.sleep_for(kRpcAlongMax);
  flushing_soon_ = false;
  if (connection_) connection_->flush();
}

void ClientLink::complete(RpcCall& call, std::optional<Error> failure) {
  call.failure = std::move(failure);
  call.done = true;
  if (call.request.has_release()) handles_.erase(*call.handle);
  const auto slot = static_cast<std::uint32_t>(call.id & ((1u << kSlotBits) - 1));
  slots_[slot].call = nullptr;
  (call.urgent ? free_urgent_slots_ : free_slots_).push_back(slot);
  if (call.detached)
    delete &call;
  else
    slots_[slot].wake.wake();
  if (!detached_waiting_.empty() && !free_slots_.empty()) {
    auto next = std::move(detached_waiting_.back());
    detached_waiting_.pop_back();
    perform_detached(std::move(next));
  } else {
    slot_free_.notify_all();
  }
}

/// The caller gets an error now; whatever the server does or did for it is to be undone.
void ClientLink::abandon(RpcCall& call, int code) {
  Error error(code);
  if (call.sent) {
    if (call.request.sequence() != 0 && abandoned_.size() < kAbandonedMax)
      abandoned_.push_back(call.request.sequence());
    if (call.request.has_set_lock()) reclaim_locks_ = true;
    error = std::move(error).set_maybe_applied();
  }
  complete(call, std::move(error));
}

void ClientLink::on_cancel(std::uint64_t id) {
  auto* call = find(id);
  if (!call || call->cancelled) return;
  call->cancelled = true;
  // While there is a connection the server's answer is awaited: it knows whether it is still possible.
  if (call->sent && may_send(*call))
    connection_->send(header(RpcFrame::kCancel, id), ConstBytes{});
  else
    abandon(*call, ECANCELED);
}

std::vector<RpcCall*> ClientLink::calls_in_order() {
  std::vector<RpcCall*> calls;
  for (auto& slot : slots_)
    if (slot.call) calls.push_back(slot.call);
  std::sort(calls.begin(), calls.end(), [](const RpcCall* a, const RpcCall* b) { return a->id < b->id; });
  return calls;
}

/// Releases nobody waits for, and they would leave open files behind: they stay, except at the end.
void ClientLink::fail_all(int code, std::string_view why, bool releases_too) {
  if (releases_too) detached_waiting_.clear();
  for (auto* call : calls_in_order()) {
    if (call->detached && !releases_too) continue;
    Error error = Error(code).with("{}", why);
    if (call->sent) error = std::move(error).set_maybe_applied();
    if (call->sent && call->request.sequence() != 0 && abandoned_.size() < kAbandonedMax)
      abandoned_.push_back(call->request.sequence());
    if (call->sent && call->request.has_set_lock()) reclaim_locks_ = true;
    complete(*call, std::move(error));
  }
}

void ClientLink::send_waiting() {
  for (auto* call : calls_in_order()) {
    // One call's end may free another slot and start what waited for it; the list holds only older ones.
    if (find(call->id) == call && !call->urgent) transmit(*call);
  }
}

Result<void> ClientLink::handle_frame(const Frame& frame) {
  seams_.hlc.observe_own(frame.header.hlc);
  switch (static_cast<RpcFrame>(frame.header.type)) {
    case RpcFrame::kReply:
      return handle_reply(frame);
    case RpcFrame::kNotify:
      return handle_notify(frame);
    case RpcFrame::kPing:
      connection_->send(header(RpcFrame::kPong, frame.header.id), ConstBytes{});
      return {};
    case RpcFrame::kPong:
      return {};
    default:
      return Error(EPROTO).with("frame of type {} from a server", frame.header.type);
  }
}

Result<void> ClientLink::handle_reply(const Frame& frame) {
  auto* call = find(frame.header.id);
  if (!call) return {};  // of a plain read that was sent twice, or of a call that has given up
  if (!call->reply.ParseFromArray(frame.message.data(), static_cast<int>(frame.message.size())))
    return Error(EPROTO).with("reply is not readable");
  call->reply_payload = frame.payload;
  if (call->request.sequence() != 0) acknowledge_.push_back(call->request.sequence());
  settle(*call);
  prolong_leases(*call);
  call->recalls_before = recalls_;
  if (!call->resent) {
    TRY(tell_attributes(call->reply));
  }
  complete(*call, std::nullopt);
  return {};
}

Result<void> ClientLink::tell_attributes(const wire::Reply& reply) {
  for (const auto& directory : reply.directories()) {
    TRY(auto attr, attr_from(directory));
    if (attribute_listener) attribute_listener(attr);
  }
  return {};
}

/// What the link must remember of a reply, at the moment it comes: the next outage may begin before the
/// caller runs again.
void ClientLink::settle(RpcCall& call) {
  const auto& request = call.request;
  if (call.reply.error() != 0 || call.urgent) return;
  note_change(call);
  if (request.has_open() || request.has_create()) {
    const int flags = request.has_open() ? request.open().flags() : request.create().flags();
    call.opened = handles_.add(gfid_from(call.reply.attr().gfid()), flags, call.reply.handle(), incarnation_);
  }
  if (!request.has_set_lock()) return;
  if (auto lock = lock_from(request.set_lock().lock()); lock)
    locks_.apply(gfid_from(request.set_lock().gfid()), *lock);
}

/// What only a later fsync makes safe.
void ClientLink::note_change(const RpcCall& call) {
  const auto& request = call.request;
  const auto file = [&](const wire::Gfid& gfid) { unsynced_.file_changed(gfid_from(gfid)); };
  const auto names = [&](const wire::Gfid& directory) { unsynced_.names_changed(gfid_from(directory)); };
  using Op = wire::Request;
  switch (request.op_case()) {
    case Op::kWrite:
      return file(request.write().gfid());
    case Op::kCreate:
      return names(request.create().parent());
    case Op::kMknod:
      return names(request.mknod().parent());
    case Op::kMkdir:
      return names(request.mkdir().parent());
    case Op::kSymlink:
      return names(request.symlink().parent());
    case Op::kLink:
      return names(request.link().parent());
    case Op::kUnlink:
      return names(request.unlink().parent());
    case Op::kRmdir:
      return names(request.rmdir().parent());
    case Op::kRename:
      names(request.rename().from_parent());
      return names(request.rename().to_parent());
    case Op::kSetattr:
      return file(request.setattr().gfid());
    case Op::kSetxattr:
      return file(request.setxattr().gfid());
    case Op::kRemovexattr:
      return file(request.removexattr().gfid());
    case Op::kFallocate:
      return file(request.fallocate().gfid());
    case Op::kCopyRange:
      return file(request.copy_range().to());
    case Op::kOpen:
      if (request.open().flags() & O_TRUNC) file(request.open().gfid());
      return;
    case Op::kReplay:
      return unsynced_.names_changed(Gfid::root());
    default:
      return;
  }
}

Result<void> ClientLink::handle_notify(const Frame& frame) {
  wire::Notify notify;
  if (!notify.ParseFromArray(frame.message.data(), static_cast<int>(frame.message.size())))
    return Error(EPROTO).with("notification is not readable");
  for (const auto& one : notify.changes()) {
    TRY(auto change, invalidation_from(one));
    if (listener) listener(change);
  }
  return obey(notify);
}

FrameHeader ClientLink::header(RpcFrame type, std::uint64_t id) const {
  return {.type = static_cast<std::uint8_t>(type), .id = id, .hlc = seams_.hlc.last()};
}

}  // namespace polder
