// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/mount/mounted_volume.h"

#include <malloc.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <csignal>
#include <fstream>
#include <optional>
#include <sstream>

#include "base/clock.h"
#include "base/concurrency.h"
#include "base/coro.h"
#include "base/disk.h"
#include "base/hlc.h"
#include "base/log.h"
#include "base/on_worker.h"
#include "base/random.h"
#include "base/workers.h"
#include "core-volume/client/cache/cache_layer.h"
#include "core-volume/client/fuse/fuse_server.h"
#include "core-volume/rpc/client.h"
#include "core-volume/rpc/loop.h"
#include "tools/mount/mount_dump.h"

namespace polder {

namespace {

constexpr std::chrono::seconds kGrace(3);  // for applications to close their files after SIGTERM

Result<std::string> read_pem(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  if (!file) {
    return Error(errno != 0 ? errno : EIO)
        .with(
            "this machine may not mount yet: {}; type: polder client join, or name a directory with "
            "ca.pem, cert.pem and key.pem by -o client-dir=",
            path);
  }
  return text.str();
}

Result<std::shared_ptr<const TlsIdentity>> load_identity(const MountRequest& request) {
  if (!request.needs_certificate()) return std::shared_ptr<const TlsIdentity>();
  auto identity = std::make_shared<TlsIdentity>();
  TRY(identity->trusted_ca_pem, read_pem(request.client_dir + "/ca.pem"));
  TRY(identity->certificate_pem, read_pem(request.client_dir + "/cert.pem"));
  TRY(identity->key_pem, read_pem(request.client_dir + "/key.pem"));
  return std::shared_ptr<const TlsIdentity>(std::move(identity));
}

/// The directory of the volume that `path` ("a/b") names.
Task<Result<Gfid>> find_directory(FileOps& volume, std::string_view path) {
  const OpContext context;
  Gfid at = Gfid::root();
  while (!path.empty()) {
    const std::string_view name = path.substr(0, path.find('/'));
    path.remove_prefix(std::min(name.size() + 1, path.size()));
    if (name.empty()) continue;
    auto attr = co_await volume.lookup(context, at, name);
    if (!attr) co_return std::move(attr.error()).with("subdirectory {}", name);
    if (!attr->is_directory()) co_return Error(ENOTDIR).with("subdirectory {}", name);
    at = attr->gfid;
  }
  co_return at;
}

class Mount {
 public:
  Mount(const MountRequest& request, Report& report, asio::io_context& loop)
      : request_(request), report_(report), executor_(loop.get_executor()) {}

  Task<void> run() {
    auto served = co_await serve();
    if (!served) exit_status_ = report_.failed(kMountFailed, sentence(served.error()));
  }
  int exit_status() const { return exit_status_; }

 private:
  Task<Result<void>> serve() {
    CO_TRY(auto identity, load_identity(request_));
    RpcClient client(seams_, executor_, client_options(std::move(identity)));
    CO_TRY(co_await client.start());
    auto served = co_await serve_connected(client);
    co_await client.stop();
    co_return served;
  }

  Task<Result<void>> serve_connected(RpcClient& client) {
    CO_TRY(const Gfid root, co_await find_directory(client, request_.subdir));
    FuseOptions options{.mountpoint = request_.directory,
                        .source = request_.source,
                        .mount_flags = request_.mount_flags,
                        .root = root,
                        .attributes = &client};
    if (client.status().read_only) {
      log::info("volume {} is read-only; so is the mount", request_.volume);
      options.mount_flags |= MS_RDONLY;
    }
    std::optional<CacheLayer> cache;
    if (request_.leases) cache.emplace(client, client);
    options.forgotten = [&cache] {
      if (cache) cache->clear();
      malloc_trim(0);
    };
    FileOps& volume = cache ? static_cast<FileOps&>(*cache) : client;
    FuseServer server(volume, &client, *clock_, options);
    CO_TRY(server.mount());
    log::info("{} mounted at {} through {}", request_.source, request_.directory, client.status().endpoint);
    asio::signal_set signals(executor_, SIGTERM, SIGINT);
    TaskGroup tasks("mount.polder");
    asio::signal_set dump_signals(executor_, SIGUSR1);
    tasks.spawn(executor_, end_on_signals(signals, server));
    tasks.spawn(executor_, dump_on_signals(dump_signals, client, cache ? &*cache : nullptr, server));
    report_.ready();
    auto ended = co_await server.run();
    signals.cancel();
    dump_signals.cancel();
    co_await tasks.wait_idle();
    log::info("{} unmounted from {}", request_.source, request_.directory);
    co_return ended;
  }

  Task<void> end_on_signals(asio::signal_set& signals, FuseServer& server) {
    boost::system::error_code failure;
    co_await signals.async_wait(asio::redirect_error(asio::use_awaitable, failure));
    if (failure) co_return;
    log::info("told to end; a second signal does not wait for open files");
    signals.async_wait([this](boost::system::error_code cancelled, int) {
      if (cancelled) return;
      umount2(request_.directory.c_str(), MNT_DETACH);
      log::warning("ended at once");
      _exit(kMountFailed);
    });
    auto stopped = co_await server.stop(kGrace);
    if (!stopped) log::error("{}", stopped.error().message());
  }

  Task<void> dump_on_signals(asio::signal_set& signals, RpcClient& client, const CacheLayer* cache,
                             FuseServer& server) {
    for (;;) {
      boost::system::error_code failure;
      co_await signals.async_wait(asio::redirect_error(asio::use_awaitable, failure));
      if (failure) co_return;
      const MountDump dump{request_.source, request_.directory, started_, clock_->wall_time()};
      const auto text = dump_text(dump, client, cache, server);
      auto path = co_await on_worker(*workers_, [&] { return write_mount_dump(*disk_, dump, text); });
      if (path)
        log::info("statedump: {}", *path);
      else
        log::error("statedump: {}", path.error().message());
    }
  }

  RpcClientOptions client_options(std::shared_ptr<const TlsIdentity> identity) const {
    char host[256] = "";
    gethostname(host, sizeof host - 1);
    RpcClientOptions options;
    options.endpoints = request_.endpoints;
    options.identity = std::move(identity);
    options.volume = request_.volume;
    options.client_name = fmt::format("{}:{}", host, request_.directory);
    options.client_version = POLDER_VERSION;
    options.hard = request_.hard;
    options.soft_timeout = request_.soft_timeout;
    return options;
  }

  std::string sentence(const Error& error) const {
    return fmt::format("{} was not mounted at {}: {}", request_.source, request_.directory, error.message());
  }

  const MountRequest& request_;
  Report& report_;
  const asio::any_io_executor executor_;
  int exit_status_ = 0;
  std::unique_ptr<Clock> clock_ = make_system_clock();
  const nanoseconds started_ = clock_->wall_time();
  std::unique_ptr<Random> random_ = make_system_random();
  std::unique_ptr<Disk> disk_ = make_kernel_disk();
  std::unique_ptr<Transport> transport_ = make_socket_transport();
  std::unique_ptr<Workers> workers_ = make_thread_workers(1);
  HlcClock hlc_{*clock_};
  Seams seams_{*clock_, *random_, *disk_, *transport_, *workers_, hlc_};
};

}  // namespace

int serve_mount(const MountRequest& request, Report& report) {
  signal(SIGPIPE, SIG_IGN);
  // The kernel may ask us to write pages back so that it gets memory: our own allocations must not wait for
  // that.
  prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
  asio::io_context loop(1);
  Mount mount(request, report, loop);
  TaskGroup tasks("mount");
  tasks.spawn(loop.get_executor(), mount.run());
  run_loop(loop, request.busy_poll);
  return mount.exit_status();
}

}  // namespace polder
