// SPDX-License-Identifier: GPL-3.0-or-later
// One session on the server: the requests being served, the reply table, the notifications waiting to be
// sent. Internal to rpc.
#pragma once
#include <boost/asio/cancellation_signal.hpp>
#include <list>
#include <set>
#include <unordered_map>

#include "base/clock.h"
#include "base/concurrency.h"
#include "base/coro.h"
#include "base/hlc.h"
#include "core-volume/rpc/framed_connection.h"
#include "core-volume/rpc/messages.h"
#include "core-volume/rpc/protocol.h"
#include "core-volume/rpc/server.h"

namespace polder {

class RpcSession;

struct RpcVolume {
  std::shared_ptr<ServedVolume> served;
  std::uint64_t incarnation = 0;  // random, of this add_volume(): reply tables and handles live as long
  std::map<std::uint32_t, std::shared_ptr<RpcSession>> sessions;
  std::map<std::string, std::shared_ptr<RpcSession>> by_token;
  std::set<std::uint32_t> grace;  // sessions of an earlier process that have not re-claimed what they held
  Event grace_over;
  bool removing = false;

  void end_grace_of(std::uint32_t session) {
    if (grace.erase(session) > 0 && grace.empty()) end_grace();
  }
  void end_grace() {
    grace_over.notify_all();
    if (served->clients_are_back) served->clients_are_back();
  }
};

/// One request on its way through the layers.
struct RpcServing {
  std::uint64_t id = 0;
  wire::Request request;
  Buffer payload;
  OpContext ctx;
  RpcVolume* volume = nullptr;
  RpcRole role = RpcRole::kClient;

  wire::Reply reply;
  Buffer reply_payload;

  std::size_t cost_bytes = 0;    // what it holds, or will
  std::uint64_t connection = 0;  // which one asked: the reply to a plain read goes nowhere else
  bool abandoned = false;        // its caller gave up: undo what it opens or locks
  std::uint64_t lease_mark = 0;  // LeaseKeeper::mark() when it came
  asio::cancellation_signal cancel;
};

/// Calls the volume's FileOps; fills reply and reply_payload. Enforces role and read-only.
Task<Result<void>> dispatch(RpcServing& serving);
/// Takes back what a request whose caller gave up has opened or locked.
Task<void> undo(FileOps& ops, const OpContext& ctx, const wire::Request& request, const wire::Reply& reply);

class RpcSession : public std::enable_shared_from_this<RpcSession>, public LeaseHolder {
 public:
  RpcSession(Seams& seams, asio::any_io_executor executor, std::shared_ptr<RpcVolume> volume,
             StoredSession stored, const RpcServerOptions& options)
      : seams_(seams),
        executor_(std::move(executor)),
        volume_(std::move(volume)),
        stored_(std::move(stored)),
        options_(options) {}

  const StoredSession& stored() const { return stored_; }
  std::uint32_t number() const { return stored_.number; }
  const std::shared_ptr<RpcVolume>& volume() const { return volume_; }

  /// `connection` speaks for the session from now on; an older one is closed.
  void attach(std::shared_ptr<FramedConnection> connection, RpcRole role, std::string client_version);
  void detach(const FramedConnection& connection);
  bool attached() const { return connection_ != nullptr; }
  const std::shared_ptr<FramedConnection>& connection() const { return connection_; }
  nanoseconds detached_at{};  // boot time
  void heard(nanoseconds at) { heard_at_ = at; }

  void recall(std::span<const Gfid> gfids, std::uint64_t number) override;
  nanoseconds heard_at() const override { return heard_at_; }

  /// The client's view at reconnection: which replies it still needs, and whose callers gave up.
  void reconcile(const wire::Hello& hello);

  /// An error is the peer's fault and ends the connection.
  Result<void> request(const Frame& frame);
  void cancel(std::uint64_t id);
  bool full() const;
  /// Returns at once when `connection` no longer speaks for the session.
  Task<void> wait_for_room(const FramedConnection& connection);

  void notify(const Invalidation& change);

  /// Cancels what waits, and returns when nothing runs. Nothing is started afterwards.
  Task<void> drain();
  /// drain(), then the layers below forget the session.
  Task<void> end();
  bool ended() const { return ended_; }
  /// The request by which the client left; 0: it has not.
  std::uint64_t leaving() const { return leaving_; }

  RpcClientInfo info() const;
  bool restarted = false;  // from an earlier process, and not seen in this one yet

 private:
  struct Answer {
    bool done = false;
    std::uint64_t id = 0;
    wire::Request request;  // only of those that undo() needs: open, create, set_lock
    wire::Reply reply;
    std::string message;  // the reply as it was sent
  };
  using RpcServings = std::list<RpcServing>;

  Result<void> check_bounds() const;
  void acknowledge(const wire::Request& request);
  bool answered_before(const wire::Request& request, std::uint64_t id);
  Task<void> run(RpcServings::iterator serving, std::shared_ptr<RpcSession> self);
  void finish(RpcServing& serving);
  std::uint32_t grant_leases(const RpcServing& serving);
  void send_changes();
  void wake_reader();
  FrameHeader header(RpcFrame type, std::uint64_t id) const;
  void undo_later(wire::Request request, wire::Reply reply);

  Seams& seams_;
  asio::any_io_executor executor_;
  std::shared_ptr<RpcVolume> volume_;  // which lists us: a circle that remove_volume() opens
  StoredSession stored_;
  const RpcServerOptions& options_;
  RpcRole role_ = RpcRole::kClient;
  std::string client_version_;
  std::uint64_t connected_ns_ = 0;
  nanoseconds heard_at_{};  // boot time

  std::shared_ptr<FramedConnection> connection_;
  std::uint64_t connections_ = 0;
  Event room_;
  bool reader_waits_ = false;

  RpcServings running_;
  RpcServings finished_;  // freed at the next request, when surely none of them is on the stack any more
  std::size_t held_bytes_ = 0;
  std::uint64_t requests_total_ = 0;
  std::uint64_t bytes_read_ = 0;
  std::uint64_t bytes_written_ = 0;
  std::unordered_map<std::uint64_t, Answer> answers_;
  std::uint64_t undoing_ = 0;
  Event idle_;
  bool ended_ = false;
  std::uint64_t leaving_ = 0;

  std::vector<Invalidation> changes_;  // not yet sent
  bool everything_changed_ = false;    // too many to name
};

}  // namespace polder
