// SPDX-License-Identifier: GPL-3.0-or-later
// Join tokens: as they are typed, and with the JSON in them as somebody makes it.
#include "core-volume/cluster/tokens.h"
#include "tests/fuzz/fuzz.h"

namespace polder::fuzz {

POLDER_FUZZ_TARGET(token) {
  const auto text = as_text(input);
  if (auto bytes = decode_base64url(text)) require(encode_base64url(*bytes) == text, "bytes have one text");
  auto token =
      JoinToken::parse(text.starts_with('{') ? "polder1-" + encode_base64url(text) : std::string(text));
  if (!token) return;
  auto again = JoinToken::parse(token->text());
  require(again.has_value(), "a token that is printed can be read");
  require(again->text() == token->text(), "and says the same");
}

}  // namespace polder::fuzz
