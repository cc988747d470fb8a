// SPDX-License-Identifier: GPL-3.0-or-later
// One message of geo-replication with its payload, as the spool has it: length of the message, message,
// payload. Records in it get right checksums, packed ones are unpacked as they are.
#include "core-volume/layer/record_rules.h"
#include "georep/protocol/compress.h"
#include "georep/protocol/record_block.h"
#include "georep/protocol/stream.h"
#include "georep/secondary/apply.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/sound.h"

namespace polder::fuzz {
namespace {

void check(const std::string& message, const std::string& payload) {
  auto records = georep::records_of_frame({message, Buffer::copy_of(payload)});
  if (!records) return;
  for (const auto& record : *records)
    require(check_replayable(record).has_value(), "what is spooled can be applied");
  auto block = georep::encode_block(*records);
  require(block.has_value(), "records that came can be passed on");
  auto again = georep::decode_block(*block, static_cast<std::uint32_t>(records->size()));
  require(again && again->size() == records->size(), "and read again");
  auto packed = georep::pack(*block);
  auto raw = georep::unpack(packed, block->size());
  require(raw && raw->text() == block->text(), "whether packed or not");
}

}  // namespace

POLDER_FUZZ_TARGET(georep_frame) {
  Input in(input);
  const auto message = std::string(as_text(in.take(in.number<std::uint16_t>())));
  const auto payload = in.rest();
  check(message, std::string(as_text(payload)));
  check(message, sound_messages(payload));
  Input other(payload);
  static_cast<void>(georep::unpack(Buffer::copy_of(other.rest()), message.size() * 100));
}

}  // namespace polder::fuzz
