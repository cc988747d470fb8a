// SPDX-License-Identifier: GPL-3.0-or-later
// The real mount.polder against a real server (rpc over a unix socket, locks, a volume in memory), as
// mount(8) calls it: exit statuses, what is shown, outages, ends. docs/coherence.md C15, C16, C17.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_future.hpp>
#include <filesystem>
#include <fstream>
#include <future>
#include <sstream>
#include <thread>

#include "base/clock.h"
#include "base/command.h"
#include "base/concurrency.h"
#include "base/coro.h"
#include "base/disk.h"
#include "base/hlc.h"
#include "base/random.h"
#include "base/transport.h"
#include "base/workers.h"
#include "core-volume/client/fuse/test_volume.h"
#include "core-volume/layers/locks/locks_layer.h"
#include "core-volume/layers/memory/memory_layer.h"
#include "core-volume/rpc/protocol.h"
#include "core-volume/rpc/server.h"

namespace polder {
namespace {

/// One volume "data" behind a unix socket; can be stopped and started again with the same sessions.
class Server {
 public:
  explicit Server(std::string socket) : socket_(std::move(socket)) {
    thread_ = std::thread([this] { loop_.run(); });
    start();
  }
  ~Server() {
    stop();
    work_.reset();
    thread_.join();
  }
  void start() { on_loop(open()); }
  void stop() { on_loop(close()); }

  std::size_t sessions() {
    std::promise<std::size_t> answer;
    asio::post(loop_, [&] { answer.set_value(server_->clients("data").size()); });
    return answer.get_future().get();
  }

 private:
  Task<void> open() {
    const auto executor = loop_.get_executor();
    RpcServerOptions options;
    options.role = [](const PeerIdentity&, const std::string&) { return RpcRole::kClient; };
    options.why_absent = [](const std::string& volume) {
      return Error(ENOENT).with("there is no volume {}; polder volume list", volume);
    };
    server_ = std::make_unique<RpcServer>(seams_, executor, sessions_, options);
    auto volume = std::make_shared<ServedVolume>();
    volume->name = "data";
    volume->ops = &locks_;
    volume->id = volume_id_;
    EXPECT_TRUE(co_await server_->add_volume(volume));
    auto listener = co_await transport_->listen(Endpoint::unix_socket(socket_), {kRpcProtocol}, nullptr);
    if (!listener) ADD_FAILURE() << listener.error().message();
    listener_ = std::move(*listener);
    tasks_ = std::make_unique<TaskGroup>("server");
    tasks_->spawn(executor, server_->serve_all(*listener_));
  }
  Task<void> close() {
    if (server_ == nullptr) co_return;
    listener_->close();
    co_await tasks_->wait_idle();
    co_await server_->stop();
    listener_.reset();
    server_.reset();
  }
  void on_loop(Task<void> task) { asio::co_spawn(loop_, std::move(task), asio::use_future).get(); }

  std::string socket_;
  std::unique_ptr<Clock> clock_ = make_system_clock();
  std::unique_ptr<Random> random_ = make_seeded_random(1);
  std::unique_ptr<Disk> disk_ = make_kernel_disk();
  std::unique_ptr<Transport> transport_ = make_socket_transport();
  std::unique_ptr<Workers> workers_ = make_thread_workers(1);
  const Gfid volume_id_ = Gfid::random(*random_, 0);
  HlcClock hlc_{*clock_};
  Seams seams_{*clock_, *random_, *disk_, *transport_, *workers_, hlc_};
  MemoryLayer memory_{hlc_, *random_};
  LocksLayer locks_{memory_, *clock_};
  MemorySessionStore sessions_;
  asio::io_context loop_{1};
  asio::executor_work_guard<asio::io_context::executor_type> work_{loop_.get_executor()};
  std::unique_ptr<RpcServer> server_;
  std::unique_ptr<Listener> listener_;
  std::unique_ptr<TaskGroup> tasks_;
  std::thread thread_;
};

std::string mount_line(const std::string& directory) {
  std::ifstream mounts("/proc/self/mounts");
  for (std::string line; std::getline(mounts, line);)
    if (line.find(" " + directory + " ") != std::string::npos) return line;
  return {};
}

class MountPolder : public testing::Test {
 protected:
  MountPolder() {
    std::string name = testing::TempDir() + "mount-polder-XXXXXX";
    root_ = mkdtemp(name.data());
    for (const char* mount : {"a", "b"}) std::filesystem::create_directory(root_ + "/" + mount);
    server.emplace(root_ + "/data.sock");
  }
  ~MountPolder() override {
    for (const char* mount : {"a", "b"}) umount2(at("", mount).c_str(), MNT_DETACH);
    server.reset();
    for (const char* mount : {"a", "b"})
      EXPECT_TRUE(ends(mount)) << "the daemon of " << mount << " still runs";
    std::filesystem::remove_all(root_);
  }

  std::string at(std::string_view below, const char* mount = "a") const {
    return below.empty() ? root_ + "/" + mount : fmt::format("{}/{}/{}", root_, mount, below);
  }
  std::string log(const char* mount = "a") const { return root_ + "/" + mount + ".log"; }
  /// Runs mount.polder as mount(8) would.
  CommandOutput mount(const std::string& options = "", const char* mount = "a",
                      const std::string& source = "localhost:/data") {
    const std::string all = fmt::format("socket={}/data.sock,log-file={},log-level=debug{}{}", root_,
                                        log(mount), options.empty() ? "" : ",", options);
    auto ran = run_command({MOUNT_POLDER, source, at("", mount), "-o", all}, std::chrono::seconds(60));
    EXPECT_TRUE(ran) << ran.error().message();
    return ran ? *ran : CommandOutput{};
  }
  /// The daemon's process, found by its command line.
  pid_t daemon(const char* mount = "a") const {
    for (const auto& process : std::filesystem::directory_iterator("/proc")) {
      std::ostringstream line;
      line << std::ifstream(process.path() / "cmdline").rdbuf();
      if (line.str().find(std::string(MOUNT_POLDER) + '\0') != 0) continue;
      if (line.str().find('\0' + at("", mount) + '\0') != std::string::npos)
        return std::stoi(process.path().filename());
    }
    return 0;
  }
  bool ends(const char* mount = "a") const {
    return eventually([&] { return daemon(mount) == 0; });
  }
  std::string log_text(const char* mount = "a") const {
    std::ostringstream text;
    text << std::ifstream(log(mount)).rdbuf();
    return text.str();
  }

  std::string root_;
  std::optional<Server> server;
};

TEST_F(MountPolder, mounts_works_and_ends_with_umount) {
  const CommandOutput ran = mount("noatime,_netdev");
  ASSERT_EQ(ran.status, 0) << ran.err;
  EXPECT_EQ(ran.out + ran.err, "");
  const std::string line = mount_line(at(""));
  EXPECT_TRUE(line.starts_with("localhost:/data ")) << line;
  EXPECT_NE(line.find(" fuse.polder "), std::string::npos) << line;
  EXPECT_NE(line.find("noatime"), std::string::npos) << line;
  const std::string bytes = pattern(3'000'000);
  write_file(at("file"), bytes);
  EXPECT_TRUE(read_file(at("file")) == bytes);
  EXPECT_EQ(server->sessions(), 1U);
  EXPECT_EQ(run_command({"umount", at("")})->status, 0);
  EXPECT_TRUE(ends()) << log_text();
  EXPECT_EQ(server->sessions(), 0U) << "it says goodbye";
  EXPECT_NE(log_text().find("unmounted from"), std::string::npos);
}

TEST_F(MountPolder, refusals_are_a_sentence_and_status_32) {
  const CommandOutput no_volume = mount("", "a", "localhost:/nothing");
  EXPECT_EQ(no_volume.status, 32);
  EXPECT_NE(no_volume.err.find("there is no volume nothing"), std::string::npos) << no_volume.err;
  EXPECT_EQ(std::ranges::count(no_volume.err, '\n'), 1) << no_volume.err;
  const CommandOutput no_directory = mount("subdir=missing");
  EXPECT_EQ(no_directory.status, 32);
  EXPECT_NE(no_directory.err.find("subdirectory missing: No such file"), std::string::npos)
      << no_directory.err;
  EXPECT_EQ(mount("nonsense").status, 1);
  auto no_certificate =
      run_command({MOUNT_POLDER, "remote:/data", at(""), "-o", "client-dir=/nowhere,log-file=/dev/null"});
  EXPECT_EQ(no_certificate->status, 32);
  EXPECT_NE(no_certificate->err.find("polder client join"), std::string::npos) << no_certificate->err;
  EXPECT_EQ(mount_line(at("")), "");
  EXPECT_TRUE(ends());
}

TEST_F(MountPolder, a_subdirectory_and_read_only) {
  ASSERT_EQ(mount().status, 0);
  mkdir(at("projects").c_str(), 0755);
  mkdir(at("projects/x").c_str(), 0755);
  write_file(at("projects/x/file"), "text");
  ASSERT_EQ(mount("ro", "b", "localhost:/data/projects/x").status, 0);
  EXPECT_EQ(read_file(at("file", "b")), "text");
  EXPECT_EQ(errno_of(mkdir(at("d", "b").c_str(), 0755)), EROFS);
}

TEST_F(MountPolder, sigterm_ends_it_while_a_file_is_open) {
  ASSERT_EQ(mount().status, 0);
  const int fd = open(at("file").c_str(), O_RDWR | O_CREAT, 0644);
  ASSERT_GE(fd, 0);
  kill(daemon(), SIGTERM);
  EXPECT_TRUE(ends()) << log_text();
  EXPECT_EQ(mount_line(at("")), "");
  EXPECT_EQ(errno_of(write(fd, "x", 1)), ENOTCONN);
  close(fd);
  EXPECT_EQ(server->sessions(), 0U);
}

TEST_F(MountPolder, C15_open_files_and_locks_survive_a_restart_of_the_server) {
  ASSERT_EQ(mount().status, 0);
  ASSERT_EQ(mount("", "b").status, 0);
  const int fd = open(at("file").c_str(), O_RDWR | O_CREAT, 0644);
  struct flock lock{};
  lock.l_type = F_WRLCK;
  ASSERT_EQ(errno_of(fcntl(fd, F_SETLK, &lock)), 0);
  ASSERT_EQ(write(fd, "before ", 7), 7);
  server->stop();
  std::thread restarts([&] {
    usleep(300'000);
    server->start();
  });
  EXPECT_EQ(write(fd, "after", 5), 5) << strerror(errno) << ": a pause, not an error";
  restarts.join();
  EXPECT_EQ(read_file(at("file", "b")), "before after");
  const int other = open(at("file", "b").c_str(), O_RDWR);
  EXPECT_EQ(errno_of(fcntl(other, F_SETLK, &lock)), EAGAIN);
  lock.l_type = F_UNLCK;
  ASSERT_EQ(errno_of(fcntl(fd, F_SETLK, &lock)), 0);
  close(other);
  close(fd);
}

TEST_F(MountPolder, C16_soft_fails_with_etimedout_and_recovers) {
  ASSERT_EQ(mount("soft,timeout=1").status, 0);
  server->stop();
  EXPECT_EQ(errno_of(mkdir(at("d").c_str(), 0755)), ETIMEDOUT);
  server->start();
  EXPECT_TRUE(eventually([&] { return mkdir(at("e").c_str(), 0755) == 0; }));
}

TEST_F(MountPolder, C17_hard_waits_until_it_is_killed) {
  ASSERT_EQ(mount().status, 0);
  server->stop();
  const std::string path = at("d");
  const pid_t child = fork();
  if (child == 0) _exit(mkdir(path.c_str(), 0755) == 0 ? 0 : 1);
  usleep(500'000);
  EXPECT_EQ(waitpid(child, nullptr, WNOHANG), 0);
  kill(child, SIGTERM);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status));
  kill(daemon(), SIGTERM);
  EXPECT_TRUE(ends()) << "it must end without a server, too: " << log_text();
}

}  // namespace
}  // namespace polder
