// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/mount/mount_request.h"

#include <sys/mount.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <optional>

namespace polder {

namespace {

struct KernelOption {
  std::string_view name;
  unsigned long flag;
  bool set;
};

constexpr KernelOption kKernelOptions[] = {
    {"ro", MS_RDONLY, true},
    {"rw", MS_RDONLY, false},
    {"nosuid", MS_NOSUID, true},
    {"suid", MS_NOSUID, false},
    {"nodev", MS_NODEV, true},
    {"dev", MS_NODEV, false},
    {"noexec", MS_NOEXEC, true},
    {"exec", MS_NOEXEC, false},
    {"sync", MS_SYNCHRONOUS, true},
    {"async", MS_SYNCHRONOUS, false},
    {"dirsync", MS_DIRSYNC, true},
    {"noatime", MS_NOATIME, true},
    {"atime", MS_NOATIME, false},
    {"nodiratime", MS_NODIRATIME, true},
    {"diratime", MS_NODIRATIME, false},
    {"relatime", MS_RELATIME, true},
    {"norelatime", MS_RELATIME, false},
    {"strictatime", MS_STRICTATIME, true},
    {"lazytime", MS_LAZYTIME, true},
    {"nolazytime", MS_LAZYTIME, false},
};

/// Of fstab and mount(8), or always so here.
constexpr std::string_view kIgnoredOptions[] = {"defaults", "auto",   "noauto", "user",
                                                "nouser",   "users",  "owner",  "group",
                                                "_netdev",  "nofail", "acl",    "user_xattr"};

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  int brackets = 0;  // of IPv6 addresses, whose colons do not separate
  std::size_t begin = 0;
  for (std::size_t i = 0; i <= text.size(); ++i) {
    if (i < text.size() && text[i] == '[') ++brackets;
    if (i < text.size() && text[i] == ']') --brackets;
    if (i < text.size() && (text[i] != separator || brackets > 0)) continue;
    if (i > begin) parts.push_back(text.substr(begin, i - begin));
    begin = i + 1;
  }
  return parts;
}

bool is_this_machine(const Endpoint& endpoint) {
  return endpoint.host == "localhost" || endpoint.host == "127.0.0.1" || endpoint.host == "::1";
}

bool has_port(std::string_view host) {
  const auto colon = host.rfind(':');
  return colon != std::string_view::npos && host.find(']', colon) == std::string_view::npos;
}

/// What the options say that decides where to connect.
struct Where {
  std::string cluster;
  std::string socket;
  std::vector<std::string> more_hosts;
};

class Parser {
 public:
  Parser(MountRequest& request, Where& where, bool sloppy)
      : request_(request), where_(where), sloppy_(sloppy) {}

  Result<void> options(std::string_view text) {
    for (std::string_view option : split(text, ',')) {
      TRY(one(option));
    }
    if (timeout_given_ && request_.hard)
      return Error(EINVAL).with("timeout= is for soft mounts: say soft,timeout=S");
    return {};
  }

 private:
  Result<void> one(std::string_view option) {
    const auto equals = option.find('=');
    if (equals == std::string_view::npos) return word(option);
    return value(option.substr(0, equals), option.substr(equals + 1));
  }

  Result<void> word(std::string_view name) {
    for (const KernelOption& option : kKernelOptions)
      if (option.name == name) {
        request_.mount_flags =
            option.set ? request_.mount_flags | option.flag : request_.mount_flags & ~option.flag;
        return {};
      }
    if (name == "hard" || name == "soft") {
      request_.hard = name == "hard";
      return {};
    }
    if (name == "foreground") {
      request_.foreground = true;
      return {};
    }
    if (name.starts_with("x-") || name.starts_with("X-")) return {};
    if (std::ranges::find(kIgnoredOptions, name) != std::end(kIgnoredOptions)) return {};
    return unknown(name);
  }

  Result<void> value(std::string_view name, std::string_view value) {
    if (name.starts_with("x-") || name.starts_with("X-") || name == "comment") return {};
    if (value.empty()) return Error(EINVAL).with("option {}= has no value", name);
    if (name == "cluster") return cluster(value);
    if (name == "timeout") return timeout(value);
    if (name == "busy-poll") return busy_poll(value);
    if (name == "leases") return leases(value);
    if (name == "log-level") return level(value);
    if (name == "backup-volfile-servers" || name == "backupvolfile-server") return backups(name, value);
    std::string* const target = name == "socket"       ? &where_.socket
                                : name == "log-file"   ? &request_.log_file
                                : name == "client-dir" ? &request_.client_dir
                                : name == "subdir"     ? &request_.subdir
                                                       : nullptr;
    if (target == nullptr) return unknown(name);
    *target = value;
    return {};
  }

  Result<void> cluster(std::string_view name) {
    if (name.find('/') != std::string_view::npos || name.starts_with('.'))
      return Error(EINVAL).with("cluster={} is not a cluster's name", name);
    where_.cluster = name;
    return {};
  }

  /// HOST[:HOST…], GlusterFS's form. A number is the port of the host before it: no host is called that.
  Result<void> backups(std::string_view name, std::string_view text) {
    if (text.find(',') != std::string_view::npos || text.starts_with(':') || text.ends_with(':') ||
        text.find("::") < text.find('[')) {
      return Error(EINVAL).with("{}={}: say HOST, or HOST:HOST:…, each HOST[:PORT]", name, text);
    }
    std::vector<std::string> hosts;
    for (std::string_view part : split(text, ':')) {
      const bool is_port = part.find_first_not_of("0123456789") == std::string_view::npos;
      if (is_port && hosts.empty())
        return Error(EINVAL).with("{}={}: '{}' is a port without a host", name, text, part);
      if (is_port && has_port(hosts.back()))
        return Error(EINVAL).with("{}={}: '{}' has a port already", name, text, hosts.back());
      if (is_port) {
        hosts.back() += fmt::format(":{}", part);
      } else {
        hosts.emplace_back(part);
      }
    }
    if (name == "backupvolfile-server" && hosts.size() > 1)
      return Error(EINVAL).with("{}= takes one host; say backup-volfile-servers={}", name, text);
    for (auto& host : hosts) {
      auto parsed = Endpoint::parse(host);
      if (!parsed) return std::move(parsed).error().with("{}", name);
      where_.more_hosts.push_back(std::move(host));
    }
    return {};
  }

  Result<void> timeout(std::string_view text) {
    int seconds = 0;
    const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), seconds);
    if (failure != std::errc() || end != text.data() + text.size() || seconds < 1 || seconds > 86400)
      return Error(EINVAL).with("timeout={} is not a number of seconds from 1 to 86400", text);
    request_.soft_timeout = std::chrono::seconds(seconds);
    timeout_given_ = true;
    return {};
  }

  Result<void> busy_poll(std::string_view text) {
    int microseconds = 0;
    const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), microseconds);
    if (failure != std::errc() || end != text.data() + text.size() || microseconds < 0 ||
        microseconds > 10000)
      return Error(EINVAL).with("busy-poll={} is not a number of microseconds from 0 to 10000", text);
    request_.busy_poll = std::chrono::microseconds(microseconds);
    return {};
  }

  Result<void> leases(std::string_view text) {
    if (text != "on" && text != "off") return Error(EINVAL).with("leases={}: say on or off", text);
    request_.leases = text == "on";
    return {};
  }

  Result<void> level(std::string_view text) {
    std::string lower(text);
    std::ranges::transform(lower, lower.begin(), [](unsigned char c) { return std::tolower(c); });
    if (!log::parse_level(lower, request_.log_level))
      return Error(EINVAL).with("log-level={}: say debug, info, warning or error", text);
    return {};
  }

  Result<void> unknown(std::string_view name) {
    if (sloppy_) return {};
    return Error(EINVAL).with("unknown option '{}'; mount.polder --help lists them", name);
  }

  MountRequest& request_;
  Where& where_;
  const bool sloppy_;
  bool timeout_given_ = false;
};

/// The data sockets of the daemons that run here: cluster name and path.
std::vector<std::pair<std::string, std::string>> local_sockets(const std::string& run_root) {
  std::vector<std::pair<std::string, std::string>> found;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(run_root, ignored)) {
    const auto socket = entry.path() / "data.sock";
    if (std::filesystem::is_socket(socket, ignored)) found.emplace_back(entry.path().filename(), socket);
  }
  std::ranges::sort(found);
  return found;
}

/// The socket to use instead of the hosts named, if any; see --help.
Result<std::optional<Endpoint>> local_endpoint(const Where& where, const Endpoint& first, bool port_given,
                                               const std::string& run_root) {
  if (!where.socket.empty()) return std::optional(Endpoint::unix_socket(where.socket));
  const bool local = is_this_machine(first);
  if (!where.cluster.empty()) {
    if (!local)
      return Error(EINVAL).with(
          "cluster={} names a daemon of this machine, but {} is another host; say "
          "localhost:/VOLUME, or leave cluster= out",
          where.cluster, first.host);
    return std::optional(Endpoint::unix_socket(run_root + "/" + where.cluster + "/data.sock"));
  }
  if (!local || port_given) return std::optional<Endpoint>();
  const auto sockets = local_sockets(run_root);
  if (sockets.size() == 1) return std::optional(Endpoint::unix_socket(sockets.front().second));
  if (sockets.empty()) return std::optional<Endpoint>();
  std::string names;
  for (const auto& [name, path] : sockets) names += (names.empty() ? "" : ", ") + name;
  return Error(EINVAL).with("several clusters run on this machine ({}); say -o cluster=NAME", names);
}

}  // namespace

bool MountRequest::needs_certificate() const {
  return std::ranges::any_of(endpoints, [](const Endpoint& e) { return e.kind == Endpoint::Kind::kTls; });
}

Result<MountRequest> parse_mount_request(std::string_view source, std::string_view directory,
                                         std::string_view options, bool sloppy, const std::string& run_root) {
  MountRequest request;
  Where where;
  TRY(Parser(request, where, sloppy).options(options));

  const auto slash = source.find(":/");
  if (slash == std::string_view::npos || slash == 0)
    return Error(EINVAL).with("'{}' does not name a volume: say HOST:/VOLUME", source);
  const auto hosts = split(source.substr(0, slash), ',');
  const std::string_view path = source.substr(slash + 2);
  const auto end = std::min(path.find('/'), path.size());
  request.volume = path.substr(0, end);
  if (hosts.empty() || request.volume.empty())
    return Error(EINVAL).with("'{}' does not name a volume: say HOST:/VOLUME", source);
  if (end < path.size() && request.subdir.empty()) request.subdir = path.substr(end + 1);

  for (std::string_view host : hosts) {
    TRY(auto endpoint, Endpoint::parse(host));
    request.endpoints.push_back(std::move(endpoint));
  }
  TRY(auto local, local_endpoint(where, request.endpoints.front(), has_port(hosts.front()), run_root));
  // Its socket instead of this machine; the others stay for when its daemon is down. With socket= or cluster=
  // that one daemon is meant.
  if (local) request.endpoints.front() = std::move(*local);
  if (local && (!where.socket.empty() || !where.cluster.empty())) request.endpoints.resize(1);
  for (const std::string& host : where.more_hosts) {
    TRY(auto endpoint, Endpoint::parse(host));
    if (std::ranges::find(request.endpoints, endpoint) == request.endpoints.end())
      request.endpoints.push_back(std::move(endpoint));
  }

  request.source = fmt::format("{}:/{}", hosts.front(), path);
  std::error_code failure;
  request.directory = std::filesystem::canonical(directory, failure);
  if (failure) return Error(failure.value()).with("mount point {}", directory);
  if (!std::filesystem::is_directory(request.directory))
    return Error(ENOTDIR).with("mount point {}", directory);
  return request;
}

}  // namespace polder
