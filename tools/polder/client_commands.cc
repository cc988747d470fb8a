// SPDX-License-Identifier: GPL-3.0-or-later
// polder client join: this machine may mount. Needs no daemon here.
#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <boost/asio/io_context.hpp>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>

#include "base/clock.h"
#include "base/concurrency.h"
#include "base/coro.h"
#include "base/disk.h"
#include "base/hlc.h"
#include "base/random.h"
#include "base/workers.h"
#include "core-volume/admin/join.h"
#include "core-volume/cluster/records.h"
#include "tools/polder/cli.h"

namespace polder {

namespace {

struct JoinWords {
  std::string token_file;
  std::string directory = "/var/lib/polder/client";
  std::string name;
  bool force = false;
};

Result<std::string> read_token(const std::string& file) {
  constexpr std::size_t kMax = 16384;
  std::string text(kMax, '\0');
  if (file.empty() || file == "-") {
    if (::isatty(STDIN_FILENO) != 0) std::cerr << "Paste the token and press Enter: " << std::flush;
    std::getline(std::cin, text);
    return text;
  }
  std::ifstream in(file);
  if (!in) return Error(errno != 0 ? errno : EIO).with("read the token from {}", file);
  in.read(text.data(), kMax);
  text.resize(static_cast<std::size_t>(in.gcount()));
  return text;
}

Result<Membership> join(const JoinToken& token, const std::string& name) {
  auto clock = make_system_clock();
  auto random = make_system_random();
  auto disk = make_kernel_disk();
  auto transport = make_socket_transport();
  auto workers = make_inline_workers();
  HlcClock hlc(*clock);
  Seams seams{*clock, *random, *disk, *transport, *workers, hlc};
  asio::io_context context(1);
  Result<Membership> joined = Error(ECANCELED);
  auto work = [](Seams& seams, JoinToken token, std::string name, Result<Membership>& joined) -> Task<void> {
    joined = co_await join_cluster(seams, std::move(token), std::move(name));
  };
  TaskGroup tasks("root");
  tasks.spawn(context.get_executor(), work(seams, token, name, joined));
  context.run();
  return joined;
}

/// A new file that only root reads, in place of an old one in one step.
Result<void> write_private(const std::string& path, const std::string& text) {
  auto temporary = path + ".new";
  ::unlink(temporary.c_str());
  int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return Error(errno).with("write {}", temporary);
  bool written =
      ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()) && ::fsync(fd) == 0;
  int code = errno;
  ::close(fd);
  if (!written) return Error(code).with("write {}", temporary);
  if (::rename(temporary.c_str(), path.c_str()) != 0) return Error(errno).with("rename {}", temporary);
  return {};
}

Result<void> store(const std::string& directory, const Membership& joined) {
  TRY(write_private(directory + "/key.pem", joined.key_pem));
  TRY(write_private(directory + "/cert.pem", joined.certificate_pem));
  TRY(write_private(directory + "/ca.pem", joined.ca_pem));
  json::object facts{{"cluster", joined.cluster},
                     {"name", joined.common_name},
                     {"volume", joined.volume},
                     {"addresses", json::array(joined.addresses.begin(), joined.addresses.end())}};
  return write_private(directory + "/client.json", json::text(facts) + "\n");
}

/// One directory holds one membership; another cluster's is not overwritten by accident.
Result<void> prepare_directory(const JoinWords& words, const JoinToken& token) {
  std::error_code failure;
  std::filesystem::create_directories(words.directory, failure);
  if (!failure) std::filesystem::permissions(words.directory, std::filesystem::perms::owner_all, failure);
  if (failure) return Error(failure.value()).with("make {}", words.directory);
  std::ifstream in(words.directory + "/ca.pem");
  std::string before{std::istreambuf_iterator<char>(in), {}};
  auto facts = read_certificate(before);
  if (words.force || !facts || facts->fingerprint == token.ca_fingerprint) return {};
  return Error(EEXIST).with(
      "{} belongs to another cluster; say --client-dir DIR (and mount with -o client-dir=DIR), or --force",
      words.directory);
}

std::string own_name() {
  std::array<char, 256> host{};
  ::gethostname(host.data(), host.size() - 1);
  std::string name(host.data());
  name = name.substr(0, name.find('.'));
  return check_name("name", name) ? name : "client";
}

int run_join(Cli& cli, const JoinWords& words) {
  auto text = read_token(words.token_file);
  if (!text) return cli.fail(text.error());
  auto token = JoinToken::parse(*text);
  if (!token) return cli.fail(token.error());
  if (token->role != TokenRole::kClient) {
    return cli.fail(Error(EINVAL).with("this token is for a {}, not for a client", to_string(token->role)));
  }
  if (auto ready = prepare_directory(words, *token); !ready) return cli.fail(ready.error());
  auto joined = join(*token, words.name.empty() ? own_name() : words.name);
  if (!joined) return cli.fail(joined.error());
  if (auto stored = store(words.directory, *joined); !stored) return cli.fail(stored.error());
  auto address = joined->addresses.empty() ? std::string("HOST") : joined->addresses.front();
  auto volume = joined->volume.empty() ? std::string("VOL") : joined->volume;
  json::object result{
      {"cluster", joined->cluster}, {"name", joined->common_name}, {"directory", words.directory}};
  auto option = words.directory == JoinWords{}.directory ? "" : " -o client-dir=" + words.directory;
  return cli.done(result,
                  fmt::format("this machine is {} of the cluster {}\nnext: mount -t polder{} {}:/{} /mnt",
                              joined->common_name, joined->cluster, option, address, volume));
}

}  // namespace

void add_client_commands(Cli& cli) {
  auto& client = cli.group(cli.app(), "client", "This machine as a client");
  auto words = std::make_shared<JoinWords>();
  auto& command =
      cli.command(client, "join", "This machine may mount; the token is read from standard input",
                  "polder client join --token-file token", [&cli, words] { return run_join(cli, *words); });
  command.add_option("--token-file", words->token_file, "File with the token; '-': standard input");
  command.add_option("--client-dir", words->directory, "Where the certificate is kept");
  command.add_option("--name", words->name, "Name of this machine in the cluster (default: its host name)");
  command.add_flag("--force", words->force, "Replace the membership in another cluster");
}

}  // namespace polder
