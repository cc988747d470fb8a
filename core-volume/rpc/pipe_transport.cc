// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/rpc/pipe_transport.h"

#include <deque>

#include "base/suspend.h"

namespace polder {
namespace {

/// One direction of one connection.
struct Pipe {
  std::string bytes;
  bool reset = false;
  bool ended = false;
  std::shared_ptr<Waiter> reader;

  void wake() {
    if (auto waiter = std::exchange(reader, nullptr)) waiter->wake(0);
  }
};

}  // namespace

struct PipeTransport::State {
  std::map<Endpoint, class PipeListener*> listeners;
  std::set<std::weak_ptr<Pipe>, std::owner_less<>> pipes;
  unsigned calls = 0;
  unsigned fail_at = 0;
  unsigned delivered_percent = 50;
  bool failed = false;
  bool refuse = false;
  bool frozen = false;
  PeerIdentity peer = [] {
    PeerIdentity root;
    root.authenticated = true;
    root.uid = 0;
    return root;
  }();

  bool fails_now() {
    ++calls;
    if (fail_at == 0 || calls != fail_at) return false;
    failed = true;
    return true;
  }
  void wake_all() {
    for (const auto& weak : pipes)
      if (auto pipe = weak.lock()) pipe->wake();
  }
};

namespace {

using State = PipeTransport::State;

class PipeStream : public Stream {
 public:
  PipeStream(std::shared_ptr<State> state, std::shared_ptr<Pipe> in, std::shared_ptr<Pipe> out,
             PeerIdentity peer, std::string protocol)
      : state_(std::move(state)),
        in_(std::move(in)),
        out_(std::move(out)),
        peer_(std::move(peer)),
        protocol_(std::move(protocol)) {}
  ~PipeStream() override { close(); }

  Task<Result<std::size_t>> read_some(Bytes out) override {
    if (state_->fails_now()) break_both();
    auto in = in_;
    while (!closed_ && !in->reset && (in->bytes.empty() || state_->frozen) && !in->ended) {
      const int code =
          co_await suspend([&](std::shared_ptr<Waiter> waiter) { in->reader = std::move(waiter); });
      if (code != 0) co_return Error(code);
    }
    if (closed_ || in->reset) co_return Error(ECONNRESET);
    const auto count = std::min(out.size(), in->bytes.size());
    std::memcpy(out.data(), in->bytes.data(), count);
    in->bytes.erase(0, count);
    co_return count;
  }

  Task<Result<void>> write(std::span<const ConstBytes> pieces) override {
    // A turn of the loop, as a socket's write may take.
    co_await asio::post(co_await asio::this_coro::executor, asio::use_awaitable);
    std::string all;
    for (auto piece : pieces) all += as_text(piece);
    if (state_->fails_now()) {
      out_->bytes += all.substr(0, all.size() * state_->delivered_percent / 100);
      out_->ended = true;
      out_->wake();
      in_->reset = true;
      in_->wake();
      co_return Error(EPIPE);
    }
    if (closed_ || out_->reset || out_->ended) co_return Error(ECONNRESET);
    out_->bytes += all;
    if (!state_->frozen) out_->wake();
    co_return Result<void>();
  }

  void close() override {
    closed_ = true;
    out_->ended = true;
    in_->ended = true;
    in_->wake();
    out_->wake();
  }
  const PeerIdentity& peer() const override { return peer_; }
  const std::string& protocol() const override { return protocol_; }

 private:
  void break_both() {
    in_->reset = out_->reset = true;
    in_->wake();
    out_->wake();
  }

  std::shared_ptr<State> state_;
  std::shared_ptr<Pipe> in_;
  std::shared_ptr<Pipe> out_;
  PeerIdentity peer_;
  std::string protocol_;
  bool closed_ = false;
};

}  // namespace

class PipeListener : public Listener {
 public:
  PipeListener(std::shared_ptr<State> state, Endpoint endpoint)
      : state_(std::move(state)), endpoint_(std::move(endpoint)) {
    state_->listeners[endpoint_] = this;
  }
  ~PipeListener() override { close(); }

  Task<Result<std::unique_ptr<Stream>>> accept() override {
    while (waiting_.empty() && !closed_) {
      const int code =
          co_await suspend([&](std::shared_ptr<Waiter> waiter) { accepter_ = std::move(waiter); });
      if (code != 0) co_return Error(code);
    }
    if (closed_) co_return Error(ECANCELED);
    auto stream = std::move(waiting_.front());
    waiting_.pop_front();
    co_return stream;
  }
  void close() override {
    if (closed_) return;
    closed_ = true;
    state_->listeners.erase(endpoint_);
    wake();
  }
  Endpoint local() const override { return endpoint_; }

  void offer(std::unique_ptr<Stream> stream) {
    waiting_.push_back(std::move(stream));
    wake();
  }

 private:
  void wake() {
    if (auto waiter = std::exchange(accepter_, nullptr)) waiter->wake(0);
  }

  std::shared_ptr<State> state_;
  Endpoint endpoint_;
  std::deque<std::unique_ptr<Stream>> waiting_;
  std::shared_ptr<Waiter> accepter_;
  bool closed_ = false;
};

PipeTransport::PipeTransport() : state_(std::make_shared<State>()) {}
PipeTransport::~PipeTransport() = default;

Task<Result<std::unique_ptr<Stream>>> PipeTransport::connect(const Endpoint& endpoint, std::string protocol,
                                                             std::shared_ptr<const TlsIdentity>) {
  co_await asio::post(co_await asio::this_coro::executor, asio::use_awaitable);
  auto at = state_->listeners.find(endpoint);
  if (state_->fails_now() || state_->refuse || at == state_->listeners.end()) co_return Error(ECONNREFUSED);
  auto there = std::make_shared<Pipe>();
  auto back = std::make_shared<Pipe>();
  state_->pipes.insert(there);
  state_->pipes.insert(back);
  at->second->offer(std::make_unique<PipeStream>(state_, there, back, state_->peer, protocol));
  PeerIdentity server;
  server.authenticated = true;
  co_return std::make_unique<PipeStream>(state_, back, there, server, protocol);
}

Task<Result<std::unique_ptr<Listener>>> PipeTransport::listen(const Endpoint& endpoint,
                                                              std::vector<std::string>,
                                                              std::shared_ptr<const TlsIdentity>) {
  if (state_->listeners.contains(endpoint)) co_return Error(EADDRINUSE);
  co_return std::make_unique<PipeListener>(state_, endpoint);
}

void PipeTransport::fail_call(unsigned n, unsigned delivered_percent) {
  state_->delivered_percent = delivered_percent;
  state_->calls = 0;
  state_->fail_at = n;
  state_->failed = false;
}
bool PipeTransport::failed() const {
  return state_->failed;
}
unsigned PipeTransport::calls() const {
  return state_->calls;
}
void PipeTransport::break_all() {
  for (const auto& weak : state_->pipes)
    if (auto pipe = weak.lock()) pipe->reset = true;
  state_->wake_all();
}
void PipeTransport::refuse_connections(bool refuse) {
  state_->refuse = refuse;
}
void PipeTransport::freeze(bool frozen) {
  state_->frozen = frozen;
  state_->wake_all();
}
void PipeTransport::set_peer(PeerIdentity peer) {
  state_->peer = std::move(peer);
}

}  // namespace polder
