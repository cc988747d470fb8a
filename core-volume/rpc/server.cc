// SPDX-License-Identifier: GPL-3.0-or-later
// Connections and volumes of the server. A connection's life: stranger → Hello → session → requests until it
// breaks; the session outlives it.
#include "core-volume/rpc/server.h"

#include <set>

#include "base/concurrency_impl.h"
#include "base/log.h"
#include "base/random.h"
#include "core-volume/rpc/server_session.h"

namespace polder {
namespace {

constexpr auto kSweepEvery = std::chrono::seconds(5);
constexpr std::size_t kClientNameMax_bytes = 255;

struct Refused {
  wire::Refusal::Reason reason;
  std::string text;
};

std::string owner_of(const PeerIdentity& peer) {
  if (peer.uid) return fmt::format("uid:{}", *peer.uid);
  return fmt::format("{}@{}", peer.common_name, peer.ca_fingerprint);
}

/// The errno travels as the reason's kind; its text would only be said twice.
std::string reason_of(const Error& error) {
  return error.context().empty() ? error.message() : std::string(error.context());
}

std::string name_of(const PeerIdentity& peer) {
  return peer.uid ? fmt::format("uid {}", *peer.uid) : peer.common_name;
}

}  // namespace

/// A connection from its acceptance to its end.
struct ServerConnection {
  std::shared_ptr<FramedConnection> framed;
  nanoseconds heard_at{};  // boot time of the last frame; of the acceptance at first
  bool stranger = true;
};

struct RpcServer::Impl {
  Impl(Seams& seams_in, const asio::any_io_executor& executor_in, SessionStore& store_in,
       RpcServerOptions options_in)
      : seams(seams_in),
        executor(executor_in),
        store(store_in),
        options(std::move(options_in)),
        tasks("rpc server") {}

  Seams& seams;
  asio::any_io_executor executor;
  SessionStore& store;
  RpcServerOptions options;
  std::map<std::string, std::shared_ptr<RpcVolume>> volumes;
  std::set<std::shared_ptr<ServerConnection>> connections;
  std::size_t strangers = 0;
  bool sweeping = false;
  Event detached;  // some session has lost its connection
  TaskGroup tasks;

  void start_background();
  Task<void> sweep();
  Task<void> expire();
  Task<void> expire_due();
  nanoseconds timeout_of(const RpcVolume& volume) const;
  Task<void> forget(std::shared_ptr<RpcVolume> volume, std::shared_ptr<RpcSession> session);

  Task<void> run(std::shared_ptr<ServerConnection> connection);
  Task<void> write(std::shared_ptr<ServerConnection> connection);
  Task<std::shared_ptr<RpcSession>> greet(ServerConnection& connection);
  Task<std::expected<std::shared_ptr<RpcSession>, Refused>> admit(ServerConnection& connection,
                                                                  const wire::Hello& hello);
  std::expected<RpcRole, Refused> check_role(const ServerConnection& connection, const wire::Hello& hello);
  Task<std::shared_ptr<RpcSession>> find_or_make(std::shared_ptr<RpcVolume> volume, const wire::Hello& hello,
                                                 const std::string& owner, wire::Welcome& welcome);
  void welcome(ServerConnection& connection, RpcSession& session, wire::Welcome message);
  void refuse(ServerConnection& connection, const Refused& why);
  Task<Result<void>> serve_frames(ServerConnection& connection, RpcSession& session);
  Result<void> handle(ServerConnection& connection, RpcSession& session, const Frame& frame);
  Task<void> leave(std::shared_ptr<RpcSession> session, ServerConnection& connection, std::uint64_t id);
};

RpcServer::RpcServer(Seams& seams, const asio::any_io_executor& executor, SessionStore& store,
                     RpcServerOptions options)
    : impl_(std::make_unique<Impl>(seams, executor, store, std::move(options))) {}

RpcServer::~RpcServer() = default;

// ---- volumes ----

Task<Result<void>> RpcServer::add_volume(std::shared_ptr<ServedVolume> volume) {
  auto& impl = *impl_;
  impl.start_background();
  CO_TRY(auto stored, (co_await impl.store.list(volume->name)).with("sessions of volume {}", volume->name));
  auto state = std::make_shared<RpcVolume>();
  state->served = volume;
  state->incarnation = impl.seams.random.next() | 1;
  for (auto& one : stored) {
    auto session = std::make_shared<RpcSession>(impl.seams, impl.executor, state, one, impl.options);
    session->restarted = true;
    session->detached_at = impl.seams.clock.boot_time();
    state->grace.insert(one.number);
    if (volume->leases) volume->leases->knew_before(one.number);
    state->sessions[one.number] = session;
    state->by_token[one.token] = session;
  }
  if (volume->invalidations) {
    volume->invalidations->on_invalidation([state = state.get()](const Invalidation& change) {
      for (auto& [number, session] : state->sessions)
        if (number != change.origin_session) session->notify(change);
    });
  }
  if (state->grace.empty())
    state->end_grace();
  else if (volume->await_clients)
    volume->await_clients();
  impl.volumes[volume->name] = std::move(state);
  impl.detached.notify_all();
  co_return Result<void>();
}

Task<void> RpcServer::remove_volume(const std::string& name) {
  auto at = impl_->volumes.find(name);
  if (at == impl_->volumes.end()) co_return;
  auto volume = at->second;
  impl_->volumes.erase(at);
  volume->removing = true;
  if (volume->served->invalidations) volume->served->invalidations->on_invalidation({});
  auto sessions = volume->sessions;
  for (auto& [number, session] : sessions) co_await session->drain();
  volume->sessions.clear();
  volume->by_token.clear();
}

std::vector<RpcClientInfo> RpcServer::clients(const std::string& volume) const {
  std::vector<RpcClientInfo> all;
  auto at = impl_->volumes.find(volume);
  if (at == impl_->volumes.end()) return all;
  for (const auto& [number, session] : at->second->sessions) all.push_back(session->info());
  return all;
}

RpcServerInfo RpcServer::info() const {
  return {.connections = impl_->connections.size(), .strangers = impl_->strangers};
}

// ---- background ----

void RpcServer::Impl::start_background() {
  if (sweeping) return;
  sweeping = true;
  tasks.spawn(executor, sweep());
  tasks.spawn(executor, expire());
}

/// Closes connections that never said Hello, and those that fell silent.
Task<void> RpcServer::Impl::sweep() {
  while (co_await seams.clock.sleep_for(kSweepEvery)) {
    const auto now = seams.clock.boot_time();
    for (const auto& connection : connections) {
      const auto limit = connection->stranger ? options.hello_timeout : options.silence_timeout;
      if (now - connection->heard_at > limit) connection->framed->close();
    }
  }
}

nanoseconds RpcServer::Impl::timeout_of(const RpcVolume& volume) const {
  return volume.served->session_timeout.count() > 0 ? volume.served->session_timeout
                                                    : options.session_timeout;
}

/// Sleeps until the first session is due, or until another one is detached, which may be due earlier: volumes
/// have time-outs of their own.
Task<void> RpcServer::Impl::expire() {
  while (!co_await is_cancelled()) {
    std::optional<nanoseconds> next;
    for (const auto& [name, volume] : volumes)
      for (const auto& [number, session] : volume->sessions) {
        if (session->attached() || session->ended()) continue;
        const auto due = session->detached_at + timeout_of(*volume);
        if (!next || due < *next) next = due;
      }
    if (!next) {
      (void)co_await detached.wait();
    } else if (*next > seams.clock.boot_time()) {
      (void)co_await with_deadline<void>(seams.clock, *next, detached.wait());
    } else {
      co_await expire_due();
    }
  }
}

Task<void> RpcServer::Impl::expire_due() {
  const auto now = seams.clock.boot_time();
  std::vector<std::pair<std::shared_ptr<RpcVolume>, std::shared_ptr<RpcSession>>> due;
  for (const auto& [name, volume] : volumes)
    for (const auto& [number, session] : volume->sessions)
      if (!session->attached() && !session->ended() && session->detached_at + timeout_of(*volume) <= now)
        due.emplace_back(volume, session);
  for (auto& [volume, session] : due) {
    log::info("session {} of volume {} ({}) is over: no connection for {} s", session->number(),
              volume->served->name, session->stored().client_name,
              std::chrono::duration_cast<std::chrono::seconds>(timeout_of(*volume)).count());
    co_await forget(volume, session);
  }
}

Task<void> RpcServer::Impl::forget(std::shared_ptr<RpcVolume> volume, std::shared_ptr<RpcSession> session) {
  volume->by_token.erase(session->stored().token);
  co_await session->end();
  volume->sessions.erase(session->number());
  auto forgotten = co_await store.forget(volume->served->name, session->number());
  if (!forgotten)
    log::error("session {} of volume {}: {}", session->number(), volume->served->name,
               forgotten.error().message());
}

Task<void> RpcServer::expire_now(const std::string& volume) {
  auto at = impl_->volumes.find(volume);
  if (at == impl_->volumes.end()) co_return;
  auto state = at->second;
  auto sessions = state->sessions;
  for (auto& [number, session] : sessions)
    if (!session->attached() && !session->ended()) co_await impl_->forget(state, session);
}

// ---- connections ----

void RpcServer::serve(std::unique_ptr<Stream> stream) {
  auto& impl = *impl_;
  impl.start_background();
  if (impl.strangers >= impl.options.strangers_max) {
    log::warning("refused a connection of {}: {} others have not said Hello yet", name_of(stream->peer()),
                 impl.strangers);
    stream->close();
    return;
  }
  auto connection = std::make_shared<ServerConnection>();
  connection->framed = std::make_shared<FramedConnection>(std::move(stream), kRpcStrangerFormat);
  connection->heard_at = impl.seams.clock.boot_time();
  impl.connections.insert(connection);
  ++impl.strangers;
  impl.tasks.spawn(impl.executor, impl.write(connection));
  impl.tasks.spawn(impl.executor, impl.run(connection));
}

Task<void> RpcServer::serve_all(Listener& listener) {
  while (true) {
    auto stream = co_await listener.accept();
    if (stream)
      serve(*std::move(stream));
    else if (stream.failed_with(ECANCELED))
      co_return;
    else
      log::warning("cannot accept a connection: {}", stream.error().message());
  }
}

Task<void> RpcServer::Impl::write(std::shared_ptr<ServerConnection> connection) {
  // Why it ended is the reading task's to say.
  (void)co_await connection->framed->run_writer();
}

Task<void> RpcServer::Impl::run(std::shared_ptr<ServerConnection> connection) {
  auto framed = connection->framed;
  auto session = co_await greet(*connection);
  if (connection->stranger) --strangers;
  connection->stranger = false;
  if (session) {
    auto ended = co_await serve_frames(*connection, *session);
    if (ended.failed_with(EPROTO))
      log::error("connection of {} closed: {}", name_of(framed->peer()), ended.error().message());
    session->detach(*framed);
    detached.notify_all();
  }
  framed->close();
  connections.erase(connection);
}

/// The first frame: a Hello, answered by Welcome and a session, or by a Refusal and null.
Task<std::shared_ptr<RpcSession>> RpcServer::Impl::greet(ServerConnection& connection) {
  auto& framed = *connection.framed;
  auto frames = co_await framed.read();
  if (!frames) {
    if (frames.failed_with(EPROTO))
      log::error("connection of {} closed: {}", name_of(framed.peer()), frames.error().message());
    co_return nullptr;
  }
  wire::Hello hello;
  const auto& frame = (*frames)[0];
  const auto message = frame.message;
  if (frames->size() != 1 || !hello.ParseFromArray(message.data(), static_cast<int>(message.size()))) {
    log::error("connection of {} closed: Hello is not readable", name_of(framed.peer()));
    co_return nullptr;
  }
  if (auto seen = seams.hlc.observe(frame.header.hlc); !seen) {
    refuse(connection, {wire::Refusal::CLOCK, seen.error().message()});
    co_return nullptr;
  }
  auto session = co_await admit(connection, hello);
  if (session) co_return *session;
  refuse(connection, session.error());
  // Let the refusal leave; the client closes when it has read it, the sweep if it never does.
  (void)co_await framed.read();
  co_return nullptr;
}

void RpcServer::Impl::refuse(ServerConnection& connection, const Refused& why) {
  log::warning("refused {}: {}", name_of(connection.framed->peer()), why.text);
  wire::Refusal refusal;
  refusal.set_reason(why.reason);
  refusal.set_text(why.text);
  connection.framed->send({.type = static_cast<std::uint8_t>(RpcFrame::kRefusal), .hlc = seams.hlc.last()},
                          refusal);
}

std::expected<RpcRole, Refused> RpcServer::Impl::check_role(const ServerConnection& connection,
                                                            const wire::Hello& hello) {
  using R = wire::Refusal;
  if (hello.version_min() > kRpcVersion || hello.version_max() < kRpcVersion)
    return std::unexpected(Refused{
        R::VERSION, fmt::format("protocol {}..{} asked for, this server speaks {}: update the older side",
                                hello.version_min(), hello.version_max(), kRpcVersion)});
  const bool sane = hello.token().empty() || hello.token().size() == kRpcToken_bytes;
  if (!sane || hello.volume().size() > 255 || hello.client_name().size() > kClientNameMax_bytes ||
      hello.client_version().size() > kClientNameMax_bytes)
    return std::unexpected(Refused{R::UNKNOWN, "malformed Hello"});
  auto role = options.role(connection.framed->peer(), hello.volume());
  if (!role) return std::unexpected(Refused{R::NOT_ALLOWED, reason_of(role.error())});
  return *role;
}

Task<std::expected<std::shared_ptr<RpcSession>, Refused>> RpcServer::Impl::admit(ServerConnection& connection,
                                                                                 const wire::Hello& hello) {
  auto role = check_role(connection, hello);
  if (!role) co_return std::unexpected(role.error());
  auto at = volumes.find(hello.volume());
  if (at == volumes.end()) {
    auto why = options.why_absent(hello.volume());
    const auto reason = why.is(ENOENT) ? wire::Refusal::NO_SUCH_VOLUME : wire::Refusal::NOT_STARTED;
    co_return std::unexpected(Refused{reason, reason_of(why)});
  }
  auto volume = at->second;
  wire::Welcome message;
  auto session = co_await find_or_make(volume, hello, owner_of(connection.framed->peer()), message);
  if (!session || session->ended() || volume->removing || connection.framed->closed())
    co_return std::unexpected(Refused{wire::Refusal::BUSY, "cannot make a session now"});
  if (message.kind() != wire::Welcome::NEW) session->reconcile(hello);
  session->attach(connection.framed, *role, hello.client_version());
  connection.framed->set_format(kRpcFormat);
  connection.heard_at = seams.clock.boot_time();
  welcome(connection, *session, std::move(message));
  co_return session;
}

/// The session of the Hello's token, if it is still there and its owner asks; else a new one.
Task<std::shared_ptr<RpcSession>> RpcServer::Impl::find_or_make(std::shared_ptr<RpcVolume> volume,
                                                                const wire::Hello& hello,
                                                                const std::string& owner,
                                                                wire::Welcome& welcome) {
  if (auto known = volume->by_token.find(hello.token()); known != volume->by_token.end()) {
    auto session = known->second;
    if (session->stored().owner == owner && !session->ended()) {
      welcome.set_kind(session->restarted || hello.server_incarnation() != volume->incarnation
                           ? wire::Welcome::RESTARTED
                           : wire::Welcome::RESUMED);
      co_return session;
    }
    log::error("{} presented the token of session {}, which belongs to {}", owner, session->number(),
               session->stored().owner);
  }
  StoredSession stored;
  stored.token.resize(kRpcToken_bytes);
  seams.random.fill({reinterpret_cast<std::uint8_t*>(stored.token.data()), kRpcToken_bytes});
  stored.owner = owner;
  stored.client_name = hello.client_name();
  auto number = co_await store.add(volume->served->name, stored);
  if (!number) {
    log::error("volume {}: cannot make a session: {}", volume->served->name, number.error().message());
    co_return nullptr;
  }
  stored.number = *number;
  auto session = std::make_shared<RpcSession>(seams, executor, volume, stored, options);
  volume->sessions[*number] = session;
  volume->by_token[stored.token] = session;
  welcome.set_kind(wire::Welcome::NEW);
  co_return session;
}

void RpcServer::Impl::welcome(ServerConnection& connection, RpcSession& session, wire::Welcome message) {
  const auto& served = *session.volume()->served;
  message.set_version(kRpcVersion);
  message.set_session(session.number());
  message.set_token(session.stored().token);
  message.set_server_incarnation(session.volume()->incarnation);
  message.set_volume_incarnation(served.incarnation);
  put(message.mutable_volume(), served.id);
  put(message.mutable_lineage(), served.lineage);
  message.set_read_only(served.read_only);
  message.set_in_flight_max(kRpcInFlightMax);
  message.set_losses(served.losses);
  if (served.leases)
    message.set_lease_term_ms(static_cast<std::uint32_t>(
        std::chrono::duration_cast<std::chrono::milliseconds>(served.leases->lease_term()).count()));
  connection.framed->send({.type = static_cast<std::uint8_t>(RpcFrame::kWelcome), .hlc = seams.hlc.last()},
                          message);
}

Task<Result<void>> RpcServer::Impl::serve_frames(ServerConnection& connection, RpcSession& session) {
  auto& framed = *connection.framed;
  while (true) {
    CO_TRY(auto frames, co_await framed.read());
    connection.heard_at = seams.clock.boot_time();
    session.heard(connection.heard_at);
    for (const auto& frame : frames) {
      CO_TRY(handle(connection, session, frame));
    }
    if (session.leaving() != 0) {
      co_await leave(session.shared_from_this(), connection, session.leaving());
      co_return Result<void>();
    }
    if (session.full()) co_await session.wait_for_room(framed);
    if (session.ended()) co_return Error(ECONNRESET);
  }
}

Result<void> RpcServer::Impl::handle(ServerConnection& connection, RpcSession& session, const Frame& frame) {
  TRY(seams.hlc.observe(frame.header.hlc));
  switch (static_cast<RpcFrame>(frame.header.type)) {
    case RpcFrame::kRequest:
      return session.request(frame);
    case RpcFrame::kCancel:
      session.cancel(frame.header.id);
      return {};
    case RpcFrame::kRecalled:
      if (auto* leases = session.volume()->served->leases)
        leases->answered(session.number(), frame.header.id);
      return {};
    case RpcFrame::kPing:
      connection.framed->send({.type = static_cast<std::uint8_t>(RpcFrame::kPong),
                               .id = frame.header.id,
                               .hlc = seams.hlc.last()},
                              ConstBytes{});
      return {};
    case RpcFrame::kPong:
      return {};
    default:
      return Error(EPROTO).with("frame of type {} from a client", frame.header.type);
  }
}

/// The client has said goodbye: its session ends now, and it is told when that is done.
Task<void> RpcServer::Impl::leave(std::shared_ptr<RpcSession> session, ServerConnection& connection,
                                  std::uint64_t id) {
  auto at = volumes.find(session->volume()->served->name);
  if (at == volumes.end() || at->second != session->volume()) co_return;
  auto volume = at->second;
  session->detach(*connection.framed);
  if (volume->served->leases) volume->served->leases->left(session->number());
  co_await forget(volume, session);
  connection.framed->send(
      {.type = static_cast<std::uint8_t>(RpcFrame::kReply), .id = id, .hlc = seams.hlc.last()},
      wire::Reply());
  // The client closes when it has read that.
  (void)co_await connection.framed->read();
}

Task<void> RpcServer::stop() {
  while (!impl_->volumes.empty()) co_await remove_volume(impl_->volumes.begin()->first);
  for (const auto& connection : impl_->connections) connection->framed->close();
  co_await impl_->tasks.stop();
}

}  // namespace polder
