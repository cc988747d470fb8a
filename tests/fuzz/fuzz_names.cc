// SPDX-License-Identifier: GPL-3.0-or-later
// Short texts with a form of their own: addresses, peers, identities, names of files.
#include "base/gfid.h"
#include "base/transport.h"
#include "changelog/journal/segment_format.h"
#include "core-volume/cluster/certificates.h"
#include "core-volume/cluster/volume_options.h"
#include "core-volume/layer/op_kind.h"
#include "core-volume/layer/placement.h"
#include "georep/service/relation.h"
#include "tests/fuzz/fuzz.h"

namespace polder::fuzz {

POLDER_FUZZ_TARGET(names) {
  const auto text = as_text(input);
  if (auto endpoint = Endpoint::parse(text)) {
    auto again = Endpoint::parse(endpoint->text());
    require(again && *again == *endpoint, "an address that is printed reads as the same");
  }
  if (auto gfid = Gfid::parse(text)) require(gfid->hex() == text, "a gfid has one text");
  if (auto name = parse_segment_name(text)) require(name->text() == text, "a segment has one name");
  if (auto peer = georep::parse_peer(text))
    require(georep::parse_peer(peer->host + "::" + peer->volume).has_value(), "a peer can be read again");
  if (auto who = parse_common_name(text))
    require(fmt::format("{}:{}", to_string(who->role), who->name) == text, "a common name has one text");
  static_cast<void>(parse_op_kind(text));
  static_cast<void>(parse_spread(text));
  static_cast<void>(find_volume_option(text));
}

}  // namespace polder::fuzz
