// SPDX-License-Identifier: GPL-3.0-or-later
// The API over real sockets: plain answers, lines, hostile bytes, and joining over TLS.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>

#include "base/clock.h"
#include "base/disk.h"
#include "base/hlc.h"
#include "base/on_worker.h"
#include "base/random.h"
#include "base/seams.h"
#include "base/workers.h"
#include "core-volume/admin/admin_client.h"
#include "core-volume/admin/admin_server.h"
#include "core-volume/admin/http_text.h"
#include "core-volume/admin/join.h"
#include "core-volume/cluster/sqlite_cluster_store.h"
#include "tests/support/loop.h"

namespace polder {
namespace {

using testing::HasSubstr;

struct AdminHttpTest : testing::Test {
  RealLoop loop;
  std::unique_ptr<Clock> clock = make_system_clock();
  std::unique_ptr<Random> random = make_system_random();
  std::unique_ptr<Disk> disk = make_kernel_disk();
  std::unique_ptr<Workers> workers = make_thread_workers(2);
  std::unique_ptr<Transport> transport = make_socket_transport();
  HlcClock hlc{*clock};
  Seams seams{*clock, *random, *disk, *transport, *workers, hlc};
  std::string folder = [] {
    std::string pattern = "/var/tmp/polder-admin-test.XXXXXX";
    return std::string(::mkdtemp(pattern.data()));
  }();
  AdminApi api;
  AdminServer server{*clock, loop.executor(), api};
  TaskGroup tasks{"test"};
  std::unique_ptr<Listener> listener;

  ~AdminHttpTest() override { std::filesystem::remove_all(folder); }

  void TearDown() override {
    if (listener) listener->close();
    loop.run_until_done(tasks.stop());
    loop.run_until_done(server.stop());
  }

  static Task<void> accept_all(Listener& listener, AdminServer& server) {
    for (;;) {
      auto stream = co_await listener.accept();
      if (!stream) co_return;
      server.serve(*std::move(stream));
    }
  }
  void listen(const Endpoint& endpoint, std::shared_ptr<const TlsIdentity> identity = nullptr) {
    auto made = loop.run_until_done(transport->listen(endpoint, {kAdminProtocol}, identity));
    ASSERT_TRUE(made) << made.error().message();
    listener = *std::move(made);
    tasks.spawn(loop.executor(), accept_all(*listener, server));
  }
  Endpoint socket() { return Endpoint::unix_socket(folder + "/admin.sock"); }

  Result<json::value> call(const std::string& method, const std::string& path, json::object body = {},
                           std::function<void(const json::value&)> on_progress = nullptr) {
    AdminClient client(*transport, socket());
    return loop.run_until_done(client.call(method, path, std::move(body), std::move(on_progress)));
  }
  /// The same on a plain TCP connection, which our transport does not make.
  std::string in_the_clear(const std::string& bytes) {
    const auto port = listener->local().port;
    auto talk = [&]() -> std::string {
      int fd = ::socket(AF_INET, SOCK_STREAM, 0);
      sockaddr_in to{};
      to.sin_family = AF_INET;
      to.sin_port = htons(port);
      to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      std::string out;
      if (::connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) return "no connection";
      (void)!::write(fd, bytes.data(), bytes.size());
      char piece[4096];
      for (ssize_t count; (count = ::read(fd, piece, sizeof piece)) > 0;)
        out.append(piece, static_cast<std::size_t>(count));
      ::close(fd);
      return out;
    };
    return loop.run_until_done(on_worker(*workers, talk));
  }
  /// Bytes to the server, bytes back until it closes.
  std::string raw(const std::string& bytes) {
    auto talk = [](Transport& transport, Endpoint to, std::string bytes) -> Task<std::string> {
      auto stream = co_await transport.connect(to, kAdminProtocol, nullptr);
      if (!stream) co_return "no connection";
      if (!co_await write_text(**stream, bytes)) co_return "nothing was sent";
      std::string out;
      std::array<std::byte, 4096> piece;
      for (;;) {
        auto count = co_await (*stream)->read_some(piece);
        if (!count || *count == 0) co_return out;
        out += as_text({piece.data(), *count});
      }
    };
    return loop.run_until_done(talk(*transport, socket(), bytes));
  }
};

TEST_F(AdminHttpTest, TextRoutesHaveTheirOwnFormatAndTheSameDoors) {
  listen(socket());
  api.add_text("/page", [](const AdminRequest&) -> Task<Result<AdminText>> {
    co_return AdminText{"text/plain; version=7", "a page\n"};
  });
  api.add_text("/broken", [](const AdminRequest&) -> Task<Result<AdminText>> {
    co_return Error(EBUSY).with("not now");
  });
  auto answer = raw("GET /page?x=1 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(answer, HasSubstr("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=7\r\n"));
  EXPECT_THAT(answer, testing::EndsWith("\r\n\r\na page\n"));
  answer = raw("GET /broken HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(answer, HasSubstr("Content-Type: application/json"));
  EXPECT_THAT(answer, HasSubstr("not now"));
  EXPECT_TRUE(call("POST", "/page").failed_with(ENOSYS)) << "only GET";
}

TEST_F(AdminHttpTest, StrangersWithoutTlsGetOnlyWhatIsForEverybody) {
  listen({Endpoint::Kind::kClear, "127.0.0.1", 0});
  api.add_text(
      "/open",
      [](const AdminRequest& request) -> Task<Result<AdminText>> {
        co_return AdminText{"text/plain", request.peer.authenticated ? "known" : "a stranger"};
      },
      AdminAccess::kEverybody);
  api.add_text("/closed", [](const AdminRequest&) -> Task<Result<AdminText>> { co_return AdminText{}; });
  api.add("GET", "/v1/closed",
          [](const AdminRequest&) -> Task<Result<json::value>> { co_return json::value(); });
  EXPECT_THAT(in_the_clear("GET /open HTTP/1.0\r\n\r\n"), testing::EndsWith("a stranger"));
  for (const auto* path : {"/closed", "/v1/closed", "/v1/none"}) {
    EXPECT_THAT(in_the_clear(fmt::format("GET {} HTTP/1.0\r\n\r\n", path)), HasSubstr("403")) << path;
  }
}

TEST_F(AdminHttpTest, AnswersAndErrorsReachTheCaller) {
  listen(socket());
  api.add("POST", "/v1/echo", [](const AdminRequest& request) -> Task<Result<json::value>> {
    co_return json::value(request.body);
  });
  api.add("GET", "/v1/refuse", [](const AdminRequest&) -> Task<Result<json::value>> {
    co_return Error(ENOTEMPTY).with("the directory is full of somebody's files");
  });
  json::object body{{"name", "väl\n\"ue"}, {"large", std::string(300'000, 'x')}};
  EXPECT_EQ(call("POST", "/v1/echo", body).value(), json::value(body));
  auto refused = call("GET", "/v1/refuse");
  ASSERT_TRUE(refused.failed_with(ENOTEMPTY));
  EXPECT_THAT(refused.error().message(), HasSubstr("somebody's files"));
  EXPECT_TRUE(call("GET", "/v1/nothing").failed_with(ENOSYS));
}

TEST_F(AdminHttpTest, ProgressComesAsLines) {
  listen(socket());
  api.add("POST", "/v1/work", [](const AdminRequest& request) -> Task<Result<json::value>> {
    for (int i = 0; i < 3; ++i) {
      CO_TRY(co_await request.emit(json::object{{"step", i}}));
    }
    if (request.body.contains("fail")) co_return Error(EBUSY).with("at the last step");
    co_return json::value(3);
  });
  std::vector<std::string> progress;
  auto note = [&](const json::value& line) { progress.push_back(json::text(line)); };
  EXPECT_EQ(call("POST", "/v1/work", {}, note).value(), json::value(3));
  EXPECT_THAT(progress, testing::ElementsAre(R"({"step":0})", R"({"step":1})", R"({"step":2})"));
  auto failed = call("POST", "/v1/work", {{"fail", true}}, note);
  EXPECT_TRUE(failed.failed_with(EBUSY));
  EXPECT_EQ(progress.size(), 6U);
}

TEST_F(AdminHttpTest, HostileBytesAreAnsweredOrDropped) {
  listen(socket());
  EXPECT_THAT(raw("hello\r\n\r\n"), HasSubstr("400"));
  EXPECT_THAT(raw("GET / HTTP/1.1\r\nX: " + std::string(40'000, 'x') + "\r\n\r\n"), HasSubstr("413"));
  EXPECT_THAT(raw("POST /v1/x HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n"), HasSubstr("413"));
  EXPECT_THAT(raw("POST /v1/x HTTP/1.1\r\nContent-Length: 3\r\nConnection: close\r\n\r\n{{{"),
              HasSubstr("not JSON"));
  EXPECT_THAT(raw("POST /v1/x HTTP/1.1\r\nContent-Length: 2\r\nConnection: close\r\n\r\n[]"),
              HasSubstr("object"));
  EXPECT_THAT(raw("GET /v1/x?a=%zz HTTP/1.1\r\nConnection: close\r\n\r\n"), HasSubstr("percent"));
  EXPECT_TRUE(call("GET", "/v1/x").failed_with(ENOSYS));  // it still serves
}

TEST_F(AdminHttpTest, ATokenBecomesACertificate) {
  auto store = open_sqlite_cluster_store(seams, folder + "/cluster.db").value();
  auto now_s = std::chrono::duration_cast<std::chrono::seconds>(clock->wall_time()).count();
  auto ca = make_ca("east", now_s).value();
  auto request = make_certificate_request().value();
  auto identity = std::make_shared<TlsIdentity>();
  identity->certificate_pem =
      issue_certificate(ca, request.request_pem, CertificateRole::kNode, "alpha", now_s).value() +
      ca.certificate_pem;
  identity->key_pem = request.key_pem;
  identity->trusted_ca_pem = ca.certificate_pem;
  identity->accept_strangers = true;
  listen({Endpoint::Kind::kTls, "127.0.0.1", 0}, identity);
  bool known = false;
  add_join_route(api, seams, *store, ca, "east", [&]() -> Task<Result<void>> {
    known = true;
    co_return Result<void>();
  });
  api.add(
      "GET", "/v1/whoami",
      [](const AdminRequest& request) -> Task<Result<json::value>> {
        co_return json::value(request.peer.common_name);
      },
      AdminAccess::kMember);

  auto address = listener->local().text();
  auto fingerprint = read_certificate(ca.certificate_pem)->fingerprint;
  TokenRequest wanted{
      .role = TokenRole::kClient, .volume = "", .addresses = {address}, .ca_fingerprint = fingerprint};
  auto token = loop.run_until_done(create_token(seams, *store, wanted)).value();

  // Somebody else's CA: nothing is sent, so the token is still good afterwards.
  auto forged = token;
  forged.ca_fingerprint = std::string(64, '0');
  auto distrusted = loop.run_until_done(join_cluster(seams, forged, "web1"));
  ASSERT_FALSE(distrusted);

  auto joined = loop.run_until_done(join_cluster(seams, token, "web1"));
  ASSERT_TRUE(joined) << joined.error().message();
  EXPECT_TRUE(known) << "the daemon must know a member before it can come back";
  EXPECT_EQ(joined->common_name, "client:web1");
  EXPECT_EQ(joined->cluster, "east");

  AdminClient member(*transport, listener->local(), joined->identity());
  EXPECT_EQ(loop.run_until_done(member.call("GET", "/v1/whoami")).value(), json::value("client:web1"));
  auto again = loop.run_until_done(join_cluster(seams, token, "web2"));
  ASSERT_TRUE(again.failed_with(EACCES));
  EXPECT_THAT(again.error().message(), HasSubstr("used already"));
}

}  // namespace
}  // namespace polder
