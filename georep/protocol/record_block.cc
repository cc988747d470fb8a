// SPDX-License-Identifier: GPL-3.0-or-later
#include "georep/protocol/record_block.h"

#include "changelog/record/codec.h"
#include "proto/georep.pb.h"

namespace polder::georep {

Result<Buffer> encode_block(std::span<const Record> records) {
  std::string bytes;
  for (const auto& record : records) {
    TRY(append_record_message(bytes, record));
  }
  return Buffer::copy_of(bytes);
}

Result<std::vector<Record>> decode_block(const Buffer& block, std::uint32_t count) {
  std::vector<Record> records;
  std::size_t offset = 0;
  while (offset < block.size()) {
    if (records.size() == count) return Error(EPROTO).with("more records than the {} announced", count);
    TRY(auto record, decode_record_message(block, offset));
    records.push_back(std::move(record));
  }
  if (records.size() != count) return Error(EPROTO).with("{} records instead of {}", records.size(), count);
  return records;
}

void set_position(Position* out, const JournalPosition& position, Hlc hlc) {
  out->set_lineage(gfid_bytes(position.lineage));
  out->set_set(position.set);
  out->set_term(position.term);
  out->set_index(position.index);
  out->set_hlc(hlc.ns);
}

std::string gfid_bytes(const Gfid& gfid) {
  return {reinterpret_cast<const char*>(gfid.bytes.data()), gfid.bytes.size()};
}

Result<Gfid> gfid_from(const std::string& bytes) {
  Gfid gfid;
  if (bytes.size() != gfid.bytes.size()) return Error(EPROTO).with("a gfid of {} bytes", bytes.size());
  std::memcpy(gfid.bytes.data(), bytes.data(), bytes.size());
  return gfid;
}

}  // namespace polder::georep
