// SPDX-License-Identifier: GPL-3.0-or-later
// Values of system.posix_acl_*: from any client, and from the brick's file system.
#include "core-volume/layer/posix_acl.h"
#include "tests/fuzz/fuzz.h"

namespace polder::fuzz {

POLDER_FUZZ_TARGET(acl) {
  Input in(input);
  auto mode = in.number<std::uint32_t>();
  auto acl = parse_acl(in.text());
  if (!acl || !*acl) return;
  auto same = [](const Acl& one) {
    auto again = parse_acl(build_acl(one));
    return again && *again == one;
  };
  require(same(**acl), "an ACL that was read can be written and read");
  require(same(acl_after_chmod(**acl, mode)), "chmod keeps an ACL valid");
  require(acl_after_chmod(**acl, mode).mode_bits() == (mode & 0777), "chmod sets the mode's bits");
  require(same(acl_for_new_object(**acl, mode)), "what is inherited is valid");
}

}  // namespace polder::fuzz
