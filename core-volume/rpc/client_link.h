// SPDX-License-Identifier: GPL-3.0-or-later
// The client's side of a session: connecting, greeting, the requests in flight, and what is done when the
// connection or the server goes away. Internal to rpc.
#pragma once
#include <optional>

#include "base/clock.h"
#include "base/concurrency.h"
#include "base/coro.h"
#include "base/hlc.h"
#include "core-volume/rpc/client.h"
#include "core-volume/rpc/client_tables.h"
#include "core-volume/rpc/client_unsynced.h"
#include "core-volume/rpc/framed_connection.h"
#include "core-volume/rpc/messages.h"
#include "core-volume/rpc/protocol.h"
#include "core-volume/rpc/wake_up.h"

namespace polder {

/// One request, in the frame of the operation that waits for it (or on the heap when nobody does).
struct RpcCall {
  wire::Request request;
  std::vector<Buffer> payload;
  std::optional<HandleId>
      handle;             // the caller's, put into the request as the server knows it when it is sent
  bool urgent = false;    // part of a re-claim: fails with the connection
  bool detached = false;  // owned by the link

  wire::Reply reply;
  Buffer reply_payload;
  HandleId opened = 0;  // of open and create
  LeaseAsk* leases = nullptr;
  std::uint64_t recalls_before = 0;  // ClientLink::recalls_ when the reply came
  std::optional<Error> failure;

  std::uint64_t id = 0;
  nanoseconds since{};  // boot time
  bool sent = false;
  bool resent = false;                 // on a later connection: the answer may be an old one
  std::uint64_t sent_incarnation = 0;  // of the server process that got it first
  bool cancelled = false;
  bool done = false;
};

class ClientLink {
 public:
  ClientLink(Seams& seams, const asio::any_io_executor& executor, RpcClientOptions options);
  ~ClientLink();

  Task<Result<void>> start();
  Task<void> stop();
  Task<Result<void>> end_session();
  RpcClientStatus status() const;
  std::vector<RpcCallInfo> calls(std::size_t most);

  /// Returns with the reply (its error, too). Waits through outages.
  Task<Result<void>> perform(RpcCall& call);
  /// Nobody waits for the reply.
  void perform_detached(std::unique_ptr<RpcCall> call);

  OpenHandles& handles() { return handles_; }
  UnsyncedChanges& unsynced() { return unsynced_; }
  HeldLocks& locks() { return locks_; }
  std::function<void(const Invalidation&)> listener;
  std::function<void(const FileAttr&)> attribute_listener;
  std::function<void(const Gfid&)> recall_listener;
  bool leases_hold() const;

 private:
  enum class State { kAway, kReclaiming, kReady };
  struct Slot {
    RpcCall* call = nullptr;
    WakeUp wake;
  };

  // Connecting: client_connect.cc.
  Task<void> run();
  Task<Result<void>> connect();
  Task<Result<void>> connect_to(const Endpoint& endpoint);
  Task<Result<wire::Welcome>> greet(std::shared_ptr<FramedConnection> connection);
  Error refused(const wire::Refusal& refusal);
  void adopt(const wire::Welcome& welcome);
  void lose_session(int code);
  Task<Result<void>> reclaim();
  void release_what_is_gone();
  Task<Result<void>> reopen(HandleId handle);
  Task<Result<void>> relock(Gfid gfid, FileLock lock);
  void become_ready();
  void report_outage(const Error& cause);
  Task<void> read_frames(std::shared_ptr<FramedConnection> connection);
  Task<void> write_frames(std::shared_ptr<FramedConnection> connection);
  Task<void> keep_alive();
  Task<void> watch_outage(std::uint64_t outage);
  void disconnected(const FramedConnection& connection, const Error& cause);

  // Requests in flight: client_link.cc.
  bool take_slot(RpcCall& call);
  bool may_send(const RpcCall& call) const;
  void transmit(RpcCall& call);
  bool put_handle(RpcCall& call);
  void complete(RpcCall& call, std::optional<Error> failure);
  void abandon(RpcCall& call, int code);
  void on_cancel(std::uint64_t id);
  RpcCall* find(std::uint64_t id);
  std::vector<RpcCall*> calls_in_order();
  void fail_all(int code, std::string_view why, bool releases_too);
  void send_waiting();
  Task<void> flush_soon();

  Result<void> handle_frame(const Frame& frame);
  Result<void> handle_reply(const Frame& frame);
  Result<void> handle_notify(const Frame& frame);
  void settle(RpcCall& call);
  void note_change(const RpcCall& call);
  Result<void> tell_attributes(const wire::Reply& reply);

  // Leases: client_leases.cc.
  void prolong_leases(const RpcCall& call);
  void tell_leases(const RpcCall& call);
  Result<void> obey(const wire::Notify& notify);
  void drop_leases();
  FrameHeader header(RpcFrame type, std::uint64_t id) const;

  Seams& seams_;
  asio::any_io_executor executor_;
  RpcClientOptions options_;

  State state_ = State::kAway;
  std::shared_ptr<FramedConnection> connection_;
  std::size_t endpoint_ = 0;
  Event changed_;  // state_, refused_

  // The session.
  std::uint32_t session_ = 0;
  std::string token_;
  std::uint64_t incarnation_ = 0;            // of the server process
  std::uint64_t reclaimed_incarnation_ = 0;  // where everything we hold is held
  bool reclaim_locks_ = false;
  std::uint64_t volume_incarnation_ = 0;
  Gfid volume_;
  Gfid lineage_;
  bool read_only_ = false;
  OpenHandles handles_;
  HeldLocks locks_;
  UnsyncedChanges unsynced_;
  std::uint64_t losses_ = 0;  // as the server counts them

  // Leases.
  nanoseconds lease_term_{0};                // 0: the server gives none
  std::optional<nanoseconds> leases_since_;  // when the last answered request on this connection was made
  bool leases_ended_ = false;                // we have said goodbye
  std::uint64_t recalls_ = 0;                // and other ends of leases, so far

  // Requests.
  std::vector<Slot> slots_;
  std::vector<std::uint32_t> free_slots_;
  std::vector<std::uint32_t> free_urgent_slots_;
  std::vector<std::unique_ptr<RpcCall>> detached_waiting_;  // no slot was free
  Event slot_free_;
  std::uint64_t last_id_ = 0;
  std::uint64_t last_sequence_ = 0;
  std::vector<std::uint64_t> acknowledge_;  // replies that came since the last request
  std::vector<std::uint64_t> abandoned_;    // to be undone by the server
  bool flushing_soon_ = false;

  // Outages.
  nanoseconds heard_at_{};
  nanoseconds outage_since_{};
  std::uint64_t outages_ = 0;
  bool reported_ = false;
  std::optional<Error> refused_;        // permanent as far as we know: callers get it
  std::optional<Error> start_refused_;  // start() gives up, later attempts do not
  std::string last_error_;
  bool soft_expired_ = false;
  bool stopping_ = false;

  TaskGroup tasks_;
};

}  // namespace polder
