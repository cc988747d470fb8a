// SPDX-License-Identifier: GPL-3.0-or-later
// librsync's formats: a delta against a basis of ours, and a signature for a content of ours. The first byte
// says which; two bytes are the length of our side.
#include "georep/protocol/delta.h"

#include "tests/fuzz/fuzz.h"

namespace polder::fuzz {
namespace {

constexpr std::size_t kResult_bytes_max = 1u << 20;  // as Rebuild::finish() stops at the announced size

georep::ReadAt reader(ConstBytes bytes) {
  return [bytes](Bytes out, std::uint64_t offset) -> Result<std::size_t> {
    const auto rest = bytes.subspan(std::min<std::uint64_t>(offset, bytes.size()));
    const auto count = std::min(out.size(), rest.size());
    if (count > 0) std::memcpy(out.data(), rest.data(), count);
    return count;
  };
}

georep::Sink into(std::string& out) {
  return [&out](ConstBytes bytes) -> Result<void> {
    if (out.size() + bytes.size() > kResult_bytes_max) return Error(EPROTO);
    out += as_text(bytes);
    return {};
  };
}

}  // namespace

POLDER_FUZZ_TARGET(georep_delta) {
  Input in(input);
  const bool is_signature = in.number<std::uint8_t>() % 2 == 1;
  const auto ours = in.take(in.number<std::uint16_t>());
  const auto theirs = in.rest();
  std::string result;
  if (!is_signature) {
    static_cast<void>(georep::apply_delta(reader(ours), reader(theirs), into(result)));
    return;
  }
  if (!georep::make_delta(theirs, reader(ours), into(result))) return;
  auto own = georep::make_signature(reader(ours), ours.size());
  require(own.has_value(), "a signature of our own");
  std::string delta, again;
  require(georep::make_delta(as_bytes(*own), reader(ours), into(delta)).has_value(), "a delta for it");
  require(georep::apply_delta(reader(ours), reader(as_bytes(delta)), into(again)) && again == as_text(ours),
          "it gives the content");
}

}  // namespace polder::fuzz
