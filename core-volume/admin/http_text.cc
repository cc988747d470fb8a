// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/admin/http_text.h"

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <cerrno>

#include "base/coro.h"

namespace polder {

namespace http = boost::beast::http;

namespace {

constexpr std::uint32_t kHeader_bytes_max = 16u << 10;
constexpr std::uint64_t kRequestBody_bytes_max = 1u << 20;
constexpr std::uint64_t kResponseBody_bytes_max = 64u << 20;

Error parse_error(const boost::system::error_code& failure) {
  bool too_large = failure == http::error::header_limit || failure == http::error::body_limit;
  return Error(too_large ? EMSGSIZE : EPROTO).with("HTTP: {}", failure.message());
}

/// Whether the parser may look at what is pending. It asserts that it sees the last chunk whole ("0\r\n\r\n")
/// when it looks at its beginning for a second time; and a chunked message does not end with less than that.
template <typename Parser>
bool is_enough(const std::string& pending, const Parser& parser) {
  const bool in_chunks = parser.is_header_done() && parser.chunked();
  return pending.size() >= (in_chunks ? kHttpLastChunk.size() : 1);
}

/// Feeds the parser until it has the whole message.
template <typename Parser>
Task<Result<void>> fill(HttpInput& input, Parser& parser) {
  parser.eager(true);
  while (!parser.is_done()) {
    boost::system::error_code failure;
    if (is_enough(input.pending, parser)) {
      auto used = parser.put(asio::buffer(input.pending), failure);
      input.pending.erase(0, used);
      if (failure && failure != http::error::need_more) co_return parse_error(failure);
      if (parser.is_done()) break;
    }
    std::array<std::byte, 16384> bytes;
    CO_TRY(auto count, co_await input.stream.read_some(bytes));
    if (count == 0) {
      bool nothing = !parser.got_some() && input.pending.empty();
      if (nothing) co_return Error(ENODATA).with("the connection was closed");
      parser.put_eof(failure);
      if (failure || !parser.is_done())
        co_return Error(ECONNRESET).with("the connection ended within a message");
    }
    input.pending.append(as_text({bytes.data(), count}));
  }
  co_return Result<void>();
}

struct ErrnoName {
  int code;
  std::string_view name;
  unsigned status;
};
// What the API answers with; others are EIO to callers.
constexpr std::array kErrnos = {ErrnoName{EINVAL, "EINVAL", 400},
                                ErrnoName{ENOENT, "ENOENT", 404},
                                ErrnoName{EEXIST, "EEXIST", 409},
                                ErrnoName{EACCES, "EACCES", 403},
                                ErrnoName{EPERM, "EPERM", 403},
                                ErrnoName{EBUSY, "EBUSY", 409},
                                ErrnoName{EAGAIN, "EAGAIN", 409},
                                ErrnoName{ENOSYS, "ENOSYS", 404},
                                ErrnoName{ENOSPC, "ENOSPC", 507},
                                ErrnoName{EROFS, "EROFS", 409},
                                ErrnoName{ENOTEMPTY, "ENOTEMPTY", 409},
                                ErrnoName{ERANGE, "ERANGE", 400},
                                ErrnoName{ENOTCONN, "ENOTCONN", 409},
                                ErrnoName{ETIMEDOUT, "ETIMEDOUT", 504},
                                ErrnoName{ESTALE, "ESTALE", 409},
                                ErrnoName{EOPNOTSUPP, "EOPNOTSUPP", 400},
                                ErrnoName{ENODATA, "ENODATA", 404},
                                ErrnoName{EUCLEAN, "EUCLEAN", 500},
                                ErrnoName{EPROTO, "EPROTO", 400},
                                ErrnoName{EXDEV, "EXDEV", 400},
                                ErrnoName{ENOTDIR, "ENOTDIR", 400},
                                ErrnoName{ECANCELED, "ECANCELED", 503},
                                ErrnoName{EALREADY, "EALREADY", 409},
                                ErrnoName{EADDRINUSE, "EADDRINUSE", 409},
                                ErrnoName{ECONNREFUSED, "ECONNREFUSED", 502},
                                ErrnoName{EHOSTUNREACH, "EHOSTUNREACH", 502},
                                ErrnoName{EMSGSIZE, "EMSGSIZE", 413},
                                ErrnoName{EIO, "EIO", 500}};

std::string_view reason(unsigned status) {
  return std::string_view(http::obsolete_reason(static_cast<http::status>(status)).data(),
                          http::obsolete_reason(static_cast<http::status>(status)).size());
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

Result<std::string> percent_decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i] == '+' ? ' ' : text[i];
      continue;
    }
    int high = i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
    int low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
    if (i + 2 == text.size()) high = low = -1;
    if (high < 0 || low < 0) return Error(EINVAL).with("bad percent-encoding in the query");
    out += static_cast<char>(high << 4 | low);
    i += 2;
  }
  return out;
}

}  // namespace

Task<Result<void>> read_http_request(HttpInput& input, HttpRequest& out) {
  http::request_parser<http::string_body> parser;
  parser.header_limit(kHeader_bytes_max);
  parser.body_limit(kRequestBody_bytes_max);
  CO_TRY(co_await fill(input, parser));
  auto message = parser.release();
  out.method = std::string(message.method_string());
  auto target = std::string(message.target());
  auto question = target.find('?');
  out.path = target.substr(0, question);
  out.query = question == std::string::npos ? "" : target.substr(question + 1);
  out.keep_alive = message.keep_alive();
  out.body = std::move(message.body());
  co_return Result<void>();
}

Task<Result<void>> read_http_response(HttpInput& input, HttpResponse& out,
                                      std::function<void(std::string_view)> on_chunk) {
  http::response_parser<http::string_body> parser;
  parser.header_limit(kHeader_bytes_max);
  parser.body_limit(on_chunk ? std::uint64_t(-1) : kResponseBody_bytes_max);
  auto chunk = [&](std::uint64_t, boost::beast::string_view bytes, boost::system::error_code& failure) {
    failure = {};
    on_chunk({bytes.data(), bytes.size()});
    return bytes.size();
  };
  if (on_chunk) parser.on_chunk_body(chunk);
  CO_TRY(co_await fill(input, parser));
  out.status = parser.get().result_int();
  out.body = std::move(parser.get().body());
  co_return Result<void>();
}

Task<Result<void>> write_text(Stream& stream, std::string text) {
  std::array<ConstBytes, 1> pieces = {as_bytes(text)};
  co_return co_await stream.write(pieces);
}

std::string http_request_text(const std::string& method, const std::string& target, const std::string& host,
                              const std::string& body) {
  return fmt::format(
      "{} {} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{}", method,
      target, host, body.size(), body);
}

std::string http_response_text(unsigned status, const std::string& body, bool keep_alive,
                               std::string_view content_type) {
  return fmt::format("HTTP/1.1 {} {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: {}\r\n\r\n{}",
                     status, reason(status), content_type, body.size(), keep_alive ? "keep-alive" : "close",
                     body);
}

std::string http_chunked_head(unsigned status) {
  return fmt::format(
      "HTTP/1.1 {} {}\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n", status,
      reason(status));
}

std::string http_chunk(std::string_view bytes) {
  return fmt::format("{:x}\r\n{}\r\n", bytes.size(), bytes);
}

Result<json::object> parse_query(std::string_view query) {
  json::object out;
  while (!query.empty()) {
    auto pair = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(query.size(), pair.size() + 1));
    auto equals = pair.find('=');
    TRY(auto key, percent_decoded(pair.substr(0, equals)));
    TRY(auto value, percent_decoded(equals == std::string_view::npos ? "" : pair.substr(equals + 1)));
    out[key] = value;
  }
  return out;
}

std::string errno_name(int code) {
  for (const auto& known : kErrnos) {
    if (known.code == code) return std::string(known.name);
  }
  return "EIO";
}

int errno_from_name(std::string_view name) {
  for (const auto& known : kErrnos) {
    if (known.name == name) return known.code;
  }
  return EIO;
}

unsigned http_status_of(int code) {
  for (const auto& known : kErrnos) {
    if (known.code == code) return known.status;
  }
  return 500;
}

json::object error_json(const Error& error) {
  return {{"error", error.message()}, {"code", errno_name(error.code())}};
}

Error error_from_json(const json::object& from) {
  auto code = json::string_field_or(from, "code", "EIO");
  auto text = json::string_field_or(from, "error", "the daemon gave no reason");
  return Error(code ? errno_from_name(*code) : EIO).with("{}", text ? *text : "the daemon gave no reason");
}

}  // namespace polder
