// SPDX-License-Identifier: GPL-3.0-or-later
// GET /metrics: what this node does, for Prometheus. Gathered when it is asked for; between two scrapes it
// costs nothing. The table of all names is in docs/admin.md.
#include <cstring>

#include "base/clock.h"
#include "base/coro.h"
#include "base/on_worker.h"
#include "base/process_facts.h"
#include "tools/polderd/brick_report.h"
#include "tools/polderd/daemon.h"
#include "tools/polderd/metrics_page.h"

namespace polder {

namespace {

using Labels = MetricsPage::Labels;

double number(const json::object& from, std::string_view name) {
  const auto* value = from.if_contains(name);
  return value == nullptr || !value->is_number() ? 0 : value->to_number<double>();
}

std::string text(const json::object& from, std::string_view name) {
  return json::string_field_or(from, name, "").value_or("");
}

std::string errno_symbol(int code) {
  const char* name = ::strerrorname_np(code);
  return name == nullptr ? std::to_string(code) : name;
}

Labels with(Labels labels, std::string name, std::string value) {
  labels.emplace_back(std::move(name), std::move(value));
  return labels;
}

void add_process(MetricsPage& page, const Daemon& daemon, const ProcessFacts& facts) {
  page.gauge("polder_build_info", "The version that runs here.", {{"version", POLDER_VERSION}}, 1);
  page.gauge("polder_degraded_reasons", "Sentences of 'polder cluster status' that say what does not work.",
             {}, static_cast<double>(daemon.degraded().size()));
  page.gauge("process_start_time_seconds", "When polderd started, as seconds since the epoch.", {},
             static_cast<double>(daemon.started_ns()) / 1e9);
  page.counter("process_cpu_seconds_total", "User and system time of polderd.", {}, facts.cpu_seconds);
  page.gauge("process_resident_memory_bytes", "Memory that polderd occupies.", {},
             static_cast<double>(facts.resident_bytes));
  page.gauge("process_virtual_memory_bytes", "Address space of polderd.", {},
             static_cast<double>(facts.virtual_bytes));
  page.gauge("process_open_fds", "Open file descriptors.", {}, static_cast<double>(facts.open_fds));
  page.gauge("process_max_fds", "Limit of open file descriptors.", {}, static_cast<double>(facts.max_fds));
  page.gauge("process_threads", "Threads of polderd.", {}, static_cast<double>(facts.threads));
}

void add_operations(MetricsPage& page, const Labels& brick, StatsLayer& stats) {
  const auto& counters = stats.counters();
  for (const auto& info : kOpTable) {
    const auto& op = counters.of(info.kind);
    if (op.count == 0) continue;  // kinds that nobody uses would be most of the page
    const auto labels = with(brick, "op", std::string(info.name));
    page.counter("polder_brick_operations_total", "Operations that ended, failed ones included.", labels,
                 static_cast<double>(op.count));
    page.latency("polder_brick_operation_duration_seconds", "Time inside the brick.", labels, op.latency,
                 op.total_ns);
    if (info.kind == OpKind::kRead || info.kind == OpKind::kWrite || info.kind == OpKind::kCopyRange) {
      page.counter("polder_brick_operation_bytes_total", "Bytes that reads, writes and copies moved.", labels,
                   static_cast<double>(op.bytes));
    }
    for (const auto& failed : op.by_errno) {
      if (failed.count == 0) continue;
      page.counter("polder_brick_operation_errors_total",
                   "Operations that failed. ENOENT of lookup and the like are ordinary answers.",
                   with(labels, "errno", failed.code < 0 ? "other" : errno_symbol(failed.code)),
                   static_cast<double>(failed.count));
    }
  }
  const auto oldest = stats.under_way(1);
  page.gauge("polder_brick_operations_in_flight", "Operations under way, waits for locks included.", brick,
             static_cast<double>(stats.under_way_count()));
  page.gauge("polder_brick_oldest_operation_seconds", "Age of the oldest operation under way.", brick,
             oldest.empty() ? 0 : std::chrono::duration<double>(oldest.front().age).count());
}

void add_changelog(MetricsPage& page, const Labels& brick, const BrickReport& report) {
  auto gauge = [&](const char* name, const char* help, std::uint64_t value) {
    page.gauge(name, help, brick, static_cast<double>(value));
  };
  gauge("polder_changelog_first_index", "Oldest record still kept.", report.first_index);
  page.counter("polder_changelog_records_total", "Records appended ever: the index of the newest.", brick,
               static_cast<double>(report.appended_index));
  gauge("polder_changelog_stable_index", "Every record up to here survives a power loss.",
        report.stable_index);
  gauge("polder_changelog_applied_index", "Every record up to here is applied.", report.applied_index);
  gauge("polder_changelog_bytes", "Space that the changelog takes.", report.changelog_bytes);
  gauge("polder_changelog_segments", "Files of the changelog.", report.changelog_segments);
  for (const auto& cursor : report.cursors) {
    const auto labels = with(brick, "cursor", cursor.name);
    const auto behind = report.stable_index - std::min(report.stable_index, cursor.index);
    page.gauge("polder_changelog_cursor_lag_records", "Stable records that this consumer has yet to see.",
               labels, static_cast<double>(behind));
    page.gauge("polder_changelog_cursor_must_rescan", "1: what it had not seen yet is gone.", labels,
               cursor.must_rescan ? 1 : 0);
  }
}

void add_brick(MetricsPage& page, const Labels& labels, Brick& brick, const BrickReport& report) {
  add_operations(page, labels, brick.stats());
  add_changelog(page, labels, report);
  auto gauge = [&](const char* name, const char* help, std::uint64_t value) {
    page.gauge(name, help, labels, static_cast<double>(value));
  };
  const auto& space = report.space;
  gauge("polder_brick_size_bytes", "Size of the brick's file system.", space.blocks * space.block_size);
  gauge("polder_brick_available_bytes", "Of that, what can still be used.",
        space.blocks_available * space.block_size);
  gauge("polder_brick_inodes", "Inodes of the brick's file system; 0: it makes them as needed.", space.files);
  gauge("polder_brick_inodes_free", "Of these, free.", space.files_free);
  gauge("polder_brick_open_handles", "Files that clients have open.", brick.ordering().open_handles());
  gauge("polder_brick_locks_held", "POSIX locks and flocks held.", brick.locks().locks_held());
  gauge("polder_brick_locks_waiting", "Requests that wait for a lock.", brick.locks().waiting());
  gauge("polder_brick_barrier_up", "1: a snapshot is being taken, changes wait.", brick.barrier().is_up());
  gauge("polder_brick_changes_held", "Changes that wait at the barrier.", brick.barrier().held());
}

void add_clients(MetricsPage& page, const std::string& volume, const std::vector<RpcClientInfo>& clients) {
  double connected = 0, requests = 0, held = 0;
  for (const auto& client : clients) {
    connected += client.connected ? 1 : 0;
    requests += static_cast<double>(client.requests);
    held += static_cast<double>(client.held_bytes);
  }
  const Labels labels{{"volume", volume}};
  page.gauge("polder_volume_sessions", "Sessions of clients, those that are away for now included.", labels,
             static_cast<double>(clients.size()));
  page.gauge("polder_volume_clients_connected", "Clients that are connected.", labels, connected);
  page.gauge("polder_volume_requests_in_flight", "Requests of clients being served.", labels, requests);
  page.gauge("polder_volume_requests_held_bytes", "Memory held for these.", labels, held);
}

void add_leases(MetricsPage& page, const Labels& volume, const LeaseNumbers& numbers) {
  page.gauge("polder_volume_leases", "Leases on names and attributes that clients have.", volume,
             static_cast<double>(numbers.leases));
  page.counter("polder_volume_leases_granted_total", "Since the volume was started.", volume,
               static_cast<double>(numbers.granted));
  page.counter("polder_volume_lease_recalls_total", "Leases asked back since the volume was started.", volume,
               static_cast<double>(numbers.recalls));
  page.counter("polder_volume_lease_recalls_unanswered_total", "Of these, those whose lease ended by time.",
               volume, static_cast<double>(numbers.unanswered));
}

Task<void> add_volume(MetricsPage& page, Daemon& daemon, const VolumeInfo& info) {
  const Labels labels{{"volume", info.name}};
  auto& volumes = daemon.node().volumes;
  auto use = volumes.use(info.name);
  page.gauge("polder_volume_started", "1: it should run.", labels,
             info.state == VolumeState::kStarted ? 1 : 0);
  page.gauge("polder_volume_running", "1: it runs here.", labels, use ? 1 : 0);
  if (!use) co_return;
  add_clients(page, info.name, volumes.rpc().clients(info.name));
  add_leases(page, labels, use->stack().leases().numbers());
  for (const auto& [spec, brick] : bricks_of(*use)) {
    const Labels of_brick{{"volume", info.name}, {"brick", spec->text()}};
    auto report = co_await report_brick(daemon.node().seams, *brick);
    page.gauge("polder_brick_up", "0: its disk does not even tell its size.", of_brick, report ? 1 : 0);
    if (report) add_brick(page, of_brick, *brick, *report);
  }
}

/// Another route of this daemon, as JSON: parts that are not this one's keep their numbers to themselves.
Task<json::object> ask(Daemon& daemon, std::string path) {
  AdminRequest request;
  request.method = "GET";
  request.path = std::move(path);
  request.peer.authenticated = true;
  request.peer.uid = 0;
  auto answer = co_await daemon.node().api.call(std::move(request));
  if (!answer) co_return json::object{};
  co_return answer->is_object() ? answer->get_object() : json::object{{"list", *answer}};
}

Task<void> add_georep(MetricsPage& page, Daemon& daemon) {
  auto answer = co_await ask(daemon, "/v1/georep");
  for (const auto& item : json::array_field(answer, "sessions").value_or(json::array{})) {
    const auto& session = item.as_object();
    const Labels labels{{"volume", text(session, "volume")},
                        {"session", text(session, "session")},
                        {"side", text(session, "side")},
                        {"peer", text(session, "peer")}};
    page.gauge("polder_georep_state", "1 for the state that the session is in.",
               with(labels, "state", text(session, "status")), 1);
    if (!session.contains("lag_s")) continue;
    page.gauge("polder_georep_lag_seconds", "Age of the oldest stable change that is not on the secondary.",
               labels, number(session, "lag_s"));
    page.gauge("polder_georep_queued_records", "Records that have yet to be applied there.", labels,
               number(session, "queued_records"));
    page.gauge("polder_georep_exact", "1: the secondary shows one moment of this volume.", labels,
               session.at("exact").as_bool() ? 1 : 0);
    page.counter("polder_georep_shipped_bytes_total", "Sent since polderd started.", labels,
                 number(session, "shipped_bytes"));
    page.counter("polder_georep_received_bytes_total", "Received since polderd started.", labels,
                 number(session, "received_bytes"));
  }
}

Task<void> add_snapshots(MetricsPage& page, Daemon& daemon, const std::vector<std::string>& volumes) {
  std::map<std::string, double> counts;
  for (const auto& volume : volumes) counts[volume] = 0;
  auto answer = co_await ask(daemon, "/v1/snapshots");
  for (const auto& item : json::array_field(answer, "list").value_or(json::array{})) {
    counts[text(item.as_object(), "volume")] += 1;
  }
  for (const auto& [volume, count] : counts) {
    page.gauge("polder_snapshots", "Snapshots of the volume.", {{"volume", volume}}, count);
  }
}

Task<Result<AdminText>> metrics(Daemon& daemon) {
  MetricsPage page;
  auto facts = co_await on_worker(daemon.node().seams.workers, process_facts);
  add_process(page, daemon, facts);
  if (daemon.identity().ready()) {
    const auto rpc = daemon.node().volumes.rpc().info();
    page.gauge("polder_rpc_connections", "Connections that speak the data protocol.", {},
               static_cast<double>(rpc.connections));
    page.gauge("polder_rpc_strangers", "Of these, those that have not said who they are yet.", {},
               static_cast<double>(rpc.strangers));
    CO_TRY(auto volumes, co_await list_volumes(daemon.node().store));
    std::vector<std::string> names;
    for (const auto& volume : volumes) {
      names.push_back(volume.value.name);
      co_await add_volume(page, daemon, volume.value);
    }
    co_await add_georep(page, daemon);
    co_await add_snapshots(page, daemon, names);
  }
  co_return AdminText{MetricsPage::kContentType, page.text()};
}

}  // namespace

void add_metrics_route(AdminApi& api, Daemon& daemon, AdminAccess access) {
  api.add_text("/metrics", [&daemon](const AdminRequest&) { return metrics(daemon); }, access);
}

}  // namespace polder
