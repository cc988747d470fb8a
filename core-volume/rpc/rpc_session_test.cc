// SPDX-License-Identifier: GPL-3.0-or-later
// What a session promises, on virtual time: it survives its connection for 60 s, and a change happens once.
#include <fcntl.h>

#include "core-volume/rpc/rpc_test_support.h"

namespace polder {
namespace {

using namespace std::chrono_literals;

const Gfid kRoot = Gfid::root();

class RpcSessionTest : public testing::Test {
 protected:
  RpcWorld world;
  std::unique_ptr<RpcClient> client = world.connect();

  ~RpcSessionTest() override { world.stop(*client); }

  Task<Result<FileAttr>> mkdir(std::string name) {
    co_return co_await client->mkdir(world.ctx, kRoot, name, NewObject{.mode = 0755});
  }
  Task<Result<Opened>> create(std::string name) {
    co_return co_await client->create(world.ctx, kRoot, name, NewObject{.mode = 0644}, O_RDWR | O_EXCL);
  }
  Task<Result<void>> lock(RpcClient& by, Gfid gfid, FileLock lock, bool wait) {
    co_return co_await by.set_lock(world.ctx, gfid, lock, wait);
  }
  Opened open_unlinked_file() {
    auto opened = *world.run(create("f"));
    EXPECT_TRUE(world.run(
        client->write(world.ctx, opened.attr.gfid, opened.handle, 0, Buffer::copy_of("hello"), false)));
    EXPECT_TRUE(world.run(client->unlink(world.ctx, kRoot, "f")));
    return opened;
  }
  Result<Buffer> read(const Opened& opened) {
    return world.run(client->read(world.ctx, opened.attr.gfid, opened.handle, 0, 100));
  }
  void lose_connection_for(nanoseconds duration) {
    world.net.refuse_connections(true);
    world.net.break_all();
    world.loop.run_for(duration);
    world.net.refuse_connections(false);
  }
};

const FileLock kWholeFile{.type = FileLock::Type::kWrite, .owner = 1, .pid = 1};

TEST_F(RpcSessionTest, GoodbyeEndsTheSessionAtOnce) {
  world.stop(*client);
  EXPECT_EQ(world.brick.ended_sessions, 1u);
  EXPECT_TRUE(world.server->clients("vol").empty());
  EXPECT_TRUE(world.run(world.sessions.list("vol"))->empty());
}

TEST_F(RpcSessionTest, TheServerKnowsWhoAClientIsAndWhatItMoved) {
  auto options = world.client_options("desk");
  options.client_version = "7.8";
  auto other = world.make_client(options);
  ASSERT_TRUE(world.run(other->start()));
  auto opened = *world.run(create("f"));
  ASSERT_TRUE(world.run(
      client->write(world.ctx, opened.attr.gfid, opened.handle, 0, Buffer::copy_of("hello"), false)));
  ASSERT_EQ(read(opened)->text(), "hello");
  const auto clients = world.server->clients("vol");
  ASSERT_EQ(clients.size(), 2u);
  EXPECT_TRUE(clients[0].connected);
  EXPECT_EQ(clients[0].bytes_written, 5u);
  EXPECT_EQ(clients[0].bytes_read, 5u);
  EXPECT_GE(clients[0].requests_total, 3u);
  EXPECT_EQ(clients[0].requests, 0u);
  EXPECT_EQ(clients[0].held_bytes, 0u);
  EXPECT_EQ(clients[1].client_name, "desk");
  EXPECT_EQ(clients[1].client_version, "7.8");
  EXPECT_EQ(clients[1].bytes_written, 0u);
  EXPECT_EQ(world.server->info().connections, 2u);
  world.stop(*other);
}

TEST_F(RpcSessionTest, CallsInFlightAreListedWithTheirAge) {
  EXPECT_TRUE(client->calls(10).empty());
  world.net.refuse_connections(true);
  world.net.break_all();
  auto made = world.begin(mkdir("d"));
  auto again = world.begin(mkdir("e"));
  world.loop.run_for(5s);
  auto calls = client->calls(10);
  ASSERT_EQ(calls.size(), 2u);
  EXPECT_EQ(calls[0].operation, "mkdir");
  EXPECT_GE(calls[0].age, nanoseconds(5s));
  EXPECT_FALSE(calls[0].sent);
  EXPECT_NE(calls[0].sequence, 0u);
  EXPECT_EQ(client->calls(1).size(), 1u);
  const auto status = client->status();
  EXPECT_FALSE(status.connected);
  EXPECT_GE(status.away_for, nanoseconds(5s));
  EXPECT_EQ(status.outages, 1u);
  world.net.refuse_connections(false);
  world.loop.run_for(3s);
  ASSERT_TRUE(made->has_value() && again->has_value());
  EXPECT_TRUE(client->calls(10).empty());
}

TEST_F(RpcSessionTest, SurvivesNearlyAMinuteWithoutConnection) {
  auto opened = open_unlinked_file();
  const auto session = client->status().session;
  lose_connection_for(57s);
  EXPECT_EQ(read(opened)->text(), "hello");
  EXPECT_EQ(client->status().session, session);
  EXPECT_EQ(world.brick.ended_sessions, 0u);
}

TEST_F(RpcSessionTest, IsOverAfterAMinuteWithoutConnection) {
  auto opened = open_unlinked_file();
  const auto session = client->status().session;
  lose_connection_for(61s);
  EXPECT_EQ(world.brick.ended_sessions, 1u);
  EXPECT_TRUE(read(opened).failed_with(ESTALE));
  EXPECT_NE(client->status().session, session);
  // The file's last handle went with the session.
  EXPECT_TRUE(world.run(client->getattr(world.ctx, opened.attr.gfid)).failed_with(ESTALE));
  EXPECT_TRUE(world.run(mkdir("after")));
}

TEST_F(RpcSessionTest, AVolumeMayHaveATimeOutOfItsOwn) {
  world.volume->session_timeout = 5s;
  auto opened = open_unlinked_file();
  lose_connection_for(3s);
  EXPECT_EQ(read(opened)->text(), "hello");
  lose_connection_for(6s);
  EXPECT_EQ(world.brick.ended_sessions, 1u);
  EXPECT_TRUE(read(opened).failed_with(ESTALE));
}

TEST_F(RpcSessionTest, AnOutageIsAPause) {
  world.net.refuse_connections(true);
  world.net.break_all();
  auto made = world.begin(mkdir("d"));
  world.loop.run_for(20s);
  EXPECT_FALSE(*made);
  world.net.refuse_connections(false);
  world.loop.run_for(3s);
  ASSERT_TRUE(*made);
  EXPECT_TRUE(**made) << (*made)->error().message();
  EXPECT_EQ(world.brick.mkdirs, 1u);
}

TEST_F(RpcSessionTest, HardWaitsForHours) {
  world.stop_server();
  auto made = world.begin(mkdir("d"));
  world.loop.run_for(6h);
  EXPECT_FALSE(*made);
  world.start_server();
  world.loop.run_for(3s);
  ASSERT_TRUE(*made);
  EXPECT_TRUE(**made);
}

/// A change in flight while the connection breaks at each single call of the transport, with nothing, half or
/// all of a write delivered: it happens exactly once, and its caller learns that it did.
TEST_F(RpcSessionTest, BrokenAtEveryCallAChangeHappensOnce) {
  unsigned failures = 0;
  for (unsigned delivered : {0u, 50u, 100u}) {
    for (unsigned n = 1;; ++n) {
      const auto name = fmt::format("d{}-{}", delivered, n);
      const auto before = world.brick.mkdirs;
      world.net.fail_call(n, delivered);
      auto made = world.run(mkdir(name));
      ASSERT_TRUE(made) << name << ": " << made.error().message();
      ASSERT_EQ(world.brick.mkdirs, before + 1) << name;
      if (!world.net.failed()) break;
      ++failures;
      world.net.fail_call(0);
      world.loop.run_for(3s);
    }
  }
  EXPECT_GE(failures, 9u);  // read and write on both sides at least
}

TEST_F(RpcSessionTest, BrokenAtEveryCallNoHandleIsLeftOpen) {
  for (unsigned n = 1;; ++n) {
    world.net.fail_call(n, 100);
    auto opened = world.run(create(fmt::format("f{}", n)));
    ASSERT_TRUE(opened) << opened.error().message();
    EXPECT_TRUE(world.run(client->release(world.ctx, opened->attr.gfid, opened->handle)));
    world.loop.run_for(3s);
    ASSERT_EQ(world.brick.releases, n);
    if (!world.net.failed()) break;
    world.net.fail_call(0);
  }
}

/// A restarted server, and a connection that breaks again at each call of the coming back to it, and then the
/// file is closed: what was opened again at the new process is closed there.
TEST_F(RpcSessionTest, BrokenAtEveryCallOfComingBackNoHandleIsLeftOpen) {
  const auto made = *world.run(create("f"));
  const auto gfid = made.attr.gfid;
  ASSERT_TRUE(world.run(client->release(world.ctx, gfid, made.handle)));
  unsigned failures = 0;
  for (unsigned delivered : {0u, 100u}) {
    for (unsigned n = 1;; ++n) {
      auto opened = world.run(client->open(world.ctx, gfid, O_RDWR));
      ASSERT_TRUE(opened) << opened.error().message();
      world.stop_server();
      const auto opens = world.brick.opens, releases = world.brick.releases;
      world.net.fail_call(n, delivered);
      world.start_server();
      for (int i = 0; i < 3000 && !world.net.failed(); ++i) world.loop.run_for(1ms);
      EXPECT_TRUE(world.run(client->release(world.ctx, gfid, opened->handle)));
      world.loop.run_for(5s);
      ASSERT_EQ(world.brick.releases - releases, world.brick.opens - opens)
          << "broken at call " << n << ", " << delivered << " % delivered";
      if (!world.net.failed()) break;
      ++failures;
      world.net.fail_call(0);
    }
  }
  EXPECT_GE(failures, 10u);
}

TEST_F(RpcSessionTest, WhatIsClosedWhileTheVolumeIsRefusedIsClosed) {
  auto opened = world.run(create("f"));
  ASSERT_TRUE(opened);
  world.allowed = false;
  world.net.break_all();
  world.loop.run_for(2s);
  ASSERT_TRUE(world.run(mkdir("d")).failed_with(EACCES));
  EXPECT_TRUE(world.run(client->release(world.ctx, opened->attr.gfid, opened->handle)));
  world.allowed = true;
  world.loop.run_for(5s);
  EXPECT_EQ(world.brick.releases, 1u);
}

TEST_F(RpcSessionTest, RepliesOfChangesAreKeptUntilAcknowledged) {
  world.brick.hold = true;
  auto made = world.begin(mkdir("d"));
  world.net.refuse_connections(true);
  world.net.break_all();
  world.loop.run_for(1s);
  world.brick.let_go();  // done while its client is away
  world.loop.run_for(10s);
  EXPECT_FALSE(*made);
  world.net.refuse_connections(false);
  world.loop.run_for(3s);
  ASSERT_TRUE(*made);
  EXPECT_TRUE(**made);
  EXPECT_EQ(world.brick.mkdirs, 1u);
}

TEST_F(RpcSessionTest, ServerRestartKeepsAnOpenUnlinkedFile) {
  auto opened = open_unlinked_file();
  const auto session = client->status().session;
  world.restart_server();
  EXPECT_EQ(read(opened)->text(), "hello");
  EXPECT_TRUE(
      world.run(client->write(world.ctx, opened.attr.gfid, opened.handle, 5, Buffer::copy_of("!"), false)));
  EXPECT_EQ(read(opened)->text(), "hello!");
  EXPECT_EQ(client->status().session, session);
  EXPECT_EQ(world.brick.opens, 1u);
}

TEST_F(RpcSessionTest, ServerRestartRepeatsAChangeAsARetry) {
  world.brick.hold = true;
  auto made = world.begin(mkdir("d"));
  world.restart_server();
  world.brick.let_go();
  world.loop.run_for(3s);
  ASSERT_TRUE(*made);
  EXPECT_TRUE(**made);
  ASSERT_EQ(world.brick.contexts.size(), 2u);
  EXPECT_FALSE(world.brick.contexts[0].retry);
  EXPECT_TRUE(world.brick.contexts[1].retry);
  EXPECT_EQ(world.brick.contexts[0].sequence, world.brick.contexts[1].sequence);
  EXPECT_EQ(world.brick.contexts[0].session, world.brick.contexts[1].session);
}

TEST_F(RpcSessionTest, ServerRestartKeepsLocksAndMakesOthersWait) {
  auto file = world.run(create("f"))->attr.gfid;
  ASSERT_TRUE(world.run(lock(*client, file, kWholeFile, false)));
  auto other = world.connect("other");
  // The restarted server has a locks layer that knows nothing.
  EXPECT_TRUE(world.run(world.locks.end_session({.session = client->status().session})));
  EXPECT_EQ(world.locks.locks_held(), 0u);
  world.net.refuse_connections(true);
  world.restart_server();
  world.net.refuse_connections(false);
  EXPECT_TRUE(world.run(lock(*other, file, kWholeFile, false)).failed_with(EAGAIN));
  EXPECT_EQ(world.locks.locks_held(), 1u);
  world.stop(*other);
}

/// It may have been given to somebody else before the server died: both would claim it then.
TEST_F(RpcSessionTest, ALockThatIsBeingGivenUpIsNotClaimedAgain) {
  auto file = world.run(create("f"))->attr.gfid;
  ASSERT_TRUE(world.run(lock(*client, file, kWholeFile, false)));
  ASSERT_EQ(client->status().locks, 1u);
  world.net.refuse_connections(true);
  world.restart_server();
  auto unlock = kWholeFile;
  unlock.type = FileLock::Type::kUnlock;
  auto given_up = world.begin(lock(*client, file, unlock, false));
  world.loop.run_for(1s);
  EXPECT_EQ(client->status().locks, 0u);
  world.net.refuse_connections(false);
  world.loop.run_for(3s);
  ASSERT_TRUE(*given_up);
  EXPECT_TRUE(**given_up);
}

TEST_F(RpcSessionTest, TheVolumeHearsWhenNobodyIsWaitedForAnyMore) {
  int told = 0, awaited = 0;
  world.volume->clients_are_back = [&] { ++told; };
  world.volume->await_clients = [&] { ++awaited; };
  auto other = world.connect("other");
  world.net.refuse_connections(true);
  world.restart_server();
  world.loop.run_for(50s);
  EXPECT_EQ(told, 0);
  EXPECT_EQ(awaited, 1);
  world.loop.run_for(11s);  // both sessions have ended
  EXPECT_EQ(told, 1);
  world.net.refuse_connections(false);
  world.loop.run_for(3s);
  world.restart_server();
  world.loop.run_for(3s);
  EXPECT_EQ(told, 2) << "both are back";
  EXPECT_EQ(awaited, 2);
  world.stop(*other);
}

TEST_F(RpcSessionTest, WhatWasNotSyncedBeforeAPowerLossCannotBeSyncedAfterIt) {
  const auto lost = world.run(create("lost")), synced = world.run(create("synced"));
  const auto fsync = [&](const Result<Opened>& file) {
    return world.run(client->fsync(world.ctx, file->attr.gfid, false));
  };
  const auto write = [&](const Result<Opened>& file) {
    const auto data = Buffer::copy_of("bytes");
    ASSERT_TRUE(world.run(client->write(world.ctx, file->attr.gfid, file->handle, 0, data, false)));
  };
  ASSERT_TRUE(fsync(synced));
  write(lost);
  world.restart_server();
  EXPECT_TRUE(fsync(synced)) << "killed, not without power";
  write(lost);
  world.stop_server();
  ++world.volume->losses;
  world.start_server();
  EXPECT_TRUE(fsync(synced)) << "nothing of it can be lost";
  EXPECT_TRUE(fsync(lost).failed_with(EIO));
  EXPECT_TRUE(fsync(lost)) << "it has been told";
  write(lost);
  EXPECT_TRUE(fsync(lost));
}

TEST_F(RpcSessionTest, AnFsyncUnderWayFailsToo) {
  const auto file = world.run(create("f"));
  world.net.refuse_connections(true);
  world.stop_server();
  auto synced = world.begin(client->fsync(world.ctx, file->attr.gfid, false));
  ++world.volume->losses;
  world.start_server();
  world.net.refuse_connections(false);
  world.loop.run_for(3s);
  ASSERT_TRUE(*synced);
  EXPECT_TRUE((*synced)->failed_with(EIO));
  EXPECT_TRUE(world.run(client->sync(world.ctx)).failed_with(EIO));
  EXPECT_TRUE(world.run(client->sync(world.ctx)));
}

TEST_F(RpcSessionTest, ASessionThatNeverComesBackAfterARestartIsEnded) {
  auto other = world.connect("other");
  auto file = world.run(create("f"))->attr.gfid;
  world.net.refuse_connections(true);
  world.restart_server();
  auto locked = world.begin(lock(*client, file, kWholeFile, false));
  world.loop.run_for(61s);
  EXPECT_EQ(world.brick.ended_sessions, 2u);
  EXPECT_TRUE(world.run(world.sessions.list("vol"))->empty());
  world.net.refuse_connections(false);
  world.loop.run_for(3s);
  ASSERT_TRUE(*locked);
  EXPECT_TRUE(**locked) << (*locked)->error().message();  // never sent before: the new session may
  world.stop(*other);
}

TEST_F(RpcSessionTest, RestoredVolumeMakesHandlesStale) {
  auto opened = open_unlinked_file();
  bool everything = false;
  client->on_invalidation([&](const Invalidation& change) { everything |= change.gfid.is_nil(); });
  world.stop_server();
  ++world.volume->incarnation;
  world.start_server();
  EXPECT_TRUE(read(opened).failed_with(ESTALE));
  EXPECT_TRUE(everything);
  EXPECT_TRUE(world.run(mkdir("after")));
}

TEST_F(RpcSessionTest, WhatWasNotSyncedWhenAVolumeWasRestoredIsToldOnce) {
  auto opened = *world.run(create("f"));
  ASSERT_TRUE(world.run(
      client->write(world.ctx, opened.attr.gfid, opened.handle, 0, Buffer::copy_of("hello"), false)));
  world.stop_server();
  ++world.volume->incarnation;
  world.start_server();
  EXPECT_TRUE(world.run(client->fsync(world.ctx, opened.attr.gfid, false)).failed_with(EIO));
  EXPECT_TRUE(world.run(client->fsync(world.ctx, opened.attr.gfid, false)));
}

TEST_F(RpcSessionTest, AStoppedVolumeIsAPauseForThoseWhoHaveItMounted) {
  world.stop_server();
  world.started = false;
  world.start_server();
  auto made = world.begin(mkdir("d"));
  world.loop.run_for(10s);
  EXPECT_FALSE(*made);
  EXPECT_NE(client->status().last_error.find("not started"), std::string::npos)
      << client->status().last_error;
  EXPECT_TRUE(world.run(world.server->add_volume(world.volume)));
  world.loop.run_for(3s);
  ASSERT_TRUE(*made);
  EXPECT_TRUE(**made);
}

TEST_F(RpcSessionTest, SilentServerIsLeftAndFoundAgain) {
  world.net.freeze(true);
  auto made = world.begin(mkdir("d"));
  world.loop.run_for(40s);
  EXPECT_FALSE(*made);
  EXPECT_FALSE(client->status().connected);
  world.net.freeze(false);
  world.loop.run_for(15s);
  ASSERT_TRUE(*made);
  EXPECT_TRUE(**made);
  EXPECT_EQ(world.brick.mkdirs, 1u);
}

TEST_F(RpcSessionTest, SoftGivesUpAfterItsTimeout) {
  auto options = world.client_options("soft");
  options.hard = false;
  options.soft_timeout = 30s;
  auto soft = world.make_client(options);
  ASSERT_TRUE(world.run(soft->start()));
  world.stop_server();
  auto task = [](RpcClient& by, OpContext ctx) -> Task<Result<FileAttr>> {
    co_return co_await by.mkdir(ctx, kRoot, "d", NewObject{.mode = 0755});
  };
  auto made = world.begin(task(*soft, world.ctx));
  world.loop.run_for(29s);
  EXPECT_FALSE(*made);
  world.loop.run_for(2s);
  ASSERT_TRUE(*made);
  EXPECT_TRUE((*made)->failed_with(ETIMEDOUT));
  EXPECT_FALSE((*made)->error().maybe_applied()) << "it was never sent";
  EXPECT_TRUE(world.run(task(*soft, world.ctx)).failed_with(ETIMEDOUT)) << "at once, while the outage lasts";
  world.start_server();
  world.loop.run_for(3s);
  EXPECT_TRUE(world.run(task(*soft, world.ctx)));
  world.stop(*soft);
}

TEST_F(RpcSessionTest, AbandonedOpenIsClosedByTheServer) {
  auto options = world.client_options("soft");
  options.hard = false;
  options.soft_timeout = 5s;
  auto soft = world.make_client(options);
  ASSERT_TRUE(world.run(soft->start()));
  const auto file = world.run(create("f"))->attr.gfid;
  world.net.freeze(true);
  auto task = [](RpcClient& by, OpContext ctx, Gfid gfid) -> Task<Result<Opened>> {
    co_return co_await by.open(ctx, gfid, O_RDONLY);
  };
  auto opened = world.begin(task(*soft, world.ctx, file));
  world.net.freeze(false);  // the request arrives, the reply does not
  world.net.refuse_connections(true);
  world.net.break_all();
  world.loop.run_for(6s);
  ASSERT_TRUE(*opened);
  EXPECT_TRUE((*opened)->failed_with(ETIMEDOUT));
  world.net.refuse_connections(false);
  world.loop.run_for(3s);
  EXPECT_EQ(world.brick.releases, world.brick.opens);
  world.stop(*soft);
}

TEST_F(RpcSessionTest, TakeoverClosesTheOlderConnection) {
  // The client believes its connection dead while the server still holds it.
  auto opened = open_unlinked_file();
  world.net.freeze(true);
  world.loop.run_for(40s);
  world.net.freeze(false);
  world.loop.run_for(3s);
  EXPECT_EQ(read(opened)->text(), "hello");
  auto clients = world.server->clients("vol");
  ASSERT_EQ(clients.size(), 1u);
  EXPECT_TRUE(clients[0].connected);
  world.loop.run_for(120s);  // the old connection's end does not end the session
  EXPECT_EQ(read(opened)->text(), "hello");
}

TEST_F(RpcSessionTest, TokenInOtherHandsIsWorthNothing) {
  auto opened = open_unlinked_file();
  const auto session = client->status().session;
  world.net.set_peer({.authenticated = true,
                      .common_name = "client:mallory",
                      .ca_fingerprint = "ab",
                      .uid = {},
                      .pid = 0,
                      .address = ""});
  world.net.break_all();
  world.loop.run_for(3s);
  EXPECT_NE(client->status().session, session);
  EXPECT_TRUE(read(opened).failed_with(ESTALE));
}

TEST_F(RpcSessionTest, LocksOfOneAreInTheWayOfTheOtherUntilTheSessionIsOver) {
  auto other = world.connect("other");
  const auto file = world.run(create("f"))->attr.gfid;
  ASSERT_TRUE(world.run(lock(*client, file, kWholeFile, false)));
  EXPECT_TRUE(world.run(lock(*other, file, kWholeFile, false)).failed_with(EAGAIN));
  auto waiting = world.begin(lock(*other, file, kWholeFile, true));
  EXPECT_FALSE(*waiting);
  world.stop(*client);
  world.loop.settle();
  ASSERT_TRUE(*waiting);
  EXPECT_TRUE(**waiting);
  world.stop(*other);
}

}  // namespace
}  // namespace polder
