// SPDX-License-Identifier: GPL-3.0-or-later
// Payloads of rpc that are not bytes of files: directory pages, names of xattrs, records to replay. The first
// byte says which.
#include "core-volume/layer/record_rules.h"
#include "core-volume/rpc/messages.h"
#include "core-volume/rpc/protocol.h"
#include "tests/fuzz/fuzz.h"

namespace polder::fuzz {
namespace {

void page(ConstBytes bytes) {
  auto page = decode_page(bytes);
  if (!page) return;
  auto again = decode_page(encode_page(*page, std::size_t{1} << 30).bytes());
  require(again && again->entries.size() == page->entries.size() && again->end == page->end,
          "a directory page is written as it was read");
}

void names(ConstBytes bytes) {
  auto names = decode_names(bytes);
  if (!names) return;
  auto again = encode_names(*names);
  require(again && std::ranges::equal(again->bytes(), bytes), "names have one encoding");
}

Buffer joined(const std::vector<Buffer>& pieces) {
  std::string all;
  for (const auto& piece : pieces) all += piece.text();
  return Buffer::copy_of(all);
}

void records(Input in) {
  const std::uint32_t description_bytes = in.number<std::uint16_t>();
  const auto payload = Buffer::copy_of(in.rest());
  auto records = decode_records(payload, description_bytes);
  if (!records) return;
  for (const auto& record : *records) {
    static_cast<void>(check_record(record));
    static_cast<void>(encoded_bytes(record));
  }
  std::uint32_t bytes = 0;
  const auto again = joined(encode_records(*records, bytes));
  auto decoded = decode_records(again, bytes);
  require(decoded && decoded->size() == records->size(), "records are written as they were read");
}

}  // namespace

POLDER_FUZZ_TARGET(rpc_payload) {
  Input in(input);
  switch (in.number<char>()) {
    case 'd':
      return page(in.rest());
    case 'x':
      return names(in.rest());
    case 'r':
      return records(in);
  }
}

}  // namespace polder::fuzz
