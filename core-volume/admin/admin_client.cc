// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/admin/admin_client.h"

#include "base/coro.h"
#include "core-volume/admin/http_text.h"

namespace polder {

namespace {

constexpr std::size_t kLine_bytes_max = 16u << 20;

/// Puts chunks together to lines; the last line is the outcome.
class Lines {
 public:
  explicit Lines(const std::function<void(const json::value&)>& on_progress) : on_progress_(on_progress) {}

  void add(std::string_view bytes) {
    any_ = true;
    pending_ += bytes;
    if (pending_.size() > kLine_bytes_max) pending_.clear();  // then the outcome is missing: EPROTO below
    for (auto end = pending_.find('\n'); end != std::string::npos; end = pending_.find('\n')) {
      auto line = json::parse(std::string_view(pending_).substr(0, end));
      pending_.erase(0, end + 1);
      last_ = line ? std::optional(*line) : std::nullopt;
      if (last_ && !is_outcome(*last_)) {
        if (on_progress_) on_progress_(*last_);
        last_.reset();
      }
    }
  }

  bool any() const { return any_; }

  Result<json::value> outcome() const {
    if (!last_) return Error(EPROTO).with("the daemon's answer ended too early").set_maybe_applied();
    const auto& fields = last_->get_object();
    if (auto found = fields.find("result"); found != fields.end()) return found->value();
    return error_from_json(fields);
  }

 private:
  static bool is_outcome(const json::value& line) {
    if (!line.is_object()) return false;
    const auto& fields = line.get_object();
    return fields.contains("result") || (fields.contains("error") && fields.contains("code"));
  }

  const std::function<void(const json::value&)>& on_progress_;
  std::string pending_;
  std::optional<json::value> last_;
  bool any_ = false;
};

}  // namespace

Task<Result<json::value>> AdminClient::call(std::string method, std::string path, json::object body,
                                            std::function<void(const json::value&)> on_progress) {
  connected_ = false;
  CO_TRY(auto stream, co_await transport_.connect(endpoint_, kAdminProtocol, identity_));
  connected_ = true;
  auto text = body.empty() ? std::string() : json::text(body);
  auto host = endpoint_.kind == Endpoint::Kind::kUnix ? std::string("localhost") : endpoint_.host;
  CO_TRY(co_await write_text(*stream, http_request_text(method, path, host, text)));
  HttpInput input{*stream, {}};
  HttpResponse response;
  Lines lines(on_progress);
  auto read = co_await read_http_response(input, response, [&](std::string_view chunk) { lines.add(chunk); });
  stream->close();
  if (!read) co_return std::move(read).error().with("polderd at {}", endpoint_.text()).set_maybe_applied();
  if (lines.any()) co_return lines.outcome();
  CO_TRY(auto value, json::parse(response.body));
  if (response.status == 200) co_return value;
  CO_TRY(auto fields, json::as_object(value));
  co_return error_from_json(fields);
}

}  // namespace polder
