// SPDX-License-Identifier: GPL-3.0-or-later
// polderd: the node daemon. The world is made here; the daemon gets it as Seams.
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <csignal>
#include <thread>

#include "base/clock.h"
#include "base/concurrency.h"
#include "base/coro.h"
#include "base/disk.h"
#include "base/hlc.h"
#include "base/log.h"
#include "base/random.h"
#include "base/transport.h"
#include "base/workers.h"
#include "core-volume/rpc/loop.h"
#include "snapshot/backend/backend.h"
#include "tools/polderd/daemon.h"

namespace polder {
namespace {

struct Arguments {
  DaemonOptions daemon{.cluster = "default", .state_dir = "", .run_dir = "", .metrics_listen = ""};
  std::string log_level = "info";
  std::string log_file;
  unsigned workers = 16;
  unsigned busy_poll_us = 200;
  bool foreground = true;
};

void describe(CLI::App& app, Arguments& arguments) {
  app.add_option("--cluster", arguments.daemon.cluster,
                 "Name of the cluster on this machine (default: default)");
  app.add_option("--state-dir", arguments.daemon.state_dir,
                 "Durable state (default: /var/lib/polder/CLUSTER)");
  app.add_option("--run-dir", arguments.daemon.run_dir, "Sockets (default: /run/polder/CLUSTER)");
  app.add_option("--log-level", arguments.log_level, "debug, info, warning or error");
  app.add_option("--log-file", arguments.log_file, "Instead of standard error");
  app.add_option(
      "--metrics-listen", arguments.daemon.metrics_listen,
      "ADDRESS:PORT that serves /metrics without TLS, to everybody who can connect (default: none; "
      "administrators get /metrics from the admin API)");
  app.add_option("--workers", arguments.workers, "Threads for disk work")->check(CLI::Range(1, 256));
  app.add_option("--busy-poll", arguments.busy_poll_us, "Microseconds to look for more work before sleeping")
      ->check(CLI::Range(0, 10000));
  app.add_flag("--foreground", arguments.foreground, "Stay in the foreground (always so; for scripts)");
  app.footer("Example: polderd --cluster default\nThen: polder cluster init");
}

/// Tells systemd (Type=notify), when it started us.
void notify_systemd(std::string_view state) {
  const char* path = ::getenv("NOTIFY_SOCKET");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (!path || std::strlen(path) >= sizeof address.sun_path) return;
  std::strcpy(address.sun_path, path);
  if (address.sun_path[0] == '@') address.sun_path[0] = '\0';
  int fd = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return;
  auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + std::strlen(path));
  ::sendto(fd, state.data(), state.size(), MSG_NOSIGNAL, reinterpret_cast<sockaddr*>(&address), length);
  ::close(fd);
}

class Process {
 public:
  explicit Process(const Arguments& arguments) : arguments_(arguments) {}

  int run() {
    TaskGroup tasks("root");
    tasks.spawn(context_.get_executor(), main());
    run_loop(context_, std::chrono::microseconds(arguments_.busy_poll_us));
    return status_;
  }

 private:
  /// Until a signal ends it. SIGUSR1 is answered with a statedump.
  Task<void> serve(asio::signal_set& signals, Daemon& daemon) {
    for (;;) {
      boost::system::error_code failure;
      auto signal = co_await signals.async_wait(asio::redirect_error(asio::use_awaitable, failure));
      if (failure || signal != SIGUSR1) co_return;
      auto dumped = co_await dump_all(daemon);
      if (dumped)
        log::info("statedump: {}", *dumped);
      else
        log::error("statedump: {}", dumped.error().message());
    }
  }

  Task<void> main() {
    asio::signal_set signals(context_, SIGTERM, SIGINT, SIGUSR1);
    Daemon daemon(seams_, *backends_, context_.get_executor(), arguments_.daemon);
    auto started = co_await daemon.start();
    if (started) {
      log::info("polderd is ready: cluster {}, state {}, sockets {}", arguments_.daemon.cluster,
                arguments_.daemon.state_dir, arguments_.daemon.run_dir);
      notify_systemd("READY=1");
      co_await serve(signals, daemon);
      log::info("stopping");
      notify_systemd("STOPPING=1");
    } else {
      log::error("polderd cannot start: {}", started.error().message());
      status_ = 1;
    }
    // A second signal ends at once: everything is safe against that.
    signals.cancel();
    signals.clear();
    co_await daemon.stop();
  }

  const Arguments& arguments_;
  asio::io_context context_{1};
  std::unique_ptr<Clock> clock_ = make_system_clock();
  std::unique_ptr<Random> random_ = make_system_random();
  std::unique_ptr<Disk> disk_ = make_kernel_disk();
  std::unique_ptr<Transport> transport_ = make_socket_transport();
  std::unique_ptr<Workers> workers_ = make_thread_workers(arguments_.workers);
  HlcClock hlc_{*clock_};
  Seams seams_{*clock_, *random_, *disk_, *transport_, *workers_, hlc_};
  std::unique_ptr<SnapshotBackends> backends_ =
      make_system_snapshot_backends(arguments_.daemon.run_dir + "/commands.lock");
  int status_ = 0;
};

Result<void> complete(Arguments& arguments) {
  TRY(check_name("cluster name", arguments.daemon.cluster));
  if (arguments.daemon.state_dir.empty())
    arguments.daemon.state_dir = "/var/lib/polder/" + arguments.daemon.cluster;
  if (arguments.daemon.run_dir.empty()) arguments.daemon.run_dir = "/run/polder/" + arguments.daemon.cluster;
  if (!arguments.daemon.metrics_listen.empty()) {
    TRY(auto endpoint, Endpoint::parse(arguments.daemon.metrics_listen).with("--metrics-listen"));
    if (endpoint.kind != Endpoint::Kind::kTls)
      return Error(EINVAL).with("--metrics-listen: ADDRESS:PORT expected");
  }
  log::Level level{};
  if (!log::parse_level(arguments.log_level, level)) {
    return Error(EINVAL).with("--log-level {}: debug, info, warning or error", arguments.log_level);
  }
  log::configure("polderd", level, arguments.log_file);
  return {};
}

int run_polderd(int argc, char** argv) {
  CLI::App app("Polder's node daemon", "polderd");
  app.set_version_flag("--version", std::string("polderd ") + POLDER_VERSION);
  Arguments arguments;
  describe(app, arguments);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  if (auto done = complete(arguments); !done) {
    fmt::print(stderr, "polderd: {}\n", done.error().message());
    return 2;
  }
  ::signal(SIGPIPE, SIG_IGN);
  ::umask(022);
  return Process(arguments).run();
}

}  // namespace
}  // namespace polder

int main(int argc, char** argv) {
  return polder::run_polderd(argc, argv);
}
