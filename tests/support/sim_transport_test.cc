// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/support/sim_transport.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <algorithm>
#include <set>

#include "base/concurrency.h"
#include "base/random.h"
#include "tests/support/loop.h"
#include "tests/support/test_ca.h"

namespace polder {
namespace {

using namespace std::chrono_literals;
using StreamPointer = std::unique_ptr<Stream>;

Task<Result<void>> send(Stream& stream, std::string text) {
  ConstBytes piece = as_bytes(text);
  co_return co_await stream.write({&piece, 1});
}
/// Until `size` bytes or the end.
Task<Result<std::string>> receive(Stream& stream, std::size_t size) {
  std::string out;
  while (out.size() < size) {
    std::byte block[4096];
    auto room = std::span(block).first(std::min(size - out.size(), sizeof block));
    CO_TRY(auto count, co_await stream.read_some(room));
    if (count == 0) break;
    out += as_text(std::span(block).first(count));
  }
  co_return out;
}

class SimTransportTest : public testing::Test {
 protected:
  struct Ends {
    StreamPointer client;
    StreamPointer server;
  };

  std::shared_ptr<const TlsIdentity> identity(const std::string& name) {
    return std::make_shared<const TlsIdentity>(ca_.issue(name));
  }
  Ends connected() {
    if (!listener_)
      listener_ = loop_.run_until_done(b_->listen(at_b_, {"polder-rpc/1"}, identity("node:b"))).value();
    Ends ends;
    ends.client = loop_.run_until_done(a_->connect(at_b_, "polder-rpc/1", identity("client:a"))).value();
    ends.server = loop_.run_until_done(listener_->accept()).value();
    return ends;
  }

  SimLoop loop_;
  SimNetwork network_{loop_.clock(), 1};
  TestCa ca_{"CA"};
  std::unique_ptr<Transport> a_ = network_.transport("a");
  std::unique_ptr<Transport> b_ = network_.transport("b");
  Endpoint at_b_{Endpoint::Kind::kTls, "b", 24117};
  std::unique_ptr<Listener> listener_;
};

TEST_F(SimTransportTest, BytesInOrderAfterTheDelay) {
  auto [client, server] = connected();
  EXPECT_EQ(server->peer().common_name, "client:a");
  EXPECT_EQ(server->peer().ca_fingerprint, ca_.fingerprint());
  EXPECT_EQ(client->peer().common_name, "node:b");
  network_.set_delay(10ms, 10ms);
  auto start = loop_.clock().boot_time();
  ASSERT_TRUE(loop_.run_until_done(send(*client, "hello ")));
  ASSERT_TRUE(loop_.run_until_done(send(*client, "world")));
  EXPECT_EQ(loop_.clock().boot_time(), start);
  EXPECT_EQ(loop_.run_until_done(receive(*server, 11)).value(), "hello world");
  EXPECT_EQ(loop_.clock().boot_time(), start + 10ms);
  EXPECT_EQ(network_.carried_bytes("a", "b"), 11U);
  EXPECT_EQ(network_.carried_bytes("b", "a"), 0U);
}

Task<void> send_note(Stream& stream, std::string text, Result<void>& outcome) {
  outcome = co_await send(stream, std::move(text));
}

TEST_F(SimTransportTest, AWriterWaitsForTheReader) {
  auto [client, server] = connected();
  std::string text(1 << 20, '\0');
  auto random = make_seeded_random(2);
  random->fill({reinterpret_cast<std::uint8_t*>(text.data()), text.size()});
  TaskGroup group("writer");
  Result<void> outcome;
  group.spawn(loop_.executor(), send_note(*client, text, outcome));
  loop_.run_for(1min);
  EXPECT_EQ(group.size(), 1U);
  EXPECT_TRUE(loop_.run_until_done(receive(*server, text.size())).value() == text);
  loop_.run_until_done(group.wait_idle());
  EXPECT_TRUE(outcome);
}

TEST_F(SimTransportTest, TheEndComesAfterTheBytes) {
  auto [client, server] = connected();
  ASSERT_TRUE(loop_.run_until_done(send(*client, "last words")));
  client->close();
  EXPECT_TRUE(loop_.run_until_done(send(*client, "x")).failed_with(ECONNRESET));
  EXPECT_EQ(loop_.run_until_done(receive(*server, 100)).value(), "last words");
  EXPECT_TRUE(loop_.run_until_done(send(*server, "answer")).failed_with(EPIPE));
}

TEST_F(SimTransportTest, AShortPartitionDelaysALongOneBreaks) {
  auto [client, server] = connected();
  network_.block("a", "b");
  ASSERT_TRUE(loop_.run_until_done(send(*client, "late")));
  ASSERT_TRUE(loop_.run_until_done(send(*server, "back")));
  EXPECT_EQ(loop_.run_until_done(receive(*client, 4)).value(), "back");  // only one direction is blocked
  loop_.run_for(20s);
  network_.unblock("a", "b");
  auto before = loop_.clock().boot_time();
  EXPECT_EQ(loop_.run_until_done(receive(*server, 4)).value(), "late");
  EXPECT_EQ(loop_.clock().boot_time(), before);
  network_.partition("a", "b");
  auto cut = loop_.clock().boot_time();
  EXPECT_TRUE(loop_.run_until_done(receive(*server, 4)).failed_with(ECONNRESET));
  EXPECT_EQ(loop_.clock().boot_time(), cut + SimNetwork::kPatience);
  network_.heal("a", "b");
  EXPECT_TRUE(loop_.run_until_done(send(*client, "x")).failed_with(ECONNRESET));
  EXPECT_TRUE(connected().server);
}

TEST_F(SimTransportTest, NobodyConnectsThroughAPartition) {
  auto ends = connected();
  network_.block("b", "a");
  auto blocked = loop_.run_until_done(a_->connect(at_b_, "polder-rpc/1", identity("client:a")));
  EXPECT_TRUE(blocked.failed_with(ETIMEDOUT)) << blocked.error().message();
  network_.unblock("b", "a");
  auto nowhere = loop_.run_until_done(a_->connect({Endpoint::Kind::kTls, "c", 1}, "p", identity("client:a")));
  EXPECT_TRUE(nowhere.failed_with(ECONNREFUSED));
}

TEST_F(SimTransportTest, ResetAndKilledProcesses) {
  auto first = connected();
  ASSERT_TRUE(loop_.run_until_done(send(*first.client, "lost")));
  network_.reset("b", "a");
  EXPECT_TRUE(loop_.run_until_done(receive(*first.server, 4)).failed_with(ECONNRESET));
  EXPECT_TRUE(loop_.run_until_done(receive(*first.client, 4)).failed_with(ECONNRESET));
  auto second = connected();
  network_.kill_processes("b");
  EXPECT_TRUE(loop_.run_until_done(receive(*second.client, 4)).failed_with(ECONNRESET));
  EXPECT_TRUE(loop_.run_until_done(listener_->accept()).failed_with(ECANCELED));
  EXPECT_TRUE(loop_.run_until_done(a_->connect(at_b_, "polder-rpc/1", identity("client:a")))
                  .failed_with(ECONNREFUSED));
  listener_.reset();
  EXPECT_TRUE(connected().server);  // started again
}

TEST_F(SimTransportTest, ASlowLinkCarriesOneAfterTheOther) {
  auto first = connected(), second = connected();
  network_.set_delay(1ms, 1ms);
  network_.set_speed("a", "b", 10'000);
  const auto start = loop_.clock().boot_time();
  ASSERT_TRUE(loop_.run_until_done(send(*first.client, std::string(20'000, 'x'))));
  ASSERT_TRUE(loop_.run_until_done(send(*second.client, "after the others' bytes")));
  ASSERT_TRUE(loop_.run_until_done(send(*second.server, "the other direction is free")));
  EXPECT_EQ(loop_.run_until_done(receive(*second.client, 27)).value(), "the other direction is free");
  EXPECT_LT(loop_.clock().boot_time(), start + 10ms);
  EXPECT_EQ(loop_.run_until_done(receive(*first.server, 4'000))->size(), 4'000U);
  EXPECT_LT(loop_.clock().boot_time(), start + 1s) << "its bytes come bit by bit";
  EXPECT_EQ(loop_.run_until_done(receive(*second.server, 23)).value(), "after the others' bytes");
  EXPECT_GE(loop_.clock().boot_time(), start + 2s);
  network_.set_speed("a", "b", 0);
  const auto fast = loop_.clock().boot_time();
  ASSERT_TRUE(loop_.run_until_done(send(*second.client, std::string(100'000, 'x'))));
  EXPECT_EQ(loop_.run_until_done(receive(*second.server, 100'000))->size(), 100'000U);
  EXPECT_EQ(loop_.clock().boot_time(), fast + 1ms);
}

TEST_F(SimTransportTest, ALostPieceHoldsUpWhatFollows) {
  auto [client, server] = connected();
  network_.set_delay(1ms, 1ms);
  network_.set_loss("a", "b", 4);
  std::string sent, received;
  int late = 0;
  for (int i = 0; i < 50; ++i) {
    const auto start = loop_.clock().boot_time();
    ASSERT_TRUE(loop_.run_until_done(send(*client, "first ")));
    ASSERT_TRUE(loop_.run_until_done(send(*client, "second ")));
    sent += "first second ";
    received += loop_.run_until_done(receive(*server, 13)).value();
    const auto took = loop_.clock().boot_time() - start;
    EXPECT_TRUE(took == 1ms || took >= 1ms + SimNetwork::kResend);
    late += took > 1ms;
  }
  EXPECT_EQ(received, sent);
  EXPECT_GT(late, 5);
  EXPECT_LT(late, 45);
}

TEST_F(SimTransportTest, ConnectionsOvertakeOneAnother) {
  auto first = connected(), second = connected();
  network_.set_delay(1ms, 100ms);
  int overtaken = 0;
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(loop_.run_until_done(send(*first.client, "1")));
    ASSERT_TRUE(loop_.run_until_done(send(*second.client, "2")));
    EXPECT_EQ(loop_.run_until_done(receive(*second.server, 1)).value(), "2");
    const auto came = loop_.clock().boot_time();
    EXPECT_EQ(loop_.run_until_done(receive(*first.server, 1)).value(), "1");
    overtaken += loop_.clock().boot_time() > came;
  }
  EXPECT_GT(overtaken, 10);
  EXPECT_LT(overtaken, 40);
}

TEST_F(SimTransportTest, AResetAfterAByteComesInTheMiddle) {
  auto other = connected();
  auto [client, server] = connected();
  network_.reset_after("a", "b", 3);
  ASSERT_TRUE(loop_.run_until_done(send(*server, "not of this direction")));
  EXPECT_EQ(loop_.run_until_done(receive(*client, 21))->size(), 21U);
  EXPECT_TRUE(network_.reset_pending("a", "b"));
  ASSERT_TRUE(loop_.run_until_done(send(*client, "frame")));
  EXPECT_EQ(loop_.run_until_done(receive(*server, 3)).value(), "fra");
  EXPECT_FALSE(network_.reset_pending("a", "b"));
  EXPECT_TRUE(loop_.run_until_done(receive(*server, 2)).failed_with(ECONNRESET));
  EXPECT_TRUE(loop_.run_until_done(send(*client, "x")).failed_with(ECONNRESET));
  ASSERT_TRUE(loop_.run_until_done(send(*other.client, "others go on")));
  EXPECT_EQ(loop_.run_until_done(receive(*other.server, 12)).value(), "others go on");
}

TEST_F(SimTransportTest, WhatWasBlockedCanBeLost) {
  auto [client, server] = connected();
  network_.block("b", "a");
  ASSERT_TRUE(loop_.run_until_done(send(*client, "request")));
  EXPECT_EQ(loop_.run_until_done(receive(*server, 7)).value(), "request");
  ASSERT_TRUE(loop_.run_until_done(send(*server, "reply")));
  network_.lose_blocked("b", "a");
  EXPECT_TRUE(loop_.run_until_done(receive(*client, 5)).failed_with(ECONNRESET));
  auto again = connected();
  ASSERT_TRUE(loop_.run_until_done(send(*again.server, "reply")));
  EXPECT_EQ(loop_.run_until_done(receive(*again.client, 5)).value(), "reply");
}

TEST_F(SimTransportTest, CertificatesAreJudgedAsInAHandshake) {
  auto ends = connected();
  TestCa west("west CA");
  auto stranger = west.issue("client:w");
  auto refused =
      loop_.run_until_done(a_->connect(at_b_, "polder-rpc/1", std::make_shared<const TlsIdentity>(stranger)));
  EXPECT_TRUE(refused.failed_with(EACCES));
  stranger.accept_strangers = true;
  auto thrown_out =
      loop_.run_until_done(a_->connect(at_b_, "polder-rpc/1", std::make_shared<const TlsIdentity>(stranger)));
  ASSERT_TRUE(thrown_out);
  EXPECT_TRUE(loop_.run_until_done(receive(**thrown_out, 1)).failed_with(ECONNRESET));
  TlsIdentity pinned;
  pinned.accept_strangers = true;
  pinned.expected_ca_fingerprint = west.fingerprint();
  auto other_ca =
      loop_.run_until_done(a_->connect(at_b_, "polder-rpc/1", std::make_shared<const TlsIdentity>(pinned)));
  EXPECT_TRUE(other_ca.failed_with(EACCES));
  auto other_protocol = loop_.run_until_done(a_->connect(at_b_, "http/1.1", identity("client:a")));
  EXPECT_TRUE(other_protocol.failed_with(EPROTO));
}

TEST_F(SimTransportTest, UnixSocketsStayOnTheirHost) {
  auto at = Endpoint::unix_socket("/run/admin.sock");
  auto listener = loop_.run_until_done(b_->listen(at, {"http/1.1"}, nullptr)).value();
  EXPECT_TRUE(loop_.run_until_done(b_->listen(at, {"http/1.1"}, nullptr)).failed_with(EADDRINUSE));
  EXPECT_FALSE(loop_.run_until_done(a_->connect(at, "http/1.1", nullptr)));
  auto start = loop_.clock().boot_time();
  auto client = loop_.run_until_done(b_->connect(at, "http/1.1", nullptr)).value();
  auto server = loop_.run_until_done(listener->accept()).value();
  EXPECT_EQ(server->peer().uid, 0U);
  ASSERT_TRUE(loop_.run_until_done(send(*client, "x")));
  EXPECT_EQ(loop_.run_until_done(receive(*server, 1)).value(), "x");
  EXPECT_EQ(loop_.clock().boot_time(), start);
}

/// A whole conversation; its trace must be a function of the seed.
std::vector<std::string> trace_of(std::uint64_t seed) {
  SimLoop loop;
  SimNetwork network(loop.clock(), seed);
  network.set_delay(1us, 1s);
  auto transport = network.transport("a");
  auto at = Endpoint{Endpoint::Kind::kTls, "a", 7};
  TlsIdentity any;
  any.accept_strangers = true;
  auto identity = std::make_shared<const TlsIdentity>(any);
  auto listener = loop.run_until_done(transport->listen(at, {"p"}, identity)).value();
  auto client = loop.run_until_done(transport->connect(at, "p", identity)).value();
  auto server = loop.run_until_done(listener->accept()).value();
  std::vector<std::string> trace;
  for (int i = 0; i < 20; ++i) {
    (void)loop.run_until_done(send(*client, std::string(static_cast<std::size_t>(i + 1), 'x')));
    std::byte block[64];
    auto count = loop.run_until_done(server->read_some(block));
    trace.push_back(fmt::format("{} {}", loop.clock().boot_time().count(), count.value()));
  }
  return trace;
}

TEST(SimTransport, TheSeedDecidesEverything) {
  EXPECT_EQ(trace_of(3), trace_of(3));
  EXPECT_NE(trace_of(3), trace_of(4));
}

/// What a connection made of it: who connects says "ping" and is answered "pong".
Task<Result<std::string>> ask(Transport& transport, Endpoint at,
                              std::shared_ptr<const TlsIdentity> identity) {
  CO_TRY(auto stream, co_await transport.connect(at, "polder-rpc/1", std::move(identity)));
  CO_TRY(co_await send(*stream, "ping"));
  co_return co_await receive(*stream, 4);
}

Task<void> answer(Listener& listener, std::vector<int>& errors) {
  for (;;) {
    auto stream = co_await listener.accept();
    if (!stream) co_return;
    auto asked = co_await receive(**stream, 4);
    auto answered = asked ? co_await send(**stream, "pong") : Result<void>(asked.error());
    if (!answered) errors.push_back(answered.error().code());
  }
}

TEST_F(SimTransportTest, EachCallFailsOnceAndBreaksItsConnection) {
  auto listener = loop_.run_until_done(b_->listen(at_b_, {"polder-rpc/1"}, identity("node:b"))).value();
  std::vector<int> errors;
  TaskGroup group("server");
  group.spawn(loop_.executor(), answer(*listener, errors));
  auto client = identity("client:a");
  std::vector<std::string> calls;
  network_.on_call([&](const std::string& call) { calls.push_back(call.substr(0, call.find(' '))); });
  std::set<std::string> failed_calls;
  for (std::uint64_t n = 1;; ++n) {
    calls.clear();
    errors.clear();
    network_.fail_nth(n, ETIMEDOUT);
    const auto answer = loop_.run_until_done(ask(*a_, at_b_, client));
    loop_.run_for(1s);
    if (!network_.fault_fired()) {
      EXPECT_EQ(answer.value(), "pong");
      break;
    }
    ASSERT_EQ(calls.size(), n) << "nothing goes on after it";
    failed_calls.insert(calls.back());
    const bool at_client = calls.back() == "connect" || answer.failed_with(ETIMEDOUT);
    EXPECT_TRUE(at_client || answer.failed_with(ECONNRESET)) << calls.back();
    if (!at_client && calls.back() != "accept") EXPECT_EQ(errors, std::vector{ETIMEDOUT}) << calls.back();
  }
  EXPECT_EQ(failed_calls, (std::set<std::string>{"accept", "connect", "read", "write"}));
  listener->close();
  loop_.run_until_done(group.stop());
}

}  // namespace
}  // namespace polder
