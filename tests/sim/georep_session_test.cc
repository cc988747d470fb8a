// SPDX-License-Identifier: GPL-3.0-or-later
// What a session refuses, what verify finds, how rewritten files travel: two whole daemons on virtual time.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/coro.h"
#include "georep/protocol/record_block.h"
#include "georep/protocol/stream.h"
#include "georep/service/relation.h"
#include "proto/georep.pb.h"
#include "tests/sim/each_seed.h"
#include "tests/sim/sim_world.h"

namespace polder {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr const char* kCreate = "/v1/volumes/data/georep/create";

/// A world whose session runs, and what a test does in it.
class GeorepSession : public testing::Test {
 protected:
  GeorepSession() { log_only_what_was_asked_for(); }

  void start() {
    world.pair();
    world.start_session();
    world.checkpoint();
  }
  Client on_west() { return Client(west_inside, 0); }
  Stored<georep::Relation> relation(SimSite& site) {
    return must(world.loop.run_until_done(georep::list_relations(site.daemon().node().store))).at(0);
  }

  SimWorld world{1};
  BorrowedStack mounted{world.loop, world.mount};
  Client client{mounted};
  BorrowedStack west_inside{world.loop, world.west.brick().top()};
};

TEST_F(GeorepSession, PairingRefusesAVolumeWithContent) {
  on_west().file(Gfid::root(), "mine", "content");
  auto token = world.west.call("POST", "/v1/cluster/token", {{"role", "site"}, {"volume", kSimVolume}});
  auto refused =
      world.east.try_call("POST", kCreate, {{"secondary", "west:24117::data"}, {"token", token.at("token")}});
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message(), HasSubstr("not empty"));
  EXPECT_TRUE(world.east.call("GET", "/v1/georep").at("sessions").as_array().empty());
}

/// A file that is removed and open has its bytes as long, on the primary; the secondary has nothing of it.
TEST_F(GeorepSession, WhatIsRemovedAndOpenDoesNotBecomeAFileWithoutAName) {
  const auto file = client.file(Gfid::root(), "temporary");
  const auto handle = must(client.open(file)).handle;
  must(client.write(file, handle, 0, "scratch"));
  must(client.unlink(Gfid::root(), "temporary"));
  start();
  must(client.write(file, handle, 7, ", and more"));
  world.checkpoint();
  EXPECT_THAT(must(world.west.brick().store().orphans()), IsEmpty());
  must(client.release(file, handle));
  EXPECT_THAT(world.east.problems(), IsEmpty());
  EXPECT_THAT(world.west.problems(), IsEmpty());
  EXPECT_THAT(world.differences(), IsEmpty());
}

/// Renames over files just before the power goes: those that the file system has kept and the log has not are
/// told of as what is there, not as what went.
TEST(GeorepPowerLoss, WhatWasReplacedIsGoneFromTheSecondaryToo) {
  for_each_seed(seeds(10, 200), [](std::uint64_t seed) {
    SimWorld world(seed);
    BorrowedStack mounted(world.loop, world.mount);
    Client client(mounted);
    for (int i = 0; i < 8; ++i) client.file(Gfid::root(), fmt::format("f{}", i), "old");
    world.pair();
    world.start_session();
    world.checkpoint();
    world.loop.run_for(60s);  // what the start does again makes none of the old ones again
    for (int i = 0; i < 8; ++i) {
      client.file(Gfid::root(), "new", "new");
      must(client.rename(Gfid::root(), "new", Gfid::root(), fmt::format("f{}", i)));
    }
    world.east.lose_power(seed);
    world.east.boot();
    world.loop.run_for(5s);
    world.checkpoint();
    EXPECT_THAT(world.differences(), IsEmpty());
    EXPECT_THAT(world.west.problems(), IsEmpty());
  });
}

TEST_F(GeorepSession, ContentThatCameBetweenPairingAndStartIsRefused) {
  world.pair();
  on_west().file(Gfid::root(), "mine", "content");
  world.start_session();
  world.loop.run_for(5s);
  auto status = world.status(world.east);
  EXPECT_EQ(status.at("status").as_string(), "Faulty");
  EXPECT_THAT(std::string(status.at("reason").as_string()), HasSubstr("does not come from this primary"));
}

TEST_F(GeorepSession, AFullSecondaryIsFaultyUntilThereIsRoom) {
  client.file(Gfid::root(), "first", "content");
  start();
  world.west.brick_disk().set_capacity(1);
  client.file(Gfid::root(), "second", std::string(100'000, 'x'));
  world.loop.run_for(10s);
  for (auto* site : {&world.east, &world.west}) {
    const auto status = world.status(*site);
    EXPECT_EQ(status.at("status").as_string(), "Faulty") << site->name();
    EXPECT_THAT(std::string(status.at("reason").as_string()), HasSubstr("No space left on device"));
    EXPECT_GT(world.status(world.east).at("lag_s").as_double(), 5);
  }
  EXPECT_EQ(world.west.dump().size(), 2U);
  world.west.brick_disk().set_capacity(0);
  world.checkpoint();
  EXPECT_EQ(world.status(world.east).at("status").as_string(), "Live");
  EXPECT_THAT(world.differences(), IsEmpty());
}

TEST_F(GeorepSession, OthersOnlyReadTheSecondary) {
  client.file(Gfid::root(), "file", "content");
  start();
  SimProcess process(world.west.clock(), world.west.random(), world.west.disks(), world.west.transport());
  RpcClientOptions options;
  options.endpoints = {Endpoint::unix_socket("/run/polder/data.sock")};
  options.volume = kSimVolume;
  options.client_name = "a mount of the secondary";
  RpcClient mount(*process.seams, world.loop.executor(), options);
  must(world.loop.run_until_done(mount.start()));
  BorrowedStack stack(world.loop, mount);
  Client other(stack);
  const auto file = must(other.lookup(Gfid::root(), "file")).gfid;
  EXPECT_EQ(other.content(file), "content");
  EXPECT_EQ(code_of(other.mkdir(Gfid::root(), "dir")), EROFS);
  EXPECT_EQ(code_of(other.setattr(file, {.fields = SetAttr::kMode, .mode = 0600})), EROFS);
  EXPECT_EQ(code_of(other.unlink(Gfid::root(), "file")), EROFS);
  world.loop.run_until_done(mount.stop());
  EXPECT_THAT(world.differences(), IsEmpty());
}

TEST_F(GeorepSession, AnOlderGenerationIsSuperseded) {
  client.file(Gfid::root(), "file", "content");
  start();
  auto promoted = relation(world.west);
  ++promoted.value.generation;
  must(world.loop.run_until_done(
      georep::put_relation(world.west.daemon().node().store, promoted.value, promoted.version)));
  world.west.kill();
  world.west.boot();
  client.file(Gfid::root(), "later", "content");
  world.loop.run_for(30s);
  EXPECT_EQ(world.status(world.east).at("status").as_string(), "Superseded");
  EXPECT_EQ(world.west.dump().size(), 2U);
}

// --- somebody who has the session's certificate, and says what he likes

Task<Result<georep::StreamFrame>> knock(SimWorld& world, georep::Relation relation,
                                        std::vector<georep::StreamMessage> messages, int answers) {
  auto identity = std::make_shared<TlsIdentity>();
  identity->certificate_pem = relation.certificate_pem;
  identity->key_pem = relation.key_pem;
  identity->trusted_ca_pem = relation.peer_ca_pem;
  SimProcess process(world.east.clock(), world.east.random(), world.east.disks(), world.east.transport());
  CO_TRY(auto endpoint, Endpoint::parse(relation.peer_addresses.front()));
  CO_TRY(auto socket, co_await process.transport->connect(endpoint, georep::kGeorepProtocol, identity));
  georep::GeorepStream stream(*process.seams, std::move(socket));
  TaskGroup writer("writer of a test");
  writer.spawn(world.loop.executor(), stream.run());
  for (const auto& message : messages) stream.send(message);
  auto answer = co_await stream.receive(20s);
  while (answer && --answers > 0) answer = co_await stream.receive(20s);
  stream.close();
  co_await writer.stop();
  co_return answer;
}

class GeorepStranger : public GeorepSession {
 protected:
  GeorepStranger() {
    client.file(Gfid::root(), "file", "content");
    start();
    east_relation = relation(world.east).value;
    world.east.call("POST", "/v1/volumes/data/georep/pause");
    auto position = world.east.brick().journal().position(1);
    hello.mutable_hello()->set_version(georep::kStreamVersion);
    hello.mutable_hello()->set_session(east_relation.session);
    hello.mutable_hello()->set_generation(1);
    hello.mutable_hello()->set_lineage(georep::gfid_bytes(position.lineage));
  }
  Result<georep::StreamFrame> knock_with(std::vector<georep::StreamMessage> messages, int answers = 1) {
    return world.loop.run_until_done(knock(world, east_relation, std::move(messages), answers), 60s);
  }
  georep::Refusal refusal_of(const georep::StreamMessage& message) {
    auto answer = must(knock_with({message}));
    if (!answer.message->has_refusal()) throw std::runtime_error("not refused");
    return answer.message->refusal();
  }
  /// The session goes on, and nothing has happened to the volume.
  void expect_unharmed() {
    world.start_session();
    client.file(Gfid::root(), "later", "content");
    world.checkpoint();
    EXPECT_THAT(world.differences(), IsEmpty());
  }

  georep::Relation east_relation;
  georep::StreamMessage hello;
};

TEST_F(GeorepStranger, WrongHellosAreRefusedWithTheReason) {
  auto version = hello;
  version.mutable_hello()->set_version(99);
  EXPECT_EQ(refusal_of(version).code(), georep::Refusal::VERSION);
  auto session = hello;
  session.mutable_hello()->set_session("another");
  EXPECT_EQ(refusal_of(session).code(), georep::Refusal::UNKNOWN_SESSION);
  auto generation = hello;
  generation.mutable_hello()->set_generation(0);
  EXPECT_EQ(refusal_of(generation).code(), georep::Refusal::SUPERSEDED);
  auto lineage = hello;
  lineage.mutable_hello()->set_lineage(std::string(16, 'x'));
  EXPECT_EQ(refusal_of(lineage).code(), georep::Refusal::OTHER_LINEAGE);
  EXPECT_TRUE(must(knock_with({hello})).message->has_welcome());
  expect_unharmed();
}

TEST_F(GeorepStranger, FramesOutOfOrderEndTheConnectionOnly) {
  const auto next = must(knock_with({hello})).message->welcome().spooled().cut() + 1;
  std::vector<georep::StreamMessage> wrong(7);
  wrong[0].mutable_cut_end()->set_cut(next);  // never begun
  wrong[1].mutable_cut_begin()->set_cut(next + 1);
  wrong[2].mutable_extent()->set_cut(next);
  wrong[3].mutable_delta()->set_gfid("short");
  wrong[4].mutable_signature_request()->set_gfid("short");
  wrong[5].mutable_welcome();
  for (int i = 0; i < 5000; ++i) wrong[6].mutable_verify_request()->add_gfid(std::string(16, 'x'));
  for (const auto& message : wrong) {
    auto answer = knock_with({hello, message}, 2);
    ASSERT_TRUE(answer) << message.body_case();
    EXPECT_EQ(answer->message->refusal().code(), georep::Refusal::FAILED) << message.body_case();
    EXPECT_NE(answer->message->refusal().sentence(), "");
    EXPECT_FALSE(knock_with({hello, message}, 3)) << message.body_case();
  }
  EXPECT_FALSE(knock_with({wrong[0]}));
  expect_unharmed();
}

/// What the primary's log was restored from is older than what it has shipped: other changes have these
/// numbers.
TEST_F(GeorepStranger, ACutThatEndsBeforeTheOneBeforeItIsRefused) {
  const auto spooled = must(knock_with({hello})).message->welcome().spooled();
  georep::StreamMessage begin, end;
  begin.mutable_cut_begin()->set_cut(spooled.cut() + 1);
  end.mutable_cut_end()->set_cut(spooled.cut() + 1);
  end.mutable_cut_end()->set_frames(1);
  *end.mutable_cut_end()->mutable_state() = spooled;
  end.mutable_cut_end()->mutable_state()->set_cut(spooled.cut() + 1);
  auto& position = *end.mutable_cut_end()->mutable_state()->mutable_positions(0);
  for (auto change : {+[](georep::Position& p) { p.set_index(p.index() - 1); },
                      +[](georep::Position& p) { p.set_term(p.term() - 1); },
                      +[](georep::Position& p) { p.set_lineage(std::string(16, 'x')); }}) {
    position = spooled.positions(0);
    change(position);
    auto answer = knock_with({hello, begin, end}, 2);
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->message->refusal().code(), georep::Refusal::FAILED);
    EXPECT_THAT(answer->message->refusal().sentence(), testing::HasSubstr("cut"));
  }
  expect_unharmed();
}

TEST_F(GeorepStranger, ACutWithoutItsEndIsNeverApplied) {
  const auto next = must(knock_with({hello})).message->welcome().spooled().cut() + 1;
  const auto before = world.west.dump();
  georep::StreamMessage begin, extent, ping;
  begin.mutable_cut_begin()->set_cut(next);
  extent.mutable_extent()->set_cut(next);
  extent.mutable_extent()->set_gfid(std::string(16, 'x'));
  extent.mutable_extent()->set_time_ns(1);
  ping.mutable_ping();
  auto answer = knock_with({hello, begin, extent, ping}, 2);
  world.loop.run_for(5s);
  EXPECT_EQ(world.west.dump(), before);
  expect_unharmed();
}

/// Neither could be applied, ever: they must not get into the spool.
TEST_F(GeorepStranger, ARecordOfNoObjectIsNotSpooled) {
  const auto next = must(knock_with({hello})).message->welcome().spooled().cut() + 1;
  georep::StreamMessage begin, extent, delta;
  begin.mutable_cut_begin()->set_cut(next);
  extent.mutable_extent()->set_cut(next);
  extent.mutable_extent()->set_gfid(std::string(16, '\0'));
  delta.mutable_delta()->set_cut(next);
  delta.mutable_delta()->set_gfid(std::string(16, '\0'));
  delta.mutable_delta()->set_basis(std::string(16, 'x'));
  for (const auto& message : {extent, delta}) {
    auto answer = knock_with({hello, begin, message}, 2);
    ASSERT_TRUE(answer) << message.body_case();
    EXPECT_EQ(answer->message->refusal().code(), georep::Refusal::FAILED) << message.body_case();
  }
  expect_unharmed();
}

// --- verify

class GeorepVerify : public GeorepSession {
 protected:
  GeorepVerify() {
    dir = client.dir(Gfid::root(), "dir");
    file = client.file(dir, "file", "content");
    client.file(dir, "other", std::string(100'000, 'x'));
    start();
  }
  json::object verify() { return world.east.call("POST", "/v1/volumes/data/georep/verify"); }

  Gfid dir, file;
};

TEST_F(GeorepVerify, NothingDiffers) {
  auto report = verify();
  EXPECT_TRUE(report.at("identical").as_bool());
  EXPECT_EQ(report.at("objects").to_number<int>(), 4);
}

TEST_F(GeorepVerify, AByteThatDiffersIsFound) {
  on_west().put(file, 3, "X");
  auto report = verify();
  EXPECT_FALSE(report.at("identical").as_bool());
  EXPECT_EQ(json::text(report.at("different")), fmt::format("[\"{}\"]", file.hex()));
}

TEST_F(GeorepVerify, AnObjectThatIsMissingIsFound) {
  must(on_west().unlink(dir, "file"));
  auto report = verify();
  EXPECT_FALSE(report.at("identical").as_bool());
  EXPECT_EQ(json::text(report.at("missing")), fmt::format("[\"{}\"]", file.hex()));
  EXPECT_EQ(json::text(report.at("different")), fmt::format("[\"{}\"]", dir.hex()));
}

TEST_F(GeorepVerify, AnObjectTooManyIsFoundByItsDirectory) {
  on_west().file(dir, "surplus", "content");
  auto report = verify();
  EXPECT_EQ(json::text(report.at("different")), fmt::format("[\"{}\"]", dir.hex()));
}

TEST_F(GeorepVerify, AnXattrThatDiffersIsFound) {
  must(on_west().setxattr(file, "user.x", "y"));
  EXPECT_EQ(json::text(verify().at("different")), fmt::format("[\"{}\"]", file.hex()));
}

// --- files rewritten and renamed over the old one

/// Two texts of eight bytes that are the same to librsync's weak sum, whatever stands around them.
std::pair<std::string, std::string> alike() {
  auto random = make_seeded_random(8);
  std::map<std::uint32_t, std::string> seen;
  while (true) {
    std::string text(8, '\0');
    random->fill(std::span(reinterpret_cast<std::uint8_t*>(text.data()), text.size()));
    std::uint32_t sum = 0;
    for (unsigned char c : text) sum = sum * 0x08104225 + c;
    auto [found, fresh] = seen.emplace(sum, text);
    if (!fresh) return {found->second, text};
  }
}

class GeorepDelta : public GeorepSession {
 protected:
  GeorepDelta() {
    auto random = make_seeded_random(7);
    content.resize(1 << 20);
    random->fill(std::span(reinterpret_cast<std::uint8_t*>(content.data()), content.size()));
    client.file(Gfid::root(), "dump", content);
    start();
  }
  /// As an editor does it.
  void rewrite() {
    client.file(Gfid::root(), "dump.new", content);
    must(client.rename(Gfid::root(), "dump.new", Gfid::root(), "dump"));
  }
  std::uint64_t shipped() { return world.network.carried_bytes("east", "west"); }

  std::string content;
};

TEST_F(GeorepDelta, OnlyTheDifferenceTravels) {
  content.replace(500'000, 5, "other");
  content.insert(700'000, "inserted");
  const auto before = shipped();
  rewrite();
  world.checkpoint();
  EXPECT_LT(shipped() - before, 100'000U);
  EXPECT_THAT(world.differences(), IsEmpty());
}

TEST_F(GeorepDelta, AResultThatDoesNotMatchIsSentWhole) {
  content.replace(500'000, 5, "other");
  world.network.set_delay(50ms, 50ms);  // so that there is time between signature and result
  const auto basis = must(client.lookup(Gfid::root(), "dump")).gfid;
  const auto session = relation(world.west).value.session;
  const auto before = shipped();
  const auto back_before = world.network.carried_bytes("west", "east");
  rewrite();
  bool damaged = false;
  for (int i = 0; i < 2000 && !damaged; ++i) {
    world.loop.run_for(1ms);
    damaged =
        world.network.carried_bytes("west", "east") - back_before > 2000;  // the signature is on its way
  }
  ASSERT_TRUE(damaged);
  on_west().put(basis, 10'000, "damage");
  world.checkpoint();
  EXPECT_GT(shipped() - before, 1'000'000U);
  EXPECT_THAT(world.differences(), IsEmpty());
}

/// All blocks of 1 KiB differ, and have the same weak sum: a delta would take too long.
TEST_F(GeorepDelta, ContentThatHasNoUsableSignatureIsSentWhole) {
  const auto [one, other] = alike();
  const auto block = content.substr(0, 1024);
  for (std::size_t i = 0; i < 1024; ++i) {
    content.replace(i * 1024, 1024, block);
    for (std::size_t bit = 0; bit < 10; ++bit)
      content.replace(i * 1024 + 8 * bit, 8, (i >> bit) % 2 == 0 ? one : other);
  }
  rewrite();
  world.checkpoint();
  content.replace(500'000, 5, "other");
  rewrite();
  world.checkpoint();
  EXPECT_THAT(world.differences(), IsEmpty());
}

}  // namespace
}  // namespace polder
