// SPDX-License-Identifier: GPL-3.0-or-later
// Who is let in, what is refused, notifications, cancellation, limits.
#include <fcntl.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>

#include "base/concurrency_impl.h"
#include "core-volume/rpc/framed_connection.h"
#include "core-volume/rpc/messages.h"
#include "core-volume/rpc/rpc_test_support.h"

namespace polder {
namespace {

using namespace std::chrono_literals;

const Gfid kRoot = Gfid::root();

class RpcServerTest : public testing::Test {
 protected:
  RpcWorld world;

  Task<Result<FileAttr>> mkdir(RpcClient& by, std::string name) {
    co_return co_await by.mkdir(world.ctx, kRoot, name, NewObject{.mode = 0755});
  }
  Task<Result<Opened>> create(RpcClient& by, std::string name) {
    co_return co_await by.create(world.ctx, kRoot, name, NewObject{.mode = 0644}, O_RDWR | O_EXCL);
  }
  Result<void> start(RpcClientOptions options) {
    auto client = world.make_client(std::move(options));
    auto started = world.run(client->start());
    if (started) world.stop(*client);
    return started;
  }
};

TEST_F(RpcServerTest, RefusalsSayWhy) {
  auto options = world.client_options();
  options.volume = "nosuch";
  auto refused = start(options);
  EXPECT_TRUE(refused.failed_with(ENOENT));
  EXPECT_NE(refused.error().message().find("there is no volume nosuch"), std::string::npos)
      << refused.error().message();
  options.volume = "secret";
  EXPECT_TRUE(start(options).failed_with(EACCES));
  world.stop_server();
  world.started = false;
  world.start_server();
  options.volume = "vol";
  EXPECT_TRUE(start(options).failed_with(ENOTCONN));
}

TEST_F(RpcServerTest, ChangesOfNamesBringTheirDirectories) {
  auto client = world.connect();
  std::vector<FileAttr> told;
  client->on_attributes([&](const FileAttr& attr) { told.push_back(attr); });
  auto made = world.run(mkdir(*client, "d"));
  ASSERT_TRUE(made);
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0].gfid, kRoot);
  EXPECT_EQ(told[0].mtime.tv_nsec, made->mtime.tv_nsec) << "as it is after the change";
  EXPECT_TRUE(world.run(mkdir(*client, "d")).failed_with(EEXIST));
  EXPECT_EQ(told.size(), 1U);

  ASSERT_TRUE(world.run(mkdir(*client, "e")));
  told.clear();
  ASSERT_TRUE(world.run(client->rename(world.ctx, kRoot, "e", made->gfid, "e", 0)));
  ASSERT_EQ(told.size(), 2U);
  EXPECT_EQ(told[0].gfid, kRoot);
  EXPECT_EQ(told[1].gfid, made->gfid);
  told.clear();
  ASSERT_TRUE(world.run(client->rmdir(world.ctx, made->gfid, "e")));
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0].gfid, made->gfid);

  told.clear();
  world.role = RpcRole::kGeorep;
  auto applier = world.connect("applier");
  applier->on_attributes([&](const FileAttr& attr) { told.push_back(attr); });
  ASSERT_TRUE(world.run(mkdir(*applier, "f")));
  EXPECT_TRUE(told.empty()) << "geo-replication has no use for them";
  world.stop(*applier);
  world.stop(*client);
}

TEST_F(RpcServerTest, ReleasesGoWithTheNextRequestOrSoon) {
  auto client = world.connect();
  auto opened = world.run(create(*client, "f"));
  auto second = world.run(create(*client, "g"));
  ASSERT_TRUE(opened && second);
  ASSERT_TRUE(world.run(client->release(world.ctx, opened->attr.gfid, opened->handle)));
  world.loop.settle();
  EXPECT_EQ(world.brick.releases, 0U);
  ASSERT_TRUE(world.run(client->getattr(world.ctx, kRoot)));
  EXPECT_EQ(world.brick.releases, 1U) << "before what was asked after it";
  ASSERT_TRUE(world.run(client->release(world.ctx, second->attr.gfid, second->handle)));
  world.loop.run_for(2 * kRpcAlongMax);
  EXPECT_EQ(world.brick.releases, 2U);
  world.stop(*client);
}

TEST_F(RpcServerTest, NobodyThereIsSaidAfterTheStartTimeout) {
  world.stop_server();
  auto started = start(world.client_options());
  EXPECT_TRUE(started.failed_with(ETIMEDOUT));
  EXPECT_NE(started.error().message().find("refused"), std::string::npos) << started.error().message();
  world.start_server();
}

TEST_F(RpcServerTest, TheNextEndpointIsTried) {
  auto options = world.client_options();
  options.endpoints.insert(options.endpoints.begin(), Endpoint::unix_socket("/nobody"));
  EXPECT_TRUE(start(options));
}

TEST_F(RpcServerTest, ReadOnlyVolumesAreForReadingExceptForReplay) {
  auto client = world.connect();
  const auto file = world.run(create(*client, "f"));
  world.volume->read_only = true;
  EXPECT_TRUE(world.run(mkdir(*client, "d")).failed_with(EROFS));
  EXPECT_TRUE(world.run(client->open(world.ctx, file->attr.gfid, O_RDWR)).failed_with(EROFS));
  auto opened = world.run(client->open(world.ctx, file->attr.gfid, O_RDONLY));
  EXPECT_TRUE(opened);
  EXPECT_TRUE(world.run(client->read(world.ctx, file->attr.gfid, opened->handle, 0, 10)));
  Record record;
  record.kind = RecordKind::kCreate;
  record.gfid.bytes[3] = 9;
  record.name = {kRoot, "replayed"};
  record.state.mode = S_IFREG | 0644;
  record.time_ns = 1;
  EXPECT_TRUE(world.run(client->replay(world.ctx, {&record, 1})).failed_with(EPERM));
  world.role = RpcRole::kGeorep;
  auto georep = world.connect("georep");
  auto replayed = world.run(georep->replay(world.ctx, {&record, 1}));
  EXPECT_TRUE(replayed) << replayed.error().message();
  EXPECT_TRUE(world.run(georep->lookup(world.ctx, kRoot, "replayed")));
  world.stop(*client);
  world.stop(*georep);
}

TEST_F(RpcServerTest, ContextReachesTheBrick) {
  auto client = world.connect();
  world.ctx = {.uid = 11, .gid = 22, .pid = 33};
  const auto seen = world.hlc.next();
  ASSERT_TRUE(world.run(mkdir(*client, "a")));
  ASSERT_TRUE(world.run(mkdir(*client, "b")));
  const auto& a = world.brick.contexts[0];
  const auto& b = world.brick.contexts[1];
  EXPECT_EQ(std::tuple(a.uid, a.gid, a.pid, a.retry), std::tuple(11u, 22u, 33u, false));
  EXPECT_EQ(a.session, client->status().session);
  EXPECT_GE(a.hlc, seen);
  EXPECT_GT(b.sequence, a.sequence);
  world.stop(*client);
}

TEST_F(RpcServerTest, ChangesOfOneAreToldToTheOther) {
  auto one = world.connect("one");
  auto two = world.connect("two");
  std::vector<Invalidation> told_one;
  std::vector<Invalidation> told_two;
  one->on_invalidation([&](const Invalidation& change) { told_one.push_back(change); });
  two->on_invalidation([&](const Invalidation& change) { told_two.push_back(change); });
  world.invalidations.tell({kRoot, EntryName{kRoot, "x"}, one->status().session});
  world.loop.settle();
  EXPECT_TRUE(told_one.empty());
  ASSERT_EQ(told_two.size(), 1u);
  EXPECT_EQ(told_two[0].gfid, kRoot);
  EXPECT_EQ(told_two[0].entry, (EntryName{kRoot, "x"}));
  world.stop(*one);
  world.stop(*two);
}

TEST_F(RpcServerTest, TooManyChangesBecomeEverything) {
  auto client = world.connect();
  std::size_t told = 0;
  bool everything = false;
  client->on_invalidation([&](const Invalidation& change) {
    ++told;
    everything |= change.gfid.is_nil();
  });
  // Nobody reads meanwhile.
  const std::string long_name(255, 'n');
  for (int i = 0; i < 50'000; ++i) world.invalidations.tell({kRoot, EntryName{kRoot, long_name}, 0});
  world.loop.run_for(1s);
  EXPECT_TRUE(everything);
  EXPECT_LT(told, 10'000u);
  world.stop(*client);
}

TEST_F(RpcServerTest, CancelledWaitIsGivenUp) {
  auto one = world.connect("one");
  auto two = world.connect("two");
  const auto file = world.run(create(*one, "f"))->attr.gfid;
  const FileLock whole{.type = FileLock::Type::kWrite, .owner = 1, .pid = 1};
  ASSERT_TRUE(world.run(one->set_lock(world.ctx, file, whole, false)));
  asio::cancellation_signal interrupt;
  std::optional<Result<void>> outcome;
  asio::co_spawn(world.loop.executor(), two->set_lock(world.ctx, file, whole, true),
                 asio::bind_cancellation_slot(interrupt.slot(), [&](std::exception_ptr, Result<void> result) {
                   outcome.emplace(std::move(result));
                 }));
  world.loop.settle();
  EXPECT_EQ(world.locks.waiting(), 1u);
  EXPECT_FALSE(outcome);
  interrupt.emit(asio::cancellation_type::terminal);
  world.loop.settle();
  ASSERT_TRUE(outcome);
  EXPECT_TRUE(outcome->failed_with(ECANCELED));
  EXPECT_FALSE(outcome->error().maybe_applied());
  EXPECT_EQ(world.locks.waiting(), 0u);
  world.stop(*one);
  world.stop(*two);
}

TEST_F(RpcServerTest, CancelledDuringAnOutageReturnsAtOnceAndIsUndone) {
  auto one = world.connect("one");
  auto two = world.connect("two");
  const auto file = world.run(create(*one, "f"))->attr.gfid;
  const FileLock whole{.type = FileLock::Type::kWrite, .owner = 1, .pid = 1};
  ASSERT_TRUE(world.run(one->set_lock(world.ctx, file, whole, false)));
  asio::cancellation_signal interrupt;
  std::optional<Result<void>> outcome;
  asio::co_spawn(world.loop.executor(), two->set_lock(world.ctx, file, whole, true),
                 asio::bind_cancellation_slot(interrupt.slot(), [&](std::exception_ptr, Result<void> result) {
                   outcome.emplace(std::move(result));
                 }));
  world.loop.settle();
  world.net.refuse_connections(true);
  world.net.break_all();
  world.loop.run_for(1s);
  interrupt.emit(asio::cancellation_type::terminal);
  world.loop.settle();
  ASSERT_TRUE(outcome);
  EXPECT_TRUE(outcome->failed_with(ECANCELED));
  EXPECT_TRUE(outcome->error().maybe_applied());
  world.net.refuse_connections(false);
  world.loop.run_for(3s);
  EXPECT_EQ(world.locks.waiting(), 0u);
  world.stop(*one);
  EXPECT_EQ(world.locks.locks_held(), 0u);
  world.stop(*two);
}

TEST_F(RpcServerTest, ManyAtOnceAllArrive) {
  auto client = world.connect();
  auto one = [](RpcClient& by, OpContext ctx, int n) -> Task<Result<void>> {
    const auto name = fmt::format("d{}", n);
    CO_TRY(co_await by.mkdir(ctx, kRoot, name, NewObject{.mode = 0755}));
    co_return Result<void>();
  };
  std::vector<Task<Result<void>>> tasks;
  for (int n = 0; n < 3000; ++n) tasks.push_back(one(*client, world.ctx, n));  // more than may be in flight
  for (const auto& outcome : world.run(fan_out(std::move(tasks)))) EXPECT_TRUE(outcome);
  EXPECT_EQ(world.brick.mkdirs, 3000u);
  world.stop(*client);
}

TEST_F(RpcServerTest, LargeDataGoesThroughWhole) {
  auto client = world.connect();
  const auto file = *world.run(create(*client, "f"));
  std::string text(3'500'000, 'x');
  for (std::size_t i = 0; i < text.size(); i += 7) text[i] = static_cast<char>('a' + i % 26);
  auto write = [&](std::uint64_t offset, Buffer data) {
    return world.run(client->write(world.ctx, file.attr.gfid, file.handle, offset, std::move(data), false));
  };
  ASSERT_TRUE(write(0, Buffer::copy_of(text)));
  ASSERT_TRUE(write(text.size(), Buffer::copy_of(text)));
  EXPECT_TRUE(write(0, Buffer::allocate(kRpcData_bytes_max + 1)).failed_with(EMSGSIZE));
  auto all = world.run(client->read(world.ctx, file.attr.gfid, file.handle, 0, 10'000'000));
  ASSERT_TRUE(all);
  EXPECT_EQ(all->size(), 2 * text.size());
  EXPECT_TRUE(all->text() == text + text);
  world.stop(*client);
}

/// Speaks the protocol by hand.
class RawPeer {
 public:
  explicit RawPeer(RpcWorld& world) : world_(world) {
    auto stream = world.run(world.net.connect(RpcWorld::endpoint(), kRpcProtocol, nullptr));
    stream_ = std::move(*stream);
  }
  void send(const std::string& bytes) {
    ConstBytes piece = as_bytes(bytes);
    (void)world_.run(stream_->write({&piece, 1}));
    world_.loop.settle();
  }
  void send(RpcFrame type, std::string_view message, std::string_view payload = {}) {
    FrameHeader header{.type = static_cast<std::uint8_t>(type),
                       .id = 1,
                       .message_bytes = static_cast<std::uint32_t>(message.size()),
                       .payload_bytes = static_cast<std::uint32_t>(payload.size())};
    std::string bytes(FrameHeader::kBytes, '\0');
    encode_frame_header(kRpcFormat, header,
                        std::span<std::byte, FrameHeader::kBytes>(reinterpret_cast<std::byte*>(bytes.data()),
                                                                  FrameHeader::kBytes));
    send(bytes + std::string(message) + std::string(payload));
  }
  void hello() {
    wire::Hello hello;
    hello.set_version_min(1);
    hello.set_version_max(1);
    hello.set_volume("vol");
    send(RpcFrame::kHello, hello.SerializeAsString());
  }
  /// Whether the server has closed; what it had to say before is dropped.
  bool closed() {
    std::array<std::byte, 4096> bytes{};
    while (true) {
      auto deadline = world_.loop.clock().boot_time() + 1ms;
      auto count =
          world_.run(with_deadline<std::size_t>(world_.loop.clock(), deadline, stream_->read_some(bytes)));
      if (count.failed_with(ETIMEDOUT)) return false;
      if (!count || *count == 0) return true;
    }
  }

 private:
  RpcWorld& world_;
  std::unique_ptr<Stream> stream_;
};

std::string request(const std::function<void(wire::Request&)>& fill) {
  wire::Request request;
  fill(request);
  return request.SerializeAsString();
}

TEST_F(RpcServerTest, HostilePeersAreClosedAndNobodyElseNotices) {
  auto bystander = world.connect();
  using Act = std::function<void(RawPeer&)>;
  const std::pair<const char*, Act> table[] = {
      {"not our protocol", [](RawPeer& p) { p.send("GET / HTTP/1.1\r\nHost: polder\r\n\r\n    "); }},
      {"request before Hello", [](RawPeer& p) { p.send(RpcFrame::kRequest, ""); }},
      {"Hello that is no message", [](RawPeer& p) { p.send(RpcFrame::kHello, "\xff\xff\xff"); }},
      {"Hello with a payload", [](RawPeer& p) { p.send(RpcFrame::kHello, "", "x"); }},
      {"Hello twice", [](RawPeer& p) { p.hello(), p.hello(); }},
      {"reply from a client", [](RawPeer& p) { p.hello(), p.send(RpcFrame::kReply, ""); }},
      {"request that is no message", [](RawPeer& p) { p.hello(), p.send(RpcFrame::kRequest, "\xff"); }},
      {"empty request", [](RawPeer& p) { p.hello(), p.send(RpcFrame::kRequest, ""); }},
      {"name with a slash",
       [](RawPeer& p) {
         p.hello();
         p.send(RpcFrame::kRequest, request([](auto& r) { r.mutable_lookup()->set_name("../etc"); }));
       }},
      {"change without sequence",
       [](RawPeer& p) {
         p.hello();
         p.send(RpcFrame::kRequest, request([](auto& r) { r.mutable_mkdir()->set_name("d"); }));
       }},
      {"payload where none belongs",
       [](RawPeer& p) {
         p.hello();
         p.send(RpcFrame::kRequest, request([](auto& r) { r.mutable_statfs(); }), "x");
       }},
      {"clock a day ahead",
       [&](RawPeer& p) {
         FrameHeader header{.type = 1, .hlc = {world.hlc.next().ns + 86'400'000'000'000}};
         std::string bytes(FrameHeader::kBytes, '\0');
         encode_frame_header(kRpcFormat, header,
                             std::span<std::byte, FrameHeader::kBytes>(
                                 reinterpret_cast<std::byte*>(bytes.data()), FrameHeader::kBytes));
         p.send(bytes);
       }},
  };
  for (const auto& [name, act] : table) {
    RawPeer peer(world);
    EXPECT_FALSE(peer.closed());
    act(peer);
    EXPECT_TRUE(peer.closed()) << name;
    ASSERT_TRUE(world.run(bystander->statfs(world.ctx))) << name;
  }
  EXPECT_EQ(world.brick.mkdirs, 0u);
  world.stop(*bystander);
}

TEST_F(RpcServerTest, StrangersWhoSayNothingAreClosed) {
  RawPeer peer(world);
  world.loop.run_for(9s);
  EXPECT_FALSE(peer.closed());
  world.loop.run_for(7s);
  EXPECT_TRUE(peer.closed());
}

TEST_F(RpcServerTest, TooManyStrangersAreTurnedAway) {
  std::vector<std::unique_ptr<RawPeer>> peers;
  for (std::size_t i = 0; i < world.server_options.strangers_max; ++i)
    peers.push_back(std::make_unique<RawPeer>(world));
  RawPeer one_more(world);
  world.loop.settle();
  EXPECT_TRUE(one_more.closed());
  EXPECT_FALSE(peers[0]->closed());
}

TEST_F(RpcServerTest, RandomBytesAfterHello) {
  auto bystander = world.connect();
  auto random = make_seeded_random(3);
  for (int i = 0; i < 300; ++i) {
    RawPeer peer(world);
    peer.hello();
    std::string bytes(1 + random->below(200), '\0');
    random->fill({reinterpret_cast<std::uint8_t*>(bytes.data()), bytes.size()});
    if (random->below(2) == 0)
      peer.send(bytes);
    else
      peer.send(RpcFrame::kRequest, bytes);
  }
  EXPECT_TRUE(world.run(bystander->statfs(world.ctx)));
  world.stop(*bystander);
}

TEST_F(RpcServerTest, RemovedVolumeHasNothingRunning) {
  auto client = world.connect();
  world.brick.hold = true;
  auto made = world.begin(mkdir(*client, "d"));
  world.run(world.server->remove_volume("vol"));
  EXPECT_EQ(world.server->clients("vol").size(), 0u);
  world.brick.hold = false;
  EXPECT_TRUE(world.run(world.server->add_volume(world.volume)));
  world.loop.run_for(5s);
  ASSERT_TRUE(*made);
  EXPECT_TRUE(**made) << (*made)->error().message();
  world.stop(*client);
}

}  // namespace
}  // namespace polder
