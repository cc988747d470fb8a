// SPDX-License-Identifier: GPL-3.0-or-later
// What a comparison of the bricks does with single things that a power loss can leave (reconcile.h).
#include "core-volume/graph/reconcile.h"

#include <gmock/gmock.h>

#include "core-volume/graph/volume_stack_test_support.h"

namespace polder {
namespace {

/// One set's part of an unlink or rmdir.
void remove_on(SimVolume& volume, std::uint32_t set, const EntryName& name, const Gfid& gfid,
               std::uint32_t type) {
  Record record;
  record.kind = RecordKind::kUnlink;
  record.name = name;
  record.gfid = gfid;
  record.last_link = true;
  record.tx.mode = type;
  must(volume.stack->brick(set)->store().apply(record, {.keep_object = true}));
}

void repair_all(SimVolume& volume) {
  std::map<std::uint32_t, Store*> stores;
  for (const auto& [set, brick] : volume.stack->bricks()) stores[set] = &brick->store();
  for (int round = 0; round < 8; ++round) {
    auto repairs = must(find_repairs(stores, volume.stack->placement()));
    if (repairs.empty()) return;
    for (auto& repair : repairs) {
      repair.record.tx.id = {repair.set, volume.seams.hlc.next().ns};
      repair.record.tx.phase = TxPhase::kDecided;
      must(volume.run_one(
          volume.stack->brick(repair.set)->ordering().replay(OpContext{}, {&repair.record, 1})));
    }
  }
  FAIL() << "no end of repairs";
}

/// And after another start.
std::vector<std::string> problems_after_repairs(SimVolume& volume) {
  repair_all(volume);
  volume.stop();
  volume.start();
  return volume.problems();
}

/// A directory of the root on `set`.
EntryName make_directory_on(SimVolume& volume, Client& client, std::uint32_t set, Gfid& gfid) {
  for (int i = 0; i < 100; ++i) {
    const auto name = fmt::format("on{}-{}", set, i);
    gfid = must(client.mkdir(Gfid::root(), name)).gfid;
    if (volume.stack->placement().set_of(gfid) == set) return {Gfid::root(), name};
    must(client.rmdir(Gfid::root(), name));
  }
  throw std::runtime_error("no directory fell on the set");
}

/// Its removal is in a log, the one of the name in it in none: a file of another set believes to be there.
TEST(Reconcile, ADirectoryThatWasRemovedGetsNoNameBack) {
  SimVolume volume(3, Spread::kDirs);
  Client client(volume);
  Gfid removed, other;
  const auto place = make_directory_on(volume, client, 1, removed);
  make_directory_on(volume, client, 2, other);
  const auto file = client.file(other, "file", "data");
  must(client.rename(other, "file", removed, "file"));
  remove_on(volume, 1, {removed, "file"}, file, S_IFREG);
  remove_on(volume, 0, place, removed, S_IFDIR);
  remove_on(volume, 1, place, removed, S_IFDIR);
  EXPECT_THAT(problems_after_repairs(volume), testing::IsEmpty());
  const auto found = must(client.lookup(Gfid::root(), "lost+found-" + file.hex()));
  EXPECT_EQ(client.content(found.gfid), "data");
}

/// Its set has kept the removal on its disk, the one of its name has not, and no log has it.
TEST(Reconcile, ADirectoryThatHasAnEntryWasNotRemoved) {
  SimVolume volume(3, Spread::kDirs);
  Client client(volume);
  Gfid gfid;
  const auto place = make_directory_on(volume, client, 1, gfid);
  remove_on(volume, 1, place, gfid, S_IFDIR);
  EXPECT_THAT(problems_after_repairs(volume), testing::IsEmpty());
  client.file(gfid, "file", "data");
  EXPECT_EQ(must(client.lookup(Gfid::root(), place.name)).gfid, gfid);
}

/// Its removal is in the logs, the one of a name in it is not.
TEST(Reconcile, ADirectoryThatWasRemovedBeforeItWasEmptyGetsItsNameBack) {
  SimVolume volume(3, Spread::kDirs);
  Client client(volume);
  Gfid gfid;
  const auto place = make_directory_on(volume, client, 1, gfid);
  client.file(gfid, "file", "data");
  remove_on(volume, 1, place, gfid, S_IFDIR);
  remove_on(volume, 0, place, gfid, S_IFDIR);
  EXPECT_THAT(problems_after_repairs(volume), testing::IsEmpty());
  EXPECT_EQ(must(client.lookup(Gfid::root(), place.name)).gfid, gfid);
  EXPECT_THAT(client.names(gfid), testing::ElementsAre("file"));
}

/// Its removal is on the disks and in no log, and an older record has put a name in it again.
TEST(Reconcile, ARemovedDirectoryThatHasANameInItAgainGetsItsOwnBack) {
  SimVolume volume(3, Spread::kDirs);
  Client client(volume);
  Gfid gfid;
  const auto place = make_directory_on(volume, client, 1, gfid);
  const auto file = client.file(gfid, "file", "data");
  must(client.rename(gfid, "file", Gfid::root(), "moved"));
  remove_on(volume, 1, place, gfid, S_IFDIR);
  remove_on(volume, 0, place, gfid, S_IFDIR);
  Record link;
  link.kind = RecordKind::kLink;
  link.gfid = file;
  link.name = {gfid, "file"};
  must(volume.stack->brick(1)->store().apply(link));
  EXPECT_THAT(problems_after_repairs(volume), testing::IsEmpty());
  EXPECT_EQ(must(client.lookup(Gfid::root(), place.name)).gfid, gfid);
  EXPECT_THAT(client.names(gfid), testing::ElementsAre("file"));
}

/// The only name of a file of another set was in it.
TEST(Reconcile, ADirectoryThatGetsANameBackIsNotRemoved) {
  SimVolume volume(3, Spread::kDirs);
  Client client(volume);
  Gfid gfid, parent;
  const auto place = make_directory_on(volume, client, 1, gfid);
  const auto above = make_directory_on(volume, client, 2, parent);
  must(client.rename(Gfid::root(), place.name, parent, "directory"));
  const auto file = client.file(Gfid::root(), "file", "data");
  must(client.rename(Gfid::root(), "file", gfid, "file"));
  remove_on(volume, 1, {gfid, "file"}, file, S_IFREG);
  remove_on(volume, 2, {parent, "directory"}, gfid, S_IFDIR);
  remove_on(volume, 2, above, parent, S_IFDIR);
  remove_on(volume, 0, above, parent, S_IFDIR);
  EXPECT_THAT(problems_after_repairs(volume), testing::IsEmpty());
  const auto found = must(client.lookup(Gfid::root(), "lost+found-" + gfid.hex()));
  EXPECT_EQ(client.content(must(client.lookup(found.gfid, "file")).gfid), "data");
}

/// One has moved into the other, whose own move away from there is lost.
TEST(Reconcile, DirectoriesThatAreInOneAnotherAreReachedAgain) {
  SimVolume volume(3, Spread::kDirs);
  Client client(volume);
  Gfid one, other;
  const auto place = make_directory_on(volume, client, 1, one);
  make_directory_on(volume, client, 2, other);
  must(client.rename(Gfid::root(), client.names(Gfid::root()).back(), one, "other"));
  client.file(other, "file", "data");
  Record move;
  move.kind = RecordKind::kRename;
  move.gfid = one;
  move.name = place;
  move.to = {other, "one"};
  move.tx.mode = S_IFDIR;
  for (std::uint32_t set = 0; set < 3; ++set) must(volume.stack->brick(set)->store().apply(move));
  EXPECT_THAT(problems_after_repairs(volume), testing::IsEmpty());
  const auto names = client.names(Gfid::root());
  ASSERT_EQ(names.size(), 1u);
  EXPECT_THAT(names.front(), testing::StartsWith("lost+found-"));
  EXPECT_EQ(client.content(must(client.lookup(other, "file")).gfid), "data");
}

}  // namespace
}  // namespace polder
