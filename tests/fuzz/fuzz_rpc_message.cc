// SPDX-License-Identifier: GPL-3.0-or-later
// Messages between clients and bricks, behind their frame. The first byte is the frame's type.
#include "core-volume/rpc/messages.h"
#include "core-volume/rpc/protocol.h"
#include "tests/fuzz/fuzz.h"

namespace polder::fuzz {
namespace {

template <typename Message>
bool parse(ConstBytes bytes, Message& message) {
  return message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
}

void request(Input in) {
  const auto payload_bytes = in.number<std::uint32_t>();
  wire::Request request;
  if (!parse(in.rest(), request) || !check_request(request, payload_bytes)) return;
  require(payload_bytes <= kRpcFormat.payload_bytes_max, "a payload is bounded");
  static_cast<void>(is_change(request));
  if (request.has_setattr()) {
    auto change = change_from(request.setattr());
    require(change.has_value(), "a checked request can be taken apart");
    wire::Setattr again;
    put(&again, *change);
    require(change_from(again).has_value(), "and put together");
  }
  if (request.has_set_lock()) {
    auto lock = lock_from(request.set_lock().lock());
    require(lock && lock->start <= lock->end, "a lock has a start and an end");
  }
}

void reply(Input in) {
  wire::Reply reply;
  if (!parse(in.rest(), reply)) return;
  if (reply.error() != 0) {
    const auto error = error_from(reply);
    wire::Reply again;
    put(&again, error);
    require(error_from(again).code() == error.code(), "an error keeps its code");
  }
  static_cast<void>(lock_from(reply.lock()));
  static_cast<void>(space_from(reply.space()));
  auto attr = attr_from(reply.attr());
  if (!attr) return;
  wire::Attr out;
  put(&out, *attr);
  auto again = attr_from(out);
  require(again && again->gfid == attr->gfid && again->mtime.tv_nsec == attr->mtime.tv_nsec, "attributes");
}

void notify(Input in) {
  wire::Notify notify;
  if (!parse(in.rest(), notify)) return;
  for (const auto& change : notify.changes()) {
    auto invalidation = invalidation_from(change);
    if (!invalidation) continue;
    wire::Notify::Change again;
    put(&again, *invalidation);
    require(invalidation_from(again).has_value(), "an invalidation");
  }
}

}  // namespace

POLDER_FUZZ_TARGET(rpc_message) {
  Input in(input);
  switch (static_cast<RpcFrame>(in.number<std::uint8_t>())) {
    case RpcFrame::kRequest:
      return request(in);
    case RpcFrame::kReply:
      return reply(in);
    case RpcFrame::kNotify:
      return notify(in);
    default:
      return;
  }
}

}  // namespace polder::fuzz
