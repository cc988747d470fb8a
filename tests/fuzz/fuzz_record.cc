// SPDX-License-Identifier: GPL-3.0-or-later
// One record: in a segment, and as messages one after another. With its own checksum and with a right one.
#include "changelog/record/codec.h"
#include "core-volume/layer/record_rules.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/sound.h"

namespace polder::fuzz {
namespace {

constexpr std::uint64_t kFirstIndex = 1000;

std::string text_of(const Record& record) {
  std::string text;
  require(append_record_message(text, record).has_value(), "what was decoded can be encoded");
  return text;
}

/// Bodies may be padded with defaults that an encoder leaves out: the second encoding is the one to compare.
void check(const Record& record) {
  static_cast<void>(check_record(record));
  const auto text = text_of(record);
  std::size_t offset = 0;
  auto again = decode_record_message(Buffer::copy_of(text), offset);
  require(again && offset == text.size(), "what was encoded can be decoded");
  require(text_of(*again) == text, "a record keeps its encoding");
}

void records(const std::string& bytes) {
  if (auto record = decode_record(Buffer::copy_of(bytes), kFirstIndex)) {
    check(*record);
    require(encode_record(*record, kFirstIndex).has_value(), "a record goes back to its segment");
  }
  const auto messages = Buffer::copy_of(bytes);
  std::size_t offset = 0;
  while (offset < messages.size()) {
    auto record = decode_record_message(messages, offset);
    if (!record) return;
    check(*record);
  }
}

}  // namespace

POLDER_FUZZ_TARGET(record) {
  records(std::string(as_text(input)));
  records(sound_record(input));
  records(sound_messages(input));
}

}  // namespace polder::fuzz
