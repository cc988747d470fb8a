// SPDX-License-Identifier: GPL-3.0-or-later
// MountRequest: what mount.polder was asked for, from its command line.
#pragma once
#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "base/result.h"
#include "base/transport.h"

namespace polder {

struct MountRequest {
  std::string source;               // HOST:/VOLUME[/SUBDIR] of the first host: what mount(8) and df show
  std::vector<Endpoint> endpoints;  // tried in turn
  std::string volume;
  std::string subdir;             // "a/b"; empty: the volume's root
  std::string directory;          // the mount point, absolute
  unsigned long mount_flags = 0;  // MS_*
  std::string client_dir = "/var/lib/polder/client";
  std::string log_file;  // empty: standard error
  log::Level log_level = log::Level::kInfo;
  bool hard = true;
  std::chrono::seconds soft_timeout{60};
  std::chrono::microseconds busy_poll{200};  // core-volume/rpc/loop.h
  bool leases = true;                        // names and attributes are kept while the server promises them
  bool foreground = false;

  bool needs_certificate() const;
};

/// `source`: HOST[:PORT][,HOST…]:/VOLUME[/SUBDIR], `options`: as after -o. `sloppy`: unknown options are
/// ignored. `run_root`: where daemons of this machine have their directories. EINVAL names what is wrong and
/// what to type.
Result<MountRequest> parse_mount_request(std::string_view source, std::string_view directory,
                                         std::string_view options, bool sloppy,
                                         const std::string& run_root = "/run/polder");

}  // namespace polder
