// SPDX-License-Identifier: GPL-3.0-or-later
// The admin API's server up to its routes, and what its client reads. The first byte: how many bytes each
// read gives; odd: the rest is a response.
#include "base/clock.h"
#include "core-volume/admin/admin_api.h"
#include "core-volume/admin/admin_server.h"
#include "core-volume/admin/http_text.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/loop.h"
#include "tests/support/memory_stream.h"

namespace polder::fuzz {
namespace {

Task<Result<json::value>> echo(const AdminRequest& request) {
  CO_TRY(auto name, json::string_field_or(request.body, "name", request.path));
  CO_TRY(auto number, json::number_field_or(request.body, "number", 0));
  CO_TRY(co_await request.emit(json::object{{"number", number}}));
  co_return json::object{{"name", name}, {"body", request.body}};
}

void serve(SimLoop& loop, ConstBytes bytes, std::size_t step_bytes) {
  AdminApi api;
  api.add("POST", "/volumes/{name}", echo, AdminAccess::kEverybody);
  api.add("GET", "/volumes", echo);
  AdminServer server(loop.clock(), loop.executor(), api);
  server.serve(std::make_unique<MemoryStream>(bytes, step_bytes));
  loop.settle();
  loop.run_until_done(server.stop());
}

void read_response(SimLoop& loop, ConstBytes bytes, std::size_t step_bytes) {
  MemoryStream stream(bytes, step_bytes);
  HttpInput input{stream, {}};
  HttpResponse response;
  std::size_t chunk_bytes = 0;
  auto on_chunk = [&](std::string_view chunk) { chunk_bytes += chunk.size(); };
  const bool streams = step_bytes % 4 == 1;
  auto read = loop.run_until_done(read_http_response(
      input, response, streams ? std::function<void(std::string_view)>(on_chunk) : nullptr));
  require(response.body.size() + chunk_bytes <= bytes.size(), "a body is part of what came");
  if (!read) return;
  auto value = json::parse(response.body);
  if (value && value->is_object()) static_cast<void>(error_from_json(value->get_object()));
}

}  // namespace

POLDER_FUZZ_TARGET(http) {
  Input in(input);
  const std::size_t step_bytes = in.number<std::uint8_t>();
  SimLoop loop;
  if (step_bytes % 2 == 0) {
    serve(loop, in.rest(), step_bytes);
  } else {
    read_response(loop, in.rest(), step_bytes);
  }
}

}  // namespace polder::fuzz
