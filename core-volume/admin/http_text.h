// SPDX-License-Identifier: GPL-3.0-or-later
// HTTP/1.1 on a Stream, as little of it as the admin API needs. Parsing is Boost.Beast's, over bytes that we
// read ourselves: so one code serves sockets, TLS and the simulation.
#pragma once
#include <chrono>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/transport.h"
#include "core-volume/cluster/json_fields.h"

namespace polder {

struct HttpRequest {
  std::string method;
  std::string path;
  std::string query;
  std::string body;
  bool keep_alive = true;
};

struct HttpResponse {
  unsigned status = 0;
  std::string body;
};

/// Bytes read from a Stream and not yet used.
struct HttpInput {
  Stream& stream;
  std::string pending;
};

/// The next request. ENODATA: the other side closed before one began. EPROTO, EMSGSIZE: not HTTP, or past the
/// limits (16 KiB of header, 1 MiB of body).
Task<Result<void>> read_http_request(HttpInput& input, HttpRequest& out);
/// `on_chunk` is called for each piece of a chunked body, which then is not in `out.body`.
Task<Result<void>> read_http_response(HttpInput& input, HttpResponse& out,
                                      std::function<void(std::string_view)> on_chunk);

Task<Result<void>> write_text(Stream& stream, std::string text);

std::string http_request_text(const std::string& method, const std::string& target, const std::string& host,
                              const std::string& body);
std::string http_response_text(unsigned status, const std::string& body, bool keep_alive,
                               std::string_view content_type = "application/json");
std::string http_chunked_head(unsigned status);
std::string http_chunk(std::string_view bytes);
inline constexpr std::string_view kHttpLastChunk = "0\r\n\r\n";

/// "a=b&c=d%20e" as an object of strings; EINVAL.
Result<json::object> parse_query(std::string_view query);

/// "ENOENT" and back; unknown: "EIO".
std::string errno_name(int code);
int errno_from_name(std::string_view name);
unsigned http_status_of(int code);
/// {"error": sentence, "code": "ENOENT"}
json::object error_json(const Error& error);
/// The Error that error_json() described.
Error error_from_json(const json::object& from);

}  // namespace polder
