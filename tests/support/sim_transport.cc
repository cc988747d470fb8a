// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/support/sim_transport.h"

#include <algorithm>
#include <deque>

#include "base/concurrency_impl.h"
#include "base/random.h"
#include "base/tls.h"
#include "tests/support/trace.h"

namespace polder {

namespace {

using namespace std::chrono_literals;

constexpr auto kConnectLimit = 5s;
constexpr std::size_t kBacklog = 128;
constexpr nanoseconds kNever = nanoseconds::max();
constexpr std::size_t kSlowPieceBytes = 4096;  // of a link with a speed: more would arrive at once

/// One direction between two hosts.
struct Link {
  std::uint64_t bytes_per_s = 0;  // 0: without limit
  nanoseconds busy_until{};       // with what was sent so far
  std::uint64_t loss_one_in = 0;  // 0: nothing is lost
  std::uint64_t reset_after = 0;  // bytes; 0: never
};

/// One direction of a connection.
struct Pipe {
  struct Chunk {
    std::vector<std::byte> bytes;
    nanoseconds due;
  };
  std::deque<Chunk> chunks;
  std::size_t taken = 0;     // of the first chunk
  std::size_t buffered = 0;  // all that is not taken yet
  nanoseconds last_due{};    // bytes do not overtake each other
  nanoseconds end_due = kNever;
};

struct Connection {
  std::string hosts[2];  // 0 connected, 1 accepted
  PeerIdentity peers[2];
  std::string protocol;
  bool local = false;  // a unix socket: no delay, no partition
  bool broken = false;
  bool closed[2] = {false, false};
  Pipe pipes[2];  // [i]: what side i sends
  Event changed;

  void reset() {
    broken = true;
    changed.notify_all();
  }
};

struct Accepting {
  std::string host;
  Endpoint local;
  std::vector<std::string> protocols;
  std::shared_ptr<const TlsIdentity> identity;
  struct Arrived {
    std::shared_ptr<Connection> connection;
    std::unique_ptr<Stream> stream;
  };
  std::deque<Arrived> ready;
  Event changed;
  bool closed = false;

  void close() {
    closed = true;
    ready.clear();
    changed.notify_all();
  }
};

}  // namespace

struct SimNetwork::State {
  State(SimClock& sim_clock, std::uint64_t seed, Trace* world_trace)
      : clock(sim_clock), random(make_seeded_random(seed)), trace(world_trace) {}

  SimClock& clock;
  std::unique_ptr<Random> random;
  nanoseconds least_delay = 50us;
  nanoseconds most_delay = 500us;
  std::map<std::pair<std::string, std::string>, nanoseconds> blocked;  // direction → since when
  std::map<std::pair<std::string, std::string>, std::uint64_t> carried;
  std::map<std::pair<std::string, std::string>, Link> links;
  std::vector<std::weak_ptr<Connection>> connections;
  std::map<std::string, std::weak_ptr<Accepting>> listeners;
  Event path_changed;
  std::uint16_t next_port = 40000;
  Trace* const trace;
  std::map<std::string, std::size_t> actors;  // in the trace, by host

  std::uint64_t calls = 0;
  std::uint64_t fail_at = 0;  // 0: no call
  int fail_code = 0;
  bool fired = false;
  std::function<void(const std::string&)> on_call;

  /// Counts a call, and fails it when that is due.
  Result<void> count_call(std::string_view what, const std::string& from, const std::string& to) {
    ++calls;
    if (on_call) on_call(fmt::format("{} from {} to {}", what, from, to));
    if (calls != fail_at) return {};
    fired = true;
    return Error(fail_code);
  }
  /// Of one that has a connection: breaks it, too.
  Result<void> count_call(std::string_view what, Connection& connection, int side) {
    auto allowed = count_call(what, connection.hosts[side], connection.hosts[1 - side]);
    if (!allowed) connection.reset();
    return allowed;
  }

  void arrived(const std::string& from, const std::string& to, std::size_t bytes) {
    carried[{from, to}] += bytes;
    if (!trace) return;
    auto known = actors.find(to);
    if (known == actors.end()) known = actors.emplace(to, trace->actor(to)).first;
    trace->add(known->second, "bytes arrived", bytes);
  }

  nanoseconds delay() {
    auto spread = static_cast<std::uint64_t>((most_delay - least_delay).count());
    return least_delay + nanoseconds(random->below(spread + 1));
  }
  /// How long a piece is on its way.
  nanoseconds way(const Link& link) {
    auto time = delay();
    if (link.loss_one_in == 0) return time;
    for (auto resend = kResend; random->below(link.loss_one_in) == 0 && time < kPatience; resend *= 2)
      time += resend;
    return time;
  }
  /// When so many bytes that are sent now arrive.
  nanoseconds arrival(Link& link, std::size_t bytes) {
    const auto now = clock.boot_time();
    if (link.bytes_per_s == 0) return now + way(link);
    const auto takes = nanoseconds(std::uint64_t{bytes} * 1'000'000'000 / link.bytes_per_s);
    link.busy_until = std::max(link.busy_until, now) + takes;
    return link.busy_until + way(link);
  }
  std::optional<nanoseconds> blocked_since(const std::string& from, const std::string& to) const {
    auto at = blocked.find({from, to});
    return at == blocked.end() ? std::nullopt : std::optional(at->second);
  }
  template <typename Visit>
  void for_connections(Visit visit) {
    std::erase_if(connections, [](const auto& weak) { return weak.expired(); });
    auto all = connections;
    for (auto& weak : all) {
      if (auto connection = weak.lock()) visit(*connection);
    }
  }
  /// Since when anything between the ends is blocked.
  std::optional<nanoseconds> stalled_since(const Connection& connection) const {
    if (connection.local) return std::nullopt;
    auto forth = blocked_since(connection.hosts[0], connection.hosts[1]);
    auto back = blocked_since(connection.hosts[1], connection.hosts[0]);
    return forth && back ? std::min(forth, back) : (forth ? forth : back);
  }
  /// Breaks the connection when it was stalled for too long.
  void lose_patience(Connection& connection) {
    auto since = stalled_since(connection);
    if (since && clock.boot_time() >= *since + kPatience) connection.reset();
  }
};

namespace {

using Network = std::shared_ptr<SimNetwork::State>;

class SimStream final : public Stream {
 public:
  SimStream(Network network, std::shared_ptr<Connection> connection, int side)
      : network_(std::move(network)), connection_(std::move(connection)), side_(side) {}
  ~SimStream() override { close(); }

  Task<Result<std::size_t>> read_some(Bytes out) override { return read(network_, connection_, side_, out); }
  Task<Result<void>> write(std::span<const ConstBytes> pieces) override {
    return write(network_, connection_, side_, pieces);
  }
  void close() override {
    if (std::exchange(connection_->closed[side_], true)) return;
    Pipe& out = connection_->pipes[side_];
    out.end_due = std::max(out.last_due, due(*network_, *connection_, side_, 0));
    connection_->changed.notify_all();
  }
  const PeerIdentity& peer() const override { return connection_->peers[side_]; }
  const std::string& protocol() const override { return connection_->protocol; }

 private:
  static Link& link(SimNetwork::State& network, const Connection& connection, int from_side) {
    return network.links[{connection.hosts[from_side], connection.hosts[1 - from_side]}];
  }
  static nanoseconds due(SimNetwork::State& network, const Connection& connection, int side,
                         std::size_t bytes) {
    if (connection.local) return network.clock.boot_time();
    return network.arrival(link(network, connection, side), bytes);
  }
  static bool usable(SimNetwork::State& network, Connection& connection, int side) {
    network.lose_patience(connection);
    return !connection.broken && !connection.closed[side];
  }

  /// Until something changes or `when` comes.
  static Task<Result<void>> wait(Network network, std::shared_ptr<Connection> connection, nanoseconds when) {
    if (auto since = network->stalled_since(*connection))
      when = std::min(when, *since + SimNetwork::kPatience);
    if (when == kNever) co_return co_await connection->changed.wait();
    auto changed = co_await with_deadline(network->clock, when, connection->changed.wait());
    if (changed.failed_with(ETIMEDOUT)) co_return Result<void>();
    co_return changed;
  }

  static Task<Result<std::size_t>> read(Network network, std::shared_ptr<Connection> connection, int side,
                                        Bytes out) {
    if (out.empty()) co_return Error(EINVAL).with("read of 0 bytes");
    Pipe& in = connection->pipes[1 - side];
    for (;;) {
      if (!usable(*network, *connection, side)) co_return Error(ECONNRESET);
      nanoseconds now = network->clock.boot_time();
      bool blocked =
          !connection->local && network->blocked_since(connection->hosts[1 - side], connection->hosts[side]);
      if (!blocked && !in.chunks.empty() && in.chunks.front().due <= now) break;
      if (!blocked && in.chunks.empty() && in.end_due <= now) co_return 0U;
      nanoseconds next = in.chunks.empty() ? in.end_due : in.chunks.front().due;
      CO_TRY(co_await wait(network, connection, blocked ? kNever : next));
    }
    CO_TRY(network->count_call("read", *connection, side));
    co_return take(*network, *connection, side, out);
  }

  /// Part of the first chunk: readers must not rely on how the writer cut it.
  static std::size_t take(SimNetwork::State& network, Connection& connection, int side, Bytes out) {
    Pipe& in = connection.pipes[1 - side];
    auto& first = in.chunks.front().bytes;
    std::size_t count = std::min(out.size(), first.size() - in.taken);
    if (network.random->below(8) == 0) count = 1 + network.random->below(count);
    auto& way = link(network, connection, 1 - side);
    if (way.reset_after != 0 && !connection.local) {
      count = std::min<std::uint64_t>(count, way.reset_after);
      way.reset_after -= count;
      if (way.reset_after == 0) connection.reset();
    }
    std::copy_n(first.begin() + static_cast<std::ptrdiff_t>(in.taken), count, out.begin());
    in.taken += count;
    in.buffered -= count;
    network.arrived(connection.hosts[1 - side], connection.hosts[side], count);
    if (in.taken == first.size()) {
      in.chunks.pop_front();
      in.taken = 0;
    }
    connection.changed.notify_all();  // room for the writer
    return count;
  }

  static Task<Result<void>> write(Network network, std::shared_ptr<Connection> connection, int side,
                                  std::span<const ConstBytes> pieces) {
    Pipe& out = connection->pipes[side];
    if (!usable(*network, *connection, side)) co_return Error(ECONNRESET);
    CO_TRY(network->count_call("write", *connection, side));
    for (ConstBytes piece : pieces) {
      while (!piece.empty()) {
        if (!usable(*network, *connection, side)) co_return Error(ECONNRESET);
        const Pipe& back = connection->pipes[1 - side];
        if (back.end_due <= network->clock.boot_time()) co_return Error(EPIPE);  // nobody reads any more
        if (out.buffered >= SimNetwork::kWindow_bytes) {
          auto waited = co_await wait(network, connection, back.end_due);
          if (!waited) connection->reset();  // ends in the middle: nothing sensible can follow
          CO_TRY(std::move(waited));
          continue;
        }
        auto part = piece.first(std::min(piece.size(), SimNetwork::kWindow_bytes - out.buffered));
        if (!connection->local && link(*network, *connection, side).bytes_per_s != 0)
          part = part.first(std::min(part.size(), kSlowPieceBytes));
        append(*network, *connection, side, part);
        piece = piece.subspan(part.size());
      }
    }
    co_return Result<void>();
  }

  /// Pieces sent at the same moment travel together.
  static void append(SimNetwork::State& network, Connection& connection, int side, ConstBytes part) {
    Pipe& out = connection.pipes[side];
    nanoseconds arrives = std::max(out.last_due, due(network, connection, side, part.size()));
    out.last_due = arrives;
    out.buffered += part.size();
    out.chunks.push_back({std::vector<std::byte>(part.begin(), part.end()), arrives});
    connection.changed.notify_all();
  }

  Network network_;
  std::shared_ptr<Connection> connection_;
  int side_;
};

class SimListener final : public Listener {
 public:
  SimListener(Network network, std::shared_ptr<Accepting> accepting)
      : network_(std::move(network)), accepting_(std::move(accepting)) {}
  ~SimListener() override { accepting_->close(); }

  Task<Result<std::unique_ptr<Stream>>> accept() override {
    auto network = network_;
    auto accepting = accepting_;
    for (;;) {
      if (accepting->closed) co_return Error(ECANCELED);
      if (accepting->ready.empty()) {
        CO_TRY(co_await accepting->changed.wait());
        continue;
      }
      auto arrived = std::move(accepting->ready.front());
      accepting->ready.pop_front();
      if (network->count_call("accept", *arrived.connection, 1)) co_return std::move(arrived.stream);
    }
  }
  void close() override { accepting_->close(); }
  Endpoint local() const override { return accepting_->local; }

 private:
  Network network_;
  std::shared_ptr<Accepting> accepting_;
};

std::string listener_key(const std::string& host, const Endpoint& endpoint) {
  if (endpoint.kind == Endpoint::Kind::kUnix) return host + " unix:" + endpoint.host;
  return fmt::format("{} {}", host, endpoint.port);
}

class SimTransport final : public Transport {
 public:
  SimTransport(Network network, std::string host) : network_(std::move(network)), host_(std::move(host)) {}

  Task<Result<std::unique_ptr<Stream>>> connect(const Endpoint& endpoint, std::string protocol,
                                                std::shared_ptr<const TlsIdentity> identity) override {
    Endpoint to = endpoint;
    bool is_unix = to.kind == Endpoint::Kind::kUnix;
    if (!is_unix && !identity)
      co_return Error(EINVAL).with("connect to {}: TLS needs an identity", to.text());
    auto connected = co_await start(network_, host_, to, std::move(protocol), std::move(identity));
    co_return std::move(connected).with("connect to {}", to.text());
  }

  Task<Result<std::unique_ptr<Listener>>> listen(const Endpoint& endpoint, std::vector<std::string> protocols,
                                                 std::shared_ptr<const TlsIdentity> identity) override {
    auto accepting = std::make_shared<Accepting>();
    bool is_unix = endpoint.kind == Endpoint::Kind::kUnix;
    if (protocols.empty()) co_return Error(EINVAL).with("listen on {}: no protocols", endpoint.text());
    if (!is_unix && !identity) {
      co_return Error(EINVAL).with("listen on {}: TLS needs an identity", endpoint.text());
    }
    accepting->host = host_;
    accepting->local = endpoint;
    accepting->protocols = std::move(protocols);
    accepting->identity = std::move(identity);
    if (!is_unix && endpoint.port == 0) accepting->local.port = network_->next_port++;
    auto& slot = network_->listeners[listener_key(host_, accepting->local)];
    auto before = slot.lock();
    if (before && !before->closed) co_return Error(EADDRINUSE).with("listen on {}", endpoint.text());
    slot = accepting;
    co_return std::make_unique<SimListener>(network_, std::move(accepting));
  }

 private:
  /// One way, if the path is open or opens in time.
  static Task<Result<void>> travel(Network network, std::string from, std::string to, nanoseconds limit) {
    CO_TRY(co_await network->clock.sleep_for(network->way(network->links[{from, to}])));
    while (network->blocked_since(from, to)) {
      CO_TRY(co_await with_deadline(network->clock, limit, network->path_changed.wait()));
    }
    co_return Result<void>();
  }

  static std::shared_ptr<Accepting> find_listener(SimNetwork::State& network, const std::string& host,
                                                  const Endpoint& to) {
    auto at = network.listeners.find(listener_key(host, to));
    auto accepting = at == network.listeners.end() ? nullptr : at->second.lock();
    bool open = accepting && !accepting->closed && accepting->ready.size() < kBacklog;
    return open ? accepting : nullptr;
  }

  static Task<Result<std::unique_ptr<Stream>>> start(Network network, std::string from, Endpoint to,
                                                     std::string protocol,
                                                     std::shared_ptr<const TlsIdentity> identity) {
    bool is_unix = to.kind == Endpoint::Kind::kUnix;
    bool same_host = is_unix || to.host == "localhost" || to.host == "127.0.0.1" || to.host == "::1";
    std::string host = same_host ? from : to.host;
    nanoseconds limit = network->clock.boot_time() + kConnectLimit;
    CO_TRY(network->count_call("connect", from, host));
    if (!is_unix) {
      CO_TRY(co_await travel(network, from, host, limit));
    }
    auto accepting = find_listener(*network, host, to);
    if (!accepting) co_return Error(is_unix ? ENOENT : ECONNREFUSED);
    auto connection = std::make_shared<Connection>();
    connection->hosts[0] = from;
    connection->hosts[1] = host;
    connection->local = is_unix;
    connection->protocol = is_unix ? accepting->protocols[0] : protocol;
    network->connections.push_back(connection);
    auto client = std::make_unique<SimStream>(network, connection, 0);
    bool welcome = true;
    if (is_unix) {
      connection->peers[0] = connection->peers[1] = {
          .authenticated = true, .common_name = {}, .ca_fingerprint = {}, .uid = 0, .pid = 0, .address = {}};
    } else {
      CO_TRY(welcome, shake_hands(*connection, *accepting, *identity));
    }
    if (welcome) {
      accepting->ready.push_back({connection, std::make_unique<SimStream>(network, connection, 1)});
      accepting->changed.notify_all();
    }
    if (!is_unix) {
      CO_TRY(co_await travel(network, host, from, limit));
    }
    // As in TLS 1.3, the connector learns with its first read that the listener did not want it.
    if (!welcome) connection->reset();
    co_return std::move(client);
  }

  /// False when the listener refuses; an error when the connector does.
  static Result<bool> shake_hands(Connection& connection, const Accepting& accepting,
                                  const TlsIdentity& connector) {
    if (std::ranges::count(accepting.protocols, connection.protocol) == 0) {
      return Error(EPROTO).with("the two sides agree on no protocol (ALPN)");
    }
    TRY(connection.peers[0], judge_identity(*accepting.identity, connector, false));
    auto judged = judge_identity(connector, *accepting.identity, true);
    if (judged) connection.peers[1] = *judged;
    return judged.has_value();
  }

  Network network_;
  std::string host_;
};

}  // namespace

SimNetwork::SimNetwork(SimClock& clock, std::uint64_t seed, Trace* trace)
    : state_(std::make_shared<State>(clock, seed, trace)) {}
SimNetwork::~SimNetwork() = default;

std::unique_ptr<Transport> SimNetwork::transport(const std::string& host) {
  return std::make_unique<SimTransport>(state_, host);
}

void SimNetwork::set_delay(nanoseconds least, nanoseconds most) {
  state_->least_delay = least;
  state_->most_delay = std::max(least, most);
}

void SimNetwork::set_speed(const std::string& a, const std::string& b, std::uint64_t bytes_per_s) {
  state_->links[{a, b}].bytes_per_s = state_->links[{b, a}].bytes_per_s = bytes_per_s;
}

void SimNetwork::set_loss(const std::string& a, const std::string& b, std::uint64_t one_in) {
  state_->links[{a, b}].loss_one_in = state_->links[{b, a}].loss_one_in = one_in;
}

void SimNetwork::block(const std::string& from, const std::string& to) {
  state_->blocked.try_emplace({from, to}, state_->clock.boot_time());
  state_->for_connections([](Connection& connection) { connection.changed.notify_all(); });
}

void SimNetwork::unblock(const std::string& from, const std::string& to) {
  state_->for_connections([&](Connection& connection) { state_->lose_patience(connection); });
  state_->blocked.erase({from, to});
  state_->for_connections([](Connection& connection) { connection.changed.notify_all(); });
  state_->path_changed.notify_all();
}

void SimNetwork::partition(const std::string& a, const std::string& b) {
  block(a, b);
  block(b, a);
}

void SimNetwork::heal(const std::string& a, const std::string& b) {
  unblock(a, b);
  unblock(b, a);
}

void SimNetwork::reset(const std::string& a, const std::string& b) {
  state_->for_connections([&](Connection& connection) {
    const auto& hosts = connection.hosts;
    if ((hosts[0] == a && hosts[1] == b) || (hosts[0] == b && hosts[1] == a)) connection.reset();
  });
}

void SimNetwork::reset_after(const std::string& from, const std::string& to, std::uint64_t bytes) {
  state_->links[{from, to}].reset_after = bytes;
}

bool SimNetwork::reset_pending(const std::string& from, const std::string& to) const {
  auto link = state_->links.find({from, to});
  return link != state_->links.end() && link->second.reset_after != 0;
}

void SimNetwork::lose_blocked(const std::string& from, const std::string& to) {
  reset(from, to);
  unblock(from, to);
}

void SimNetwork::kill_processes(const std::string& host) {
  for (auto& [key, weak] : state_->listeners) {
    auto accepting = weak.lock();
    if (accepting && accepting->host == host) accepting->close();
  }
  state_->for_connections([&](Connection& connection) {
    if (connection.hosts[0] == host || connection.hosts[1] == host) connection.reset();
  });
}

void SimNetwork::fail_nth(std::uint64_t n, int code) {
  state_->fail_at = state_->calls + n;
  state_->fail_code = code;
  state_->fired = false;
}

bool SimNetwork::fault_fired() const {
  return state_->fired;
}

std::uint64_t SimNetwork::calls() const {
  return state_->calls;
}

void SimNetwork::on_call(std::function<void(const std::string&)> listener) {
  state_->on_call = std::move(listener);
}

std::uint64_t SimNetwork::carried_bytes(const std::string& from, const std::string& to) const {
  auto at = state_->carried.find({from, to});
  return at == state_->carried.end() ? 0 : at->second;
}

}  // namespace polder
