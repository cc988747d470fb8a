// SPDX-License-Identifier: GPL-3.0-or-later
// What mount(8) gives to mount.polder, and what the kernel says of mounts.
#include "snapshot/backend/mounts.h"
#include "tests/fuzz/fuzz.h"
#include "tools/mount/mount_request.h"

namespace polder::fuzz {

POLDER_FUZZ_TARGET(mount) {
  for (const auto& mount : parse_mountinfo(as_text(input)))
    require(mount.target.size() <= input.size(), "a mount point is part of the line");
  Input in(input);
  const auto source = in.text_until('\n');
  const auto options = in.text_until('\n');
  auto request = parse_mount_request(source, "/", options, !in.empty(), "/nonexistent");
  if (!request) return;
  require(!request->endpoints.empty() && !request->volume.empty(), "a request names a server and a volume");
  static_cast<void>(request->needs_certificate());
}

}  // namespace polder::fuzz
