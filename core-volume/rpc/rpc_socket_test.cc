// SPDX-License-Identifier: GPL-3.0-or-later
// Client and server over the machine's sockets: unix and mutual TLS, real time. What a session promises is
// tested on virtual time (rpc_session_test.cc).
#include <fcntl.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/concurrency.h"
#include "base/disk.h"
#include "base/hlc.h"
#include "base/random.h"
#include "base/workers.h"
#include "core-volume/layers/memory/memory_layer.h"
#include "core-volume/rpc/client.h"
#include "core-volume/rpc/protocol.h"
#include "core-volume/rpc/server.h"
#include "tests/support/loop.h"
#include "tests/support/test_ca.h"

namespace polder {
namespace {

using namespace std::chrono_literals;

std::shared_ptr<const TlsIdentity> shared(TlsIdentity identity) {
  return std::make_shared<const TlsIdentity>(std::move(identity));
}

class RpcSocketTest : public testing::Test {
 protected:
  RpcSocketTest() {
    std::string pattern = "/tmp/polder-rpc-test.XXXXXX";
    folder_ = ::mkdtemp(pattern.data());
    auto volume = std::make_shared<ServedVolume>();
    volume->name = "vol";
    volume->ops = &memory_;
    EXPECT_TRUE(loop_.run_until_done(server_.add_volume(volume)));
  }
  ~RpcSocketTest() override {
    if (listener_) listener_->close();
    loop_.run_until_done(server_.stop());
    loop_.run_until_done(group_.stop());
    std::filesystem::remove_all(folder_);
  }

  static RpcServerOptions server_options() {
    RpcServerOptions options;
    options.role = [](const PeerIdentity& peer, const std::string&) -> Result<RpcRole> {
      if (peer.uid || peer.common_name.starts_with("client:")) return RpcRole::kClient;
      return Error(EACCES).with("{} is no client of this volume", peer.common_name);
    };
    options.why_absent = [](const std::string& name) { return Error(ENOENT).with("no volume {}", name); };
    return options;
  }
  Endpoint listen(const Endpoint& at, std::shared_ptr<const TlsIdentity> identity = {}) {
    auto listener = loop_.run_until_done(transport_->listen(at, {kRpcProtocol}, std::move(identity)));
    EXPECT_TRUE(listener) << listener.error().message();
    listener_ = std::move(*listener);
    group_.spawn(loop_.executor(), server_.serve_all(*listener_));
    return listener_->local();
  }
  RpcClientOptions options(const Endpoint& to, std::shared_ptr<const TlsIdentity> identity = {}) {
    RpcClientOptions options;
    options.endpoints = {to};
    options.identity = std::move(identity);
    options.volume = "vol";
    options.start_timeout = 20s;
    return options;
  }
  Task<Result<void>> use(FileOps& ops) {
    OpContext ctx{.uid = 1, .gid = 1};
    CO_TRY(auto file, co_await ops.create(ctx, Gfid::root(), "f", NewObject{.mode = 0644}, O_RDWR));
    auto data = Buffer::allocate(1 << 20);
    for (std::size_t i = 0; i < data.size(); ++i) data.writable()[i] = static_cast<std::byte>(i * 31 >> 7);
    for (std::uint64_t n = 0; n < 8; ++n) {
      CO_TRY(co_await ops.write(ctx, file.attr.gfid, file.handle, n * data.size(), data, false));
    }
    CO_TRY(auto all, co_await ops.read(ctx, file.attr.gfid, file.handle, 0, 8 << 20));
    if (all.size() != 8 * data.size()) co_return Error(EIO).with("{} bytes came back", all.size());
    for (std::size_t n = 0; n < 8; ++n)
      if (all.slice(n * data.size(), data.size()).text() != data.text())
        co_return Error(EIO).with("piece {}", n);
    CO_TRY(co_await ops.release(ctx, file.attr.gfid, file.handle));
    co_return co_await ops.unlink(ctx, Gfid::root(), "f");
  }
  void expect_useful(const RpcClientOptions& options) {
    RpcClient client(seams_, loop_.executor(), options);
    auto started = loop_.run_until_done(client.start());
    ASSERT_TRUE(started) << started.error().message();
    auto used = loop_.run_until_done(use(client));
    EXPECT_TRUE(used) << used.error().message();
    loop_.run_until_done(client.stop());
    EXPECT_TRUE(server_.clients("vol").empty());
  }
  Error refused(const RpcClientOptions& options) {
    RpcClient client(seams_, loop_.executor(), options);
    auto started = loop_.run_until_done(client.start());
    if (!started) return started.error();
    loop_.run_until_done(client.stop());
    return Error(0);
  }

  RealLoop loop_;
  std::string folder_;
  std::unique_ptr<Clock> clock_ = make_system_clock();
  std::unique_ptr<Random> random_ = make_system_random();
  std::unique_ptr<Disk> disk_ = make_kernel_disk();
  std::unique_ptr<Transport> transport_ = make_socket_transport();
  std::unique_ptr<Workers> workers_ = make_inline_workers();
  HlcClock hlc_{*clock_};
  Seams seams_{*clock_, *random_, *disk_, *transport_, *workers_, hlc_};
  MemoryLayer memory_{hlc_, *random_};
  MemorySessionStore sessions_;
  RpcServer server_{seams_, loop_.executor(), sessions_, server_options()};
  std::unique_ptr<Listener> listener_;
  TaskGroup group_{"test"};
};

TEST_F(RpcSocketTest, UnixSocket) {
  auto at = listen(Endpoint::unix_socket(folder_ + "/data.sock"));
  expect_useful(options(at));
}

TEST_F(RpcSocketTest, MutualTls) {
  TestCa ca("east");
  auto at = listen({Endpoint::Kind::kTls, "127.0.0.1", 0}, shared(ca.issue("node:one")));
  expect_useful(options(at, shared(ca.issue("client:me"))));
  auto wrong_role = refused(options(at, shared(ca.issue("georep:x"))));
  EXPECT_TRUE(wrong_role.is(EACCES)) << wrong_role.message();
  EXPECT_NE(wrong_role.message().find("georep:x is no client"), std::string::npos) << wrong_role.message();
}

TEST_F(RpcSocketTest, CertificateOfAnotherClusterIsRefusedAtOnce) {
  TestCa ca("east");
  TestCa other("west");
  auto at = listen({Endpoint::Kind::kTls, "127.0.0.1", 0}, shared(ca.issue("node:one")));
  auto error = refused(options(at, shared(other.issue("client:me"))));
  EXPECT_TRUE(error.is(EACCES)) << error.message();
}

}  // namespace
}  // namespace polder
