// SPDX-License-Identifier: GPL-3.0-or-later
// mount.polder: what mount(8) runs for "mount -t polder HOST:/VOLUME DIR".
#include <sys/statvfs.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <fstream>

#include "base/log.h"
#include "tools/mount/mounted_volume.h"

namespace {

using namespace polder;

constexpr int kWrongUsage = 1;  // mount(8)'s exit statuses
constexpr const char* kOptions = R"(Example: mount -t polder east1,east2:/data /mnt/data
In /etc/fstab: east1:/data /mnt/data polder _netdev,backup-volfile-servers=east2 0 0

Options (-o, comma separated):
  ro, noatime, nosuid, nodev, noexec, sync ...  as for any file system
  hard                   wait while no brick answers (default)
  soft[,timeout=S]       fail with ETIMEDOUT after S seconds (60)
  subdir=PATH            mount this directory of the volume; also HOST:/VOLUME/PATH
  backup-volfile-servers=HOST[:HOST...]   tried after the hosts named, at mount and after an outage; each may
                         be HOST:PORT; backupvolfile-server=HOST is the same for one
  cluster=NAME           the daemon of cluster NAME on this machine, through /run/polder/NAME/data.sock
  socket=PATH            the daemon on this machine that listens there
  client-dir=DIR         ca.pem, cert.pem, key.pem from "polder client join" (default /var/lib/polder/client)
  log-file=FILE          default /var/log/polder/mount-DIR.log; log-level=debug|info|warning|error
  busy-poll=US           look for events for US microseconds before sleeping (200; 0: never)
  leases=on|off          answer look-ups and attributes here while no other client changes them (on)
  foreground             do not become a daemon; log to standard error
  _netdev, nofail, x-... accepted

SIGUSR1 writes what the mount holds to /run/polder/mount-DIR.PID.dump.TIME.

localhost:/VOLUME without a port uses the data socket of the one daemon that runs here, if there is one.
Exit status: 0 mounted, 1 wrong usage, 2 system error, 32 not mounted.)";

struct CommandLine {
  std::string source, directory, type, name_space;
  std::vector<std::string> options;
  bool sloppy = false, fake = false, no_mtab = false, verbose = false;
};

std::string joined(const std::vector<std::string>& options) {
  std::string all;
  for (const std::string& option : options) all += (all.empty() ? "" : ",") + option;
  return all;
}

int refuse(int exit_status, const std::string& sentence) {
  fmt::print(stderr, "mount.polder: {}\n", sentence);
  return exit_status;
}

/// /mnt/a b → /var/log/polder/mount-mnt-a b.log
std::string default_log_file(const std::string& directory) {
  std::string name = directory;
  std::replace(name.begin(), name.end(), '/', '-');
  std::error_code ignored;
  std::filesystem::create_directories("/var/log/polder", ignored);
  return "/var/log/polder/mount" + name + ".log";
}

int run_daemon(const MountRequest& request, Report& report) {
  log::configure("mount.polder", request.log_level, request.log_file);
  return serve_mount(request, report);
}

/// The mount exists; does it answer?
int check_answer(const MountRequest& request) {
  struct statvfs st{};
  if (statvfs(request.directory.c_str(), &st) == 0) return 0;
  return refuse(kMountFailed,
                fmt::format("{} is mounted at {} but does not answer: {}; see {}", request.source,
                            request.directory, strerror(errno), request.log_file));
}

int mount(const CommandLine& line) {
  auto request = parse_mount_request(line.source, line.directory, joined(line.options), line.sloppy);
  if (!request) return refuse(kWrongUsage, request.error().message());
  if (geteuid() != 0) return refuse(kWrongUsage, "only root can mount; try: sudo mount -t polder ...");
  if (access("/dev/fuse", F_OK) != 0)
    return refuse(kMountFailed, "this kernel offers no /dev/fuse; try: modprobe fuse");
  if (request->log_file.empty() && !request->foreground)
    request->log_file = default_log_file(request->directory);
  if (line.verbose) {
    fmt::print("{} at {} through", request->source, request->directory);
    for (const Endpoint& endpoint : request->endpoints) fmt::print(" {}", endpoint.text());
    fmt::print("\n");
  }
  if (line.fake) return 0;
  std::fflush(nullptr);  // what is buffered must not be printed by both processes
  const int status =
      launch(request->foreground, [&](Report& report) { return run_daemon(*request, report); });
  return status != 0 || request->foreground ? status : check_answer(*request);
}

}  // namespace

int main(int argc, char** argv) {
  CommandLine line;
  CLI::App app("Mounts a Polder volume.", "mount.polder");
  app.footer(kOptions);
  app.add_option("SOURCE", line.source, "HOST[:PORT][,HOST...]:/VOLUME[/SUBDIR]")->required();
  app.add_option("DIR", line.directory, "an existing directory")->required();
  app.add_option("-o", line.options, "options, see below")->take_all();
  app.add_flag("-s", line.sloppy, "ignore unknown options");
  app.add_flag("-f", line.fake, "check everything but do not connect or mount");
  app.add_flag("-n", line.no_mtab, "accepted: there is no /etc/mtab to write");
  app.add_flag("-v", line.verbose, "say what is done");
  app.add_option("-t", line.type, "accepted: mount(8) names the type");
  app.add_option("-N", line.name_space, "accepted: mount(8) has entered the name space already");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& wrong) {
    return app.exit(wrong) == 0 ? 0 : kWrongUsage;
  }
  return mount(line);
}
