// SPDX-License-Identifier: GPL-3.0-or-later
#include "georep/secondary/apply.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "georep/protocol/record_block.h"
#include "proto/georep.pb.h"

namespace polder::georep {
namespace {

Gfid gfid_of(std::uint8_t n) {
  Gfid gfid;
  gfid.bytes[15] = n;
  return gfid;
}

SpoolFrame frame_of(const Record& record) {
  SpoolFrame frame;
  frame.payload = encode_block({&record, 1}).value();
  StreamMessage message;
  message.mutable_records()->set_count(1);
  message.mutable_records()->set_raw_bytes(frame.payload.size());
  frame.message = message.SerializeAsString();
  return frame;
}

SpoolFrame extent_of(const Gfid& gfid, std::uint64_t offset) {
  StreamMessage message;
  message.mutable_extent()->set_gfid(gfid_bytes(gfid));
  message.mutable_extent()->set_offset(offset);
  message.mutable_extent()->set_raw_bytes(4);
  return {message.SerializeAsString(), Buffer::copy_of("data")};
}

Record unlink() {
  Record record;
  record.kind = RecordKind::kUnlink;
  record.gfid = gfid_of(7);
  record.name = {Gfid::root(), "name"};
  return record;
}

/// What replay() refuses would stay in the spool for ever.
TEST(RecordsOfFrame, AreOnlyWhatCanBeApplied) {
  EXPECT_TRUE(records_of_frame(frame_of(unlink())));
  EXPECT_TRUE(records_of_frame(extent_of(gfid_of(7), 5)));

  auto bad_name = unlink(), prepared = unlink(), no_gfid = unlink(), no_data = unlink();
  bad_name.name.name = "a/b";
  prepared.tx.id = {1, 5};
  prepared.tx.phase = TxPhase::kPrepared;
  no_gfid.gfid = {};
  no_data.kind = RecordKind::kWrite;
  no_data.name = {};
  no_data.length = 5;
  for (const auto& record : {bad_name, prepared, no_gfid, no_data})
    EXPECT_TRUE(records_of_frame(frame_of(record)).failed_with(EPROTO));
  EXPECT_TRUE(records_of_frame(extent_of({}, 5)).failed_with(EPROTO));
  EXPECT_TRUE(records_of_frame(extent_of(gfid_of(7), UINT64_MAX - 1)).failed_with(EPROTO));
}

}  // namespace
}  // namespace polder::georep
