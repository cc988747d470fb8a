// SPDX-License-Identifier: GPL-3.0-or-later
// Routes, who may call them, and HTTP's texts.
#include "core-volume/admin/admin_api.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "core-volume/admin/http_text.h"
#include "tests/support/loop.h"
#include "tests/support/memory_stream.h"

namespace polder {
namespace {

PeerIdentity by_uid(uid_t uid) {
  PeerIdentity peer;
  peer.uid = uid;
  return peer;
}
PeerIdentity by_name(const std::string& common_name) {
  PeerIdentity peer;
  peer.authenticated = true;
  peer.common_name = common_name;
  return peer;
}

TEST(AdminAccess, EachRoleMayDoItsOwn) {
  EXPECT_TRUE(check_access(by_uid(0), AdminAccess::kAdmin));
  EXPECT_TRUE(check_access(by_uid(geteuid()), AdminAccess::kAdmin));
  EXPECT_TRUE(check_access(by_name("admin:eve"), AdminAccess::kAdmin));
  EXPECT_TRUE(check_access(by_name("node:alpha"), AdminAccess::kAdmin));
  EXPECT_TRUE(check_access(by_name("georep:s"), AdminAccess::kMember));
  EXPECT_TRUE(check_access({}, AdminAccess::kEverybody));

  EXPECT_TRUE(check_access(by_uid(geteuid() + 1), AdminAccess::kAdmin).failed_with(EACCES));
  EXPECT_TRUE(check_access(by_name("client:web1"), AdminAccess::kAdmin).failed_with(EACCES));
  EXPECT_TRUE(check_access(by_name("georep:s"), AdminAccess::kAdmin).failed_with(EACCES));
  EXPECT_TRUE(check_access(by_name("root"), AdminAccess::kMember).failed_with(EACCES));
  EXPECT_TRUE(check_access({}, AdminAccess::kMember).failed_with(EACCES));
}

TEST(AdminApi, RoutesByMethodAndPath) {
  SimLoop loop;
  AdminApi api;
  api.add("GET", "/v1/volumes/{volume}", [](const AdminRequest& request) -> Task<Result<json::value>> {
    co_return json::value(request.parameter("volume"));
  });
  api.add("GET", "/v1/volumes/{volume}/bricks/{brick}",
          [](const AdminRequest& request) -> Task<Result<json::value>> {
            if (request.parameter("brick") == "bug") throw std::runtime_error("a bug");
            co_return json::value(request.parameter("brick"));
          });
  auto call = [&](const std::string& method, const std::string& path) {
    AdminRequest request;
    request.method = method;
    request.path = path;
    request.peer = by_uid(0);
    return loop.run_until_done(api.call(std::move(request)));
  };
  EXPECT_EQ(call("GET", "/v1/volumes/data").value(), json::value("data"));
  EXPECT_EQ(call("GET", "/v1/volumes/data/bricks/7").value(), json::value("7"));
  EXPECT_TRUE(call("POST", "/v1/volumes/data").failed_with(ENOSYS));
  EXPECT_TRUE(call("GET", "/v1/volumes").failed_with(ENOSYS));
  EXPECT_TRUE(call("GET", "").failed_with(ENOSYS));
  EXPECT_TRUE(call("GET", "/v1/volumes/data/bricks/bug").failed_with(EIO));
}

TEST(HttpText, QueriesAreDecoded) {
  auto query = parse_query("a=b&c=d%20e+f&g").value();
  EXPECT_EQ(query["a"], json::value("b"));
  EXPECT_EQ(query["c"], json::value("d e f"));
  EXPECT_EQ(query["g"], json::value(""));
  EXPECT_EQ(parse_query("x=%41").value()["x"], json::value("A"));
  for (const auto* bad : {"a=%", "a=%4", "a=%zz"}) EXPECT_TRUE(parse_query(bad).failed_with(EINVAL)) << bad;
}

Result<HttpRequest> request_of(const std::string& text, std::size_t step_bytes) {
  SimLoop loop;
  MemoryStream stream(as_bytes(text), step_bytes);
  HttpInput input{stream, {}};
  HttpRequest request;
  TRY(loop.run_until_done(read_http_request(input, request)));
  return request;
}

TEST(HttpText, ABodyInChunksMayComeInPiecesOfAnySize) {
  const std::string head = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (std::size_t step = 1; step < head.size() + 6; ++step) {
    EXPECT_EQ(request_of(head + "0\r\n\r\n", step).value().body, "") << step;
    EXPECT_EQ(request_of(head + "1\r\n{\r\n1\r\n}\r\n0\r\n\r\n", step).value().body, "{}") << step;
    EXPECT_TRUE(request_of(head + "0\r\n", step).failed_with(ECONNRESET)) << step;
    EXPECT_TRUE(request_of(head + "0\r\n{}\r\n\r\n", step).failed_with(EPROTO)) << step;
  }
}

TEST(HttpText, ErrorsTravelByName) {
  auto error = Error(ENOTEMPTY).with("the brick directory is not empty");
  auto back = error_from_json(error_json(error));
  EXPECT_TRUE(back.is(ENOTEMPTY));
  EXPECT_EQ(back.message(), error.message());
  EXPECT_EQ(std::move(back).with("on n1").message(), "on n1: " + error.message());
  EXPECT_TRUE(error_from_json({}).is(EIO));
  EXPECT_TRUE(error_from_json({{"code", "EWHATEVER"}, {"error", 7}}).is(EIO));
  EXPECT_EQ(http_status_of(ENOENT), 404U);
}

}  // namespace
}  // namespace polder
