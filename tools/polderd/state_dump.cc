// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/polderd/state_dump.h"

#include <algorithm>

#include "core-volume/cluster/units.h"
#include "tools/polderd/readable.h"

namespace polder {

namespace {

double in_seconds(nanoseconds time) {
  return std::chrono::duration<double>(time).count();
}

std::string_view type_of(const FileLock& lock) {
  return lock.type == FileLock::Type::kRead ? "read" : "write";
}

void add_left_out(json::object& section, std::size_t all, std::size_t listed) {
  section["count"] = all;
  section["left_out"] = all - listed;
}

json::object dump_calls(StatsLayer& stats) {
  json::array calls;
  for (const auto& call : stats.under_way(kListed)) {
    json::object one{{"op", to_string(call.kind)},
                     {"age_s", in_seconds(call.age)},
                     {"session", call.session},
                     {"uid", call.uid},
                     {"pid", call.pid}};
    if (!call.gfid.is_nil()) one["gfid"] = call.gfid.hex();
    calls.push_back(std::move(one));
  }
  json::object section;
  add_left_out(section, stats.under_way_count(), calls.size());
  section["calls"] = std::move(calls);
  return section;
}

json::object dump_handles(OrderingLayer& ordering) {
  json::array handles;
  for (const auto& open : ordering.open_files().list(kListed)) {
    handles.push_back(
        json::object{{"session", open.session}, {"handle", open.handle}, {"gfid", open.gfid.hex()}});
  }
  json::object section;
  add_left_out(section, ordering.open_handles(), handles.size());
  section["handles"] = std::move(handles);
  return section;
}

json::object dump_caches(Brick& brick) {
  return {{"open_objects", brick.ordering().open_files().objects()},
          {"orphans", brick.ordering().orphans()},
          {"name_hints", brick.ordering().name_hints()},
          {"retries_kept", brick.ordering().retries_kept()}};
}

json::object dump_locks(LocksLayer& locks) {
  json::array list;
  for (const auto& [gfid, held, waits] : locks.list(kListed)) {
    const auto& lock = held.lock;
    json::object one{{"gfid", gfid.hex()},
                     {"state", waits ? "waiting" : "held"},
                     {"kind", lock.kind == FileLock::Kind::kPosix ? "posix" : "flock"},
                     {"type", type_of(lock)},
                     {"start", lock.start},
                     {"end", lock.end},
                     {"session", held.owner.session},
                     {"owner", held.owner.owner},
                     {"pid", lock.pid}};
    if (lock.end == UINT64_MAX) one["end"] = "EOF";
    list.push_back(std::move(one));
  }
  json::object section{{"held", locks.locks_held()}, {"waiting", locks.waiting()}};
  section["grace_left_s"] = in_seconds(locks.grace_left());
  add_left_out(section, locks.locks_held() + locks.waiting(), list.size());
  section["locks"] = std::move(list);
  return section;
}

json::object dump_journal(Brick& brick, const BrickReport& report) {
  json::array cursors;
  for (const auto& cursor : report.cursors) {
    cursors.push_back(
        json::object{{"name", cursor.name},
                     {"index", cursor.index},
                     {"lag_records", report.stable_index - std::min(report.stable_index, cursor.index)},
                     {"must_rescan", cursor.must_rescan}});
  }
  auto& barrier = brick.barrier();
  return {{"first_index", report.first_index},   {"appended_index", report.appended_index},
          {"stable_index", report.stable_index}, {"applied_index", report.applied_index},
          {"bytes", report.changelog_bytes},     {"segments", report.changelog_segments},
          {"barrier_up", barrier.is_up()},       {"changes_in_flight", barrier.in_flight()},
          {"changes_held", barrier.held()},      {"cursors", std::move(cursors)}};
}

json::object dump_history(StatsLayer& stats) {
  json::object section;
  for (const auto& info : kOpTable) {
    const auto& op = stats.counters().of(info.kind);
    if (op.count == 0) continue;
    section[std::string(info.name)] =
        json::object{{"count", op.count},
                     {"errors", op.errors},
                     {"bytes", op.bytes},
                     {"average_us", static_cast<double>(op.total_ns) / 1e3 / static_cast<double>(op.count)},
                     {"p99_us", static_cast<double>(op.latency.quantile(0.99)) / 1e3}};
  }
  return section;
}

/// Names come from clients: a line of a dump stays one line.
std::string one_line(std::string_view text) {
  std::string out(text);
  std::ranges::replace_if(out, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, '?');
  return out;
}

void append(std::string& out, const std::string& section, const json::object& object);

void append_list(std::string& out, const std::string& section, const json::array& list) {
  int number = 0;
  for (const auto& item : list) {
    const auto name = fmt::format("{}.{}", section, ++number);
    if (item.is_object()) {
      append(out, name, item.get_object());
    } else {
      out += fmt::format("\n[{}]\nvalue={}\n", name, json::text(item));
    }
  }
}

/// Own values first, then one section for each object or list inside.
void append(std::string& out, const std::string& section, const json::object& object) {
  out += fmt::format("\n[{}]\n", section);
  for (const auto& field : object) {
    const auto& value = field.value();
    if (value.is_object() || value.is_array()) continue;
    auto text = value.is_string() ? one_line(value.get_string()) : json::text(value);
    if (value.is_double()) text = fmt::format("{:.3f}", value.get_double());
    out += fmt::format("{}={}\n", std::string_view(field.key()), text);
  }
  for (const auto& field : object) {
    const auto name = fmt::format("{}.{}", section, std::string_view(field.key()));
    if (field.value().is_object()) append(out, name, field.value().get_object());
    if (field.value().is_array()) append_list(out, name, field.value().get_array());
  }
}

}  // namespace

bool is_dump_section(std::string_view name) {
  return std::ranges::find(kDumpSections, name) != std::end(kDumpSections);
}

json::object to_json(const ProcessFacts& facts) {
  return {{"resident_bytes", facts.resident_bytes},
          {"peak_resident_bytes", facts.peak_resident_bytes},
          {"virtual_bytes", facts.virtual_bytes},
          {"heap_used_bytes", facts.heap_used_bytes},
          {"heap_free_bytes", facts.heap_free_bytes},
          {"mapped_bytes", facts.mapped_bytes},
          {"open_fds", facts.open_fds},
          {"max_fds", facts.max_fds},
          {"threads", facts.threads},
          {"cpu_s", facts.cpu_seconds}};
}

json::object to_json(const RpcClientInfo& client) {
  json::object out{{"session", client.session},
                   {"client", readable(client.client_name)},
                   {"version", readable(client.client_version)},
                   {"owner", readable(client.owner)},
                   {"role", to_string(client.role)},
                   {"address", client.address},
                   {"connected", client.connected},
                   {"connected_since", ""},
                   {"requests", client.requests},
                   {"requests_total", client.requests_total},
                   {"bytes_read", client.bytes_read},
                   {"bytes_written", client.bytes_written},
                   {"held_bytes", client.held_bytes},
                   {"queued_bytes", client.queued_bytes},
                   {"replies_kept", client.replies_kept},
                   {"notices_waiting", client.notices_waiting}};
  if (client.connected) out["connected_since"] = format_time(client.connected_ns);
  return out;
}

void add_report(json::object& brick, const BrickReport& report) {
  const auto& space = report.space;
  brick["total_bytes"] = space.blocks * space.block_size;
  brick["free_bytes"] = space.blocks_free * space.block_size;
  brick["available_bytes"] = space.blocks_available * space.block_size;
  brick["inodes"] = space.files;
  brick["inodes_free"] = space.files_free;
  brick["file_system"] = report.file_system.type;
  brick["device"] = report.file_system.device;
  brick["mount_point"] = report.file_system.mount_point;
  brick["mount_options"] = report.file_system.mount_options;
  brick["inode_size"] = nullptr;
  if (report.file_system.inode_size > 0) brick["inode_size"] = report.file_system.inode_size;
  brick["changelog_first"] = report.first_index;
  brick["changelog_appended"] = report.appended_index;
  brick["changelog_stable"] = report.stable_index;
  brick["changelog_applied"] = report.applied_index;
  brick["changelog_bytes"] = report.changelog_bytes;
  brick["changelog_segments"] = report.changelog_segments;
}

json::object dump_brick(std::string_view section, RunningBrick brick, const BrickReport& report) {
  if (section == "callpool") return dump_calls(brick.brick->stats());
  if (section == "fd") return dump_handles(brick.brick->ordering());
  if (section == "inode") return dump_caches(*brick.brick);
  if (section == "locks") return dump_locks(brick.brick->locks());
  if (section == "journal") return dump_journal(*brick.brick, report);
  if (section == "history") return dump_history(brick.brick->stats());
  return {};
}

json::object dump_buffers(const std::vector<RpcClientInfo>& clients) {
  std::size_t held = 0, queued = 0, replies = 0;
  for (const auto& client : clients) {
    held += client.held_bytes;
    queued += client.queued_bytes;
    replies += client.replies_kept;
  }
  return {{"held_bytes", held}, {"queued_bytes", queued}, {"replies_kept", replies}};
}

json::object dump_leases(const LeaseNumbers& numbers) {
  return {{"leases", numbers.leases},
          {"granted", numbers.granted},
          {"recalls", numbers.recalls},
          {"recalls_unanswered", numbers.unanswered}};
}

std::string dump_text(const json::object& dump) {
  std::string out;
  for (const auto& field : dump) {
    const std::string name(field.key());
    if (field.value().is_object()) append(out, name, field.value().get_object());
    if (field.value().is_array()) append_list(out, name, field.value().get_array());
  }
  return out;
}

}  // namespace polder
