// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/admin/admin_server.h"

#include <set>

#include "base/concurrency_impl.h"
#include "base/coro.h"
#include "base/log.h"
#include "core-volume/admin/http_text.h"

namespace polder {

namespace {

constexpr std::size_t kConnectionsMax = 256;
constexpr std::size_t kStrangersMax = 32;
constexpr auto kStrangerLimit = std::chrono::seconds(10);
constexpr auto kIdleLimit = std::chrono::seconds(120);

/// The answer to one request, plain or in lines.
class Answer {
 public:
  explicit Answer(Stream& stream) : stream_(stream) {}

  Task<Result<void>> emit(json::value progress) {
    auto text = http_chunk(json::text(progress) + "\n");
    if (!streaming_) text.insert(0, http_chunked_head(200));
    streaming_ = true;
    co_return co_await write_text(stream_, std::move(text));
  }

  Task<Result<void>> finish_text(Result<AdminText> result, bool keep_alive) {
    if (!result) co_return co_await finish(result.error(), keep_alive);
    co_return co_await write_text(stream_,
                                  http_response_text(200, result->body, keep_alive, result->content_type));
  }

  Task<Result<void>> finish(Result<json::value> result, bool keep_alive) {
    if (!streaming_) {
      auto status = result ? 200 : http_status_of(result.error().code());
      auto body = result ? json::text(*result) : json::text(error_json(result.error()));
      co_return co_await write_text(stream_, http_response_text(status, body + "\n", keep_alive));
    }
    auto last =
        result ? json::value(json::object{{"result", *result}}) : json::value(error_json(result.error()));
    auto text = http_chunk(json::text(last) + "\n");
    text += kHttpLastChunk;
    co_return co_await write_text(stream_, std::move(text));
  }

 private:
  Stream& stream_;
  bool streaming_ = false;
};

Result<json::object> arguments_of(const HttpRequest& request) {
  if (request.body.empty()) return parse_query(request.query);
  TRY(auto value, json::parse(request.body));
  return json::as_object(value);
}

}  // namespace

struct AdminServer::Impl {
  Impl(Clock& clock, asio::any_io_executor executor, const AdminApi& api)
      : clock(clock), executor(std::move(executor)), api(api) {}

  Task<Result<void>> answer(const HttpRequest& request, Stream& stream) {
    Answer answer(stream);
    AdminRequest call;
    call.method = request.method;
    call.path = request.path;
    call.peer = stream.peer();
    call.emit = [&answer](json::value progress) { return answer.emit(std::move(progress)); };
    auto arguments = arguments_of(request);
    if (!arguments) co_return co_await answer.finish(std::move(arguments).error(), request.keep_alive);
    call.body = *std::move(arguments);
    if (api.is_text(call)) {
      auto text = co_await api.call_text(std::move(call));
      co_return co_await answer.finish_text(std::move(text), request.keep_alive);
    }
    auto result = co_await api.call(std::move(call));
    co_return co_await answer.finish(std::move(result), request.keep_alive);
  }

  /// One request; false: the connection is over.
  Task<bool> serve_one(HttpInput& input, bool stranger) {
    HttpRequest request;
    auto limit = stranger ? nanoseconds(kStrangerLimit) : nanoseconds(kIdleLimit);
    auto read =
        co_await with_deadline<void>(clock, clock.boot_time() + limit, read_http_request(input, request));
    if (!read) {
      if (read.error().is(EPROTO) || read.error().is(EMSGSIZE)) {
        auto body = json::text(error_json(read.error()));
        static_cast<void>(co_await write_text(
            input.stream, http_response_text(http_status_of(read.error().code()), body, false)));
      }
      co_return false;
    }
    auto sent = co_await answer(request, input.stream);
    co_return sent&& request.keep_alive;
  }

  Task<void> run(std::shared_ptr<Stream> stream) {
    bool stranger = !stream->peer().authenticated && !stream->peer().uid;
    strangers += stranger ? 1 : 0;
    HttpInput input{*stream, {}};
    bool more = true;
    while (more) more = co_await serve_one(input, stranger);
    stream->close();
    streams.erase(stream);
    strangers -= stranger ? 1 : 0;
  }

  Clock& clock;
  asio::any_io_executor executor;
  const AdminApi& api;
  std::set<std::shared_ptr<Stream>> streams;
  std::size_t strangers = 0;
  TaskGroup tasks{"admin"};
};

AdminServer::AdminServer(Clock& clock, const asio::any_io_executor& executor, const AdminApi& api)
    : impl_(std::make_unique<Impl>(clock, executor, api)) {}

AdminServer::~AdminServer() = default;

void AdminServer::serve(std::unique_ptr<Stream> stream) {
  bool stranger = !stream->peer().authenticated && !stream->peer().uid;
  if (impl_->streams.size() >= kConnectionsMax || (stranger && impl_->strangers >= kStrangersMax)) {
    log::warning("admin: too many connections, one was refused");
    stream->close();
    return;
  }
  std::shared_ptr<Stream> shared = std::move(stream);
  impl_->streams.insert(shared);
  impl_->tasks.spawn(impl_->executor, impl_->run(shared));
}

Task<void> AdminServer::stop() {
  for (const auto& stream : impl_->streams) stream->close();
  co_await impl_->tasks.stop();
  impl_->streams.clear();
}

}  // namespace polder
