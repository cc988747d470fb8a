// SPDX-License-Identifier: GPL-3.0-or-later
// StateDump: what this process holds, by section: for `volume status VOL fd|inode|mem|callpool` and for
// statedumps. Lists are cut at kListed entries, so that a dump never keeps the loop for long.
#pragma once
#include <string>

#include "base/process_facts.h"
#include "core-volume/cluster/json_fields.h"
#include "core-volume/layer/leases.h"
#include "tools/polderd/brick_report.h"

namespace polder {

/// How many entries of one list are shown; "left_out" says how many are not.
inline constexpr std::size_t kListed = 1000;

/// The sections of a volume's dump. Names are GlusterFS's where it has the thing.
inline constexpr std::string_view kDumpSections[] = {"mem",   "iobuf", "callpool", "fd",
                                                     "inode", "locks", "journal",  "history"};
bool is_dump_section(std::string_view name);

json::object to_json(const ProcessFacts& facts);
json::object to_json(const RpcClientInfo& client);
/// Space, file system and log, as in `volume status`.
void add_report(json::object& brick, const BrickReport& report);

/// One section of one running brick; an empty object for a section that is not the brick's (mem, iobuf,
/// leases).
json::object dump_brick(std::string_view section, RunningBrick brick, const BrickReport& report);
/// Bytes held for clients and for the sockets.
json::object dump_buffers(const std::vector<RpcClientInfo>& clients);
json::object dump_leases(const LeaseNumbers& numbers);

/// For people, in the style of GlusterFS's dumps: [section] and name=value, one line each.
std::string dump_text(const json::object& dump);

}  // namespace polder
