// SPDX-License-Identifier: GPL-3.0-or-later
// The geo-replication stream: frames, messages, payloads, and what a secondary makes of them. The first byte:
// how many bytes each read gives.
#include "base/hlc.h"
#include "base/random.h"
#include "base/transport.h"
#include "base/workers.h"
#include "core-volume/layer/record_rules.h"
#include "georep/protocol/compress.h"
#include "georep/protocol/stream.h"
#include "georep/secondary/apply.h"
#include "proto/georep.pb.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/loop.h"
#include "tests/support/memory_stream.h"
#include "tests/support/sim_disk.h"

namespace polder::fuzz {
namespace {

void check(const georep::StreamFrame& frame) {
  const auto message = frame.message->SerializeAsString();
  auto records = georep::records_of_frame({message, frame.payload});
  if (!records) return;
  for (const auto& record : *records) {
    require(record.data.size() <= georep::kMaxPayload_bytes, "data of a record is bounded");
    require(check_replayable(record).has_value(), "what is spooled can be applied");
  }
}

Task<void> receive_all(georep::GeorepStream& stream) {
  while (auto frame = co_await stream.receive(std::chrono::seconds(20))) check(*frame);
}

}  // namespace

POLDER_FUZZ_TARGET(georep_stream) {
  Input in(input);
  const std::size_t step_bytes = in.number<std::uint8_t>();
  SimLoop loop;
  SimDisk disk;
  auto random = make_seeded_random(1);
  auto workers = make_inline_workers();
  auto transport = make_socket_transport();
  HlcClock hlc(loop.clock());
  Seams seams{loop.clock(), *random, disk, *transport, *workers, hlc};
  georep::GeorepStream stream(seams, std::make_unique<MemoryStream>(in.rest(), step_bytes));
  loop.run_until_done(receive_all(stream));
}

}  // namespace polder::fuzz
