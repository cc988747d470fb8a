// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/mount/mount_dump.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "base/process_facts.h"

namespace polder {

namespace {

constexpr std::size_t kListed = 1000;

double in_seconds(nanoseconds time) {
  return std::chrono::duration<double>(time).count();
}

std::string connection_text(const RpcClientStatus& status) {
  auto out = fmt::format(
      "\n[connection]\nconnected={}\nendpoint={}\nsession={}\nvolume={}\nvolume_incarnation={}\nread_only={}"
      "\n"
      "requests_in_flight={}\nopen_handles={}\nlocks={}\noutages={}\naway_s={:.1f}\nsilent_s={:.1f}\nlast_"
      "error={}\n",
      status.connected, status.endpoint, status.session, status.volume.hex(), status.volume_incarnation,
      status.read_only, status.requests, status.open_handles, status.locks, status.outages,
      in_seconds(status.away_for), in_seconds(status.silent_for), status.last_error);
  int number = 0;
  for (const auto& endpoint : status.endpoints) out += fmt::format("endpoint.{}={}\n", ++number, endpoint);
  return out;
}

std::string calls_text(const RpcClient& client) {
  std::string out;
  int number = 0;
  for (const auto& call : client.calls(kListed)) {
    out += fmt::format("\n[call.{}]\nop={}\nage_s={:.3f}\nsequence={}\nsent={}\ncancelled={}\n", ++number,
                       call.operation, in_seconds(call.age), call.sequence, call.sent, call.cancelled);
  }
  return out;
}

std::string fuse_text(const FuseServer& server) {
  const auto stats = server.stats();
  auto out = fmt::format(
      "\n[fuse]\nrequests={}\nobjects={}\nlookups={}\nopen_files={}\ninvalidations={}\n\n[inode]\ncount={}\n",
      stats.requests, stats.objects, stats.lookups, stats.open_files, stats.invalidations, stats.objects);
  const auto objects = server.objects(kListed);
  out += fmt::format("left_out={}\n", stats.objects + 1 - std::min(stats.objects + 1, objects.size()));
  for (const auto& object : objects) {
    out += fmt::format("{}=lookups:{},mode:{:o},open:{}\n", object.gfid.hex(), object.lookups, object.mode,
                       object.open_files);
  }
  return out;
}

std::string cache_text(const CacheLayer* cache) {
  if (cache == nullptr) return {};
  const auto stats = cache->stats();
  return fmt::format("\n[leases]\nobjects={}\nnames={}\nlookups={}\nabsent={}\ngetattrs={}\nrecalls={}\n",
                     stats.objects, stats.names, stats.lookups, stats.absent, stats.getattrs, stats.recalls);
}

std::string memory_text() {
  const auto facts = process_facts();
  return fmt::format(
      "\n[mem]\nresident_bytes={}\npeak_resident_bytes={}\nheap_used_bytes={}\nheap_free_bytes={}\nmapped_"
      "bytes={}\n"
      "open_fds={}\nthreads={}\ncpu_s={:.2f}\n",
      facts.resident_bytes, facts.peak_resident_bytes, facts.heap_used_bytes, facts.heap_free_bytes,
      facts.mapped_bytes, facts.open_fds, facts.threads, facts.cpu_seconds);
}

}  // namespace

std::string dump_text(const MountDump& dump, const RpcClient& client, const CacheLayer* cache,
                      const FuseServer& server) {
  auto out = fmt::format(
      "[global]\nprogram=mount.polder\nversion={}\npid={}\nsource={}\ndirectory={}\nuptime_s={:.0f}\n",
      POLDER_VERSION, ::getpid(), dump.source, dump.directory, in_seconds(dump.now - dump.started));
  return out + memory_text() + connection_text(client.status()) + cache_text(cache) + fuse_text(server) +
         calls_text(client);
}

Result<std::string> write_mount_dump(Disk& disk, const MountDump& dump, const std::string& text,
                                     const std::string& directory) {
  auto made = disk.mkdir(Disk::kNoDir, directory, 0755);
  if (!made && !made.failed_with(EEXIST)) return std::move(made).error().with("make {}", directory);
  std::string name = dump.directory;
  std::ranges::replace(name, '/', '-');
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(dump.now).count();
  auto path = fmt::format("{}/mount{}.{}.dump.{}.{:03}", directory, name, ::getpid(), ms / 1000, ms % 1000);
  TRY(auto file,
      disk.open(Disk::kNoDir, path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600).with("make {}", path));
  TRY(disk.pwrite(file.fd(), as_bytes(text), 0).with("write {}", path));
  return path;
}

}  // namespace polder
