// SPDX-License-Identifier: GPL-3.0-or-later
// The socket transport on the real kernel: unix sockets and TLS on the loopback, good peers and hostile ones.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/concurrency.h"
#include "base/random.h"
#include "base/transport.h"
#include "tests/support/loop.h"
#include "tests/support/test_ca.h"

namespace polder {
namespace {

using StreamPointer = std::unique_ptr<Stream>;
using testing::HasSubstr;

std::shared_ptr<const TlsIdentity> shared(TlsIdentity identity) {
  return std::make_shared<const TlsIdentity>(std::move(identity));
}

/// Both ends of a connection.
struct Pair {
  Result<StreamPointer> client = Error(ENOTCONN);
  Result<StreamPointer> server = Error(ENOTCONN);
};

Task<Result<void>> accept_into(Listener& listener, Pair& pair) {
  pair.server = co_await listener.accept();
  co_return Result<void>();
}

class SocketTransportTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = "/tmp/polder-transport-test.XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  Endpoint unix_endpoint() const { return Endpoint::unix_socket(folder_ + "/data.sock"); }
  static Endpoint any_port() { return {Endpoint::Kind::kTls, "127.0.0.1", 0}; }

  Result<std::unique_ptr<Listener>> listen(const Endpoint& at,
                                           std::shared_ptr<const TlsIdentity> identity = {}) {
    return loop_.run_until_done(transport_->listen(at, {"polder-rpc/1", "http/1.1"}, std::move(identity)));
  }
  Result<StreamPointer> connect(const Endpoint& to, std::shared_ptr<const TlsIdentity> identity = {},
                                std::string protocol = "polder-rpc/1") {
    return loop_.run_until_done(transport_->connect(to, std::move(protocol), std::move(identity)));
  }
  /// Waits for the accepted end only when the connector got through.
  Pair pair(Listener& listener, std::shared_ptr<const TlsIdentity> identity = {}) {
    Pair made;
    made.client = connect(listener.local(), std::move(identity));
    if (made.client) (void)loop_.run_until_done(accept_into(listener, made));
    return made;
  }

  RealLoop loop_;
  std::unique_ptr<Transport> transport_ = make_socket_transport();
  TestCa ca_{"east CA"};
  std::shared_ptr<const TlsIdentity> node_ = shared(ca_.issue("node:alpha"));
  std::shared_ptr<const TlsIdentity> client_ = shared(ca_.issue("client:beta"));
  std::string folder_;
};

Task<Result<void>> send(Stream& stream, const std::vector<std::string>& pieces) {
  std::vector<ConstBytes> views;
  for (const auto& piece : pieces) views.push_back(as_bytes(piece));
  co_return co_await stream.write(views);
}
Task<Result<void>> receive(Stream& stream, std::size_t size, std::string& out) {
  while (out.size() < size) {
    char block[70000];
    CO_TRY(auto count, co_await stream.read_some(std::as_writable_bytes(std::span(block))));
    if (count == 0) co_return Error(EPIPE).with("end after {} bytes", out.size());
    out.append(block, count);
  }
  co_return Result<void>();
}
Task<std::vector<Result<void>>> both(Task<Result<void>> a, Task<Result<void>> b) {
  std::vector<Task<Result<void>>> tasks;
  tasks.push_back(std::move(a));
  tasks.push_back(std::move(b));
  co_return co_await fan_out(std::move(tasks));
}
Task<Result<std::size_t>> read_one(Stream& stream) {
  std::byte byte;
  co_return co_await stream.read_some(std::span(&byte, 1));
}

/// More than any socket buffer, in pieces around every border that matters.
std::vector<std::string> awkward_pieces() {
  auto random = make_seeded_random(5);
  std::vector<std::string> pieces = {"", "x"};
  for (std::size_t size : {16383UL, 1UL, 16384UL, 16385UL, 0UL, 3UL << 20, 40UL, 65536UL, 7UL}) {
    pieces.emplace_back(size, '\0');
    random->fill({reinterpret_cast<std::uint8_t*>(pieces.back().data()), size});
  }
  for (int i = 0; i < 700; ++i) pieces.emplace_back(i % 90, static_cast<char>(i));
  return pieces;
}

void expect_transfer(RealLoop& loop, Stream& from, Stream& to) {
  auto pieces = awkward_pieces();
  std::string expected;
  for (const auto& piece : pieces) expected += piece;
  std::string got;
  auto outcomes = loop.run_until_done(both(send(from, pieces), receive(to, expected.size(), got)));
  for (auto& outcome : outcomes) ASSERT_TRUE(outcome) << outcome.error().message();
  EXPECT_TRUE(got == expected);
}

TEST_F(SocketTransportTest, TlsCarriesBytesAndIdentities) {
  auto listener = listen(any_port(), node_);
  ASSERT_TRUE(listener) << listener.error().message();
  EXPECT_NE((*listener)->local().port, 0);
  auto [client, server] = pair(**listener, client_);
  ASSERT_TRUE(client) << client.error().message();
  ASSERT_TRUE(server) << server.error().message();
  EXPECT_TRUE((*server)->peer().authenticated);
  EXPECT_EQ((*server)->peer().common_name, "client:beta");
  EXPECT_EQ((*server)->peer().ca_fingerprint, ca_.fingerprint());
  EXPECT_EQ((*client)->peer().common_name, "node:alpha");
  EXPECT_EQ((*client)->peer().ca_fingerprint, ca_.fingerprint());
  EXPECT_EQ((*client)->protocol(), "polder-rpc/1");
  EXPECT_EQ((*server)->protocol(), "polder-rpc/1");
  expect_transfer(loop_, **client, **server);
  expect_transfer(loop_, **server, **client);
}

TEST_F(SocketTransportTest, UnixSocketCarriesBytesAndUid) {
  auto listener = listen(unix_endpoint());
  ASSERT_TRUE(listener) << listener.error().message();
  struct stat file{};
  ASSERT_EQ(::stat(unix_endpoint().host.c_str(), &file), 0);
  EXPECT_EQ(file.st_mode & 07777, 0600U);
  auto [client, server] = pair(**listener);
  ASSERT_TRUE(client && server);
  EXPECT_TRUE((*server)->peer().authenticated);
  EXPECT_EQ((*server)->peer().uid, ::getuid());
  EXPECT_EQ((*client)->peer().uid, ::getuid());
  EXPECT_EQ((*server)->protocol(), "polder-rpc/1");
  expect_transfer(loop_, **client, **server);
  expect_transfer(loop_, **server, **client);
}

TEST_F(SocketTransportTest, BothDirectionsAtOnce) {
  auto listener = listen(any_port(), node_).value();
  auto [client, server] = pair(*listener, client_);
  ASSERT_TRUE(client && server);
  auto pieces = awkward_pieces();
  std::size_t size = 0;
  for (const auto& piece : pieces) size += piece.size();
  std::string forth;
  std::string back;
  std::vector<Task<Result<void>>> tasks;
  tasks.push_back(send(**client, pieces));
  tasks.push_back(send(**server, pieces));
  tasks.push_back(receive(**server, size, forth));
  tasks.push_back(receive(**client, size, back));
  for (auto& outcome : loop_.run_until_done(fan_out(std::move(tasks)))) {
    EXPECT_TRUE(outcome) << outcome.error().message();
  }
  EXPECT_TRUE(forth == back);
}

TEST_F(SocketTransportTest, AProtocolThatNobodySpeaksIsRefused) {
  auto listener = listen(any_port(), node_).value();
  auto http = connect(listener->local(), client_, "http/1.1");
  ASSERT_TRUE(http) << http.error().message();
  EXPECT_EQ((*http)->protocol(), "http/1.1");
  auto other = connect(listener->local(), client_, "polder-georep/1");
  ASSERT_TRUE(other.failed_with(EPROTO)) << other.error().message();
  EXPECT_THAT(other.error().message(), HasSubstr(listener->local().text()));
}

TEST_F(SocketTransportTest, ForeignCertificatesAreRefusedByEitherSide) {
  TestCa west("west CA");
  auto listener = listen(any_port(), node_).value();
  auto suspicious = connect(listener->local(), shared(west.issue("client:beta")));
  ASSERT_TRUE(suspicious.failed_with(EACCES)) << suspicious.error().message();
  EXPECT_THAT(suspicious.error().message(), HasSubstr("certificate"));
  // A stranger who does not mind whom he talks to is thrown out by the listener.
  for (auto stranger :
       {west.issue("node:alpha"), TlsIdentity{}, ca_.issue("client:old", -1), ca_.issue("")}) {
    stranger.accept_strangers = true;
    auto stream = connect(listener->local(), shared(stranger));
    if (stream) EXPECT_TRUE(loop_.run_until_done(read_one(**stream)).failed_with(ECONNRESET));
  }
  auto [client, server] = pair(*listener, client_);
  ASSERT_TRUE(server);
  EXPECT_EQ((*server)->peer().common_name, "client:beta");  // none of the others came through
}

TEST_F(SocketTransportTest, OneOfSeveralTrustedAuthorities) {
  TestCa west("west CA");
  auto both = ca_.issue("node:alpha");
  both.trusted_ca_pem += west.certificate_pem();
  auto visitor = west.issue("georep:s1");
  visitor.trusted_ca_pem = ca_.certificate_pem();
  auto listener = listen(any_port(), shared(both)).value();
  auto [client, server] = pair(*listener, shared(visitor));
  ASSERT_TRUE(client && server);
  EXPECT_EQ((*server)->peer().ca_fingerprint, west.fingerprint());
  EXPECT_EQ((*client)->peer().ca_fingerprint, ca_.fingerprint());
}

TEST_F(SocketTransportTest, StrangersWhereTheListenerAllowsThem) {
  auto open = ca_.issue("node:alpha");
  open.accept_strangers = true;
  auto listener = listen(any_port(), shared(open)).value();
  TlsIdentity nobody;
  nobody.accept_strangers = true;
  nobody.expected_ca_fingerprint = ca_.fingerprint();
  auto [client, server] = pair(*listener, shared(nobody));
  ASSERT_TRUE(client) << client.error().message();
  ASSERT_TRUE(server);
  EXPECT_FALSE((*server)->peer().authenticated);
  EXPECT_EQ((*server)->peer().common_name, "");
  EXPECT_TRUE((*client)->peer().authenticated);  // by the fingerprint alone, as a token has it
  EXPECT_EQ((*client)->peer().common_name, "node:alpha");
  auto foreign = pair(*listener, shared([] {
    auto identity = TestCa("west CA").issue("client:beta");
    identity.accept_strangers = true;
    return identity;
  }()));
  ASSERT_TRUE(foreign.server);
  EXPECT_FALSE((*foreign.server)->peer().authenticated);
  auto known = pair(*listener, client_);
  ASSERT_TRUE(known.server);
  EXPECT_TRUE((*known.server)->peer().authenticated);
}

TEST_F(SocketTransportTest, AnotherAuthorityThanTheTokenNames) {
  TestCa west("west CA");
  auto open = west.issue("node:alpha");
  open.accept_strangers = true;
  open.certificate_pem += ca_.certificate_pem();  // sends the expected CA along, but is not certified by it
  auto listener = listen(any_port(), shared(open)).value();
  TlsIdentity nobody;
  nobody.accept_strangers = true;
  nobody.expected_ca_fingerprint = ca_.fingerprint();
  auto deceived = connect(listener->local(), shared(nobody));
  ASSERT_TRUE(deceived.failed_with(EACCES));
  EXPECT_THAT(deceived.error().message(), HasSubstr(ca_.fingerprint()));
  auto strict = west.issue("client:x");
  strict.expected_ca_fingerprint = ca_.fingerprint();
  EXPECT_TRUE(connect(listener->local(), shared(strict)).failed_with(EACCES));
}

TEST_F(SocketTransportTest, BrokenIdentitiesAreNamed) {
  auto no_key = ca_.issue("node:alpha");
  no_key.key_pem = "nonsense";
  EXPECT_THAT(listen(any_port(), shared(no_key)).error().message(), HasSubstr("no private key"));
  auto wrong_key = ca_.issue("node:alpha");
  wrong_key.key_pem = ca_.issue("node:beta").key_pem;
  EXPECT_THAT(listen(any_port(), shared(wrong_key)).error().message(), HasSubstr("do not match"));
  auto no_ca = ca_.issue("node:alpha");
  no_ca.trusted_ca_pem.clear();
  EXPECT_THAT(connect(any_port(), shared(no_ca)).error().message(), HasSubstr("trusted_ca_pem"));
  EXPECT_TRUE(listen(any_port(), shared({})).failed_with(EINVAL));
  EXPECT_TRUE(listen(any_port()).failed_with(EINVAL));
}

int raw_connect(const Endpoint& to) {
  int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(to.port);
  ::inet_pton(AF_INET, to.host.c_str(), &address.sin_addr);
  EXPECT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  return fd;
}

TEST_F(SocketTransportTest, SilentAndTalkativeStrangersBlockNobody) {
  auto listener = listen(any_port(), node_).value();
  std::vector<int> silent;
  for (int i = 0; i < 40; ++i) silent.push_back(raw_connect(listener->local()));
  int talkative = raw_connect(listener->local());
  std::string nonsense = "GET / HTTP/1.0\r\n\r\n" + std::string(5000, 'x');
  EXPECT_GT(::send(talkative, nonsense.data(), nonsense.size(), MSG_NOSIGNAL), 0);
  auto [client, server] = pair(*listener, client_);
  ASSERT_TRUE(client && server);
  expect_transfer(loop_, **client, **server);
  for (int fd : silent) ::close(fd);
  ::close(talkative);
}

TEST_F(SocketTransportTest, AUnixSocketHasOneOwner) {
  auto listener = listen(unix_endpoint()).value();
  auto second = listen(unix_endpoint());
  ASSERT_TRUE(second.failed_with(EADDRINUSE));
  EXPECT_THAT(second.error().message(), HasSubstr("another process listens"));
  listener.reset();
  EXPECT_FALSE(std::filesystem::exists(unix_endpoint().host));
  // A daemon that was killed leaves its file behind.
  int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  unix_endpoint().host.copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ::close(fd);
  EXPECT_TRUE(connect(unix_endpoint()).failed_with(ECONNREFUSED));
  auto replaced = listen(unix_endpoint());
  ASSERT_TRUE(replaced) << replaced.error().message();
  EXPECT_TRUE(connect(unix_endpoint()));
}

TEST_F(SocketTransportTest, UnixPathsThatCannotBe) {
  std::ofstream(folder_ + "/data.sock") << "precious";
  EXPECT_TRUE(listen(unix_endpoint()).failed_with(EADDRINUSE));
  EXPECT_TRUE(std::filesystem::exists(folder_ + "/data.sock"));
  auto long_path = listen(Endpoint::unix_socket("/tmp/" + std::string(110, 'x')));
  ASSERT_TRUE(long_path.failed_with(ENAMETOOLONG));
  EXPECT_THAT(long_path.error().message(), HasSubstr("115 bytes, Linux allows 107"));
  EXPECT_TRUE(connect(Endpoint::unix_socket(folder_ + "/absent")).failed_with(ENOENT));
}

TEST_F(SocketTransportTest, NamesWithSeveralAddressesAreTriedInTurn) {
  auto listener = listen(any_port(), node_).value();
  auto by_name = connect({Endpoint::Kind::kTls, "localhost", listener->local().port}, client_);
  EXPECT_TRUE(by_name) << by_name.error().message();
  Endpoint gone = listener->local();
  listener->close();
  auto refused = connect(gone, client_);
  ASSERT_TRUE(refused.failed_with(ECONNREFUSED)) << refused.error().message();
  EXPECT_THAT(refused.error().message(), HasSubstr(gone.text()));
  EXPECT_FALSE(refused.error().maybe_applied());
}

Task<Result<void>> close_both(Stream& stream, Listener& listener) {
  stream.close();
  stream.close();
  listener.close();
  co_return Result<void>();
}
Task<Result<void>> read_note(Stream& stream, int& code) {
  auto count = co_await read_one(stream);
  code = count ? static_cast<int>(*count) : count.error().code();
  co_return Result<void>();
}
Task<Result<void>> accept_note(Listener& listener, int& code) {
  auto stream = co_await listener.accept();
  code = stream ? 0 : stream.error().code();
  co_return Result<void>();
}

TEST_F(SocketTransportTest, CloseEndsWhatWaits) {
  for (bool tls : {false, true}) {
    auto listener = listen(tls ? any_port() : unix_endpoint(), tls ? node_ : nullptr).value();
    auto [client, server] = pair(*listener, tls ? client_ : nullptr);
    ASSERT_TRUE(client && server);
    int read_code = -1;
    int accept_code = -1;
    std::vector<Task<Result<void>>> tasks;
    tasks.push_back(read_note(**client, read_code));
    tasks.push_back(accept_note(*listener, accept_code));
    tasks.push_back(close_both(**client, *listener));
    loop_.run_until_done(fan_out(std::move(tasks)));
    EXPECT_EQ(read_code, ECONNRESET);
    EXPECT_EQ(accept_code, ECANCELED);
    EXPECT_EQ(loop_.run_until_done(read_one(**server)).value(), 0U);  // a deliberate end, also under TLS
    EXPECT_TRUE(loop_.run_until_done(send(**client, {"x"})).failed_with(ECONNRESET));
  }
}

Task<void> read_for_ever(Stream& stream, int& code) {
  auto count = co_await read_one(stream);
  code = count ? 0 : count.error().code();
}
Task<void> write_for_ever(Stream& stream, int& code) {
  std::vector<std::string> pieces = {std::string(1 << 20, 'x')};
  Result<void> written;
  while (written) written = co_await send(stream, pieces);
  code = written.error().code();
}
Task<void> stop_after_a_while(TaskGroup& group, Clock& clock) {
  (void)co_await clock.sleep_for(std::chrono::milliseconds(50));
  co_await group.stop();
}

TEST_F(SocketTransportTest, CancellationEndsReadsAndWrites) {
  auto clock = make_system_clock();
  for (bool tls : {false, true}) {
    auto listener = listen(tls ? any_port() : unix_endpoint(), tls ? node_ : nullptr).value();
    auto [client, server] = pair(*listener, tls ? client_ : nullptr);
    ASSERT_TRUE(client && server);
    TaskGroup group("test");
    int read_code = -1;
    int write_code = -1;
    int accept_code = -1;
    group.spawn(loop_.executor(), read_for_ever(**client, read_code));
    group.spawn(loop_.executor(), write_for_ever(**client, write_code));  // nobody reads: it fills up
    auto accept = [](Listener& at, int& code) -> Task<void> { (void)co_await accept_note(at, code); };
    group.spawn(loop_.executor(), accept(*listener, accept_code));
    loop_.run_until_done(stop_after_a_while(group, *clock));
    EXPECT_EQ(read_code == ECANCELED || read_code == ECONNRESET, true) << read_code;
    EXPECT_EQ(write_code, ECANCELED);
    EXPECT_EQ(accept_code, ECANCELED);
  }
}

}  // namespace
}  // namespace polder
