// SPDX-License-Identifier: GPL-3.0-or-later
// What a read-only view of a brick answers is what the brick answers; and nothing changes it, byte for byte.
#include "core-volume/layers/snapshot_view/read_only_layer.h"

#include <gtest/gtest.h>

#include "core-volume/graph/brick_test_support.h"

namespace polder {

/// The suite comes along with its test client; what cannot be changed cannot run it.
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(Conformance);

namespace {

/// The same simulated disk, seen through a store that was opened read-only.
class View : public SimStack {
 public:
  explicit View(SimBrick& world)
      : store_(must(Store::open(
            world.disk, "/b",
            {.volume = kBrickIdentity.volume, .brick = kBrickIdentity.brick, .read_only = true}))),
        layer_(*world.workers, *store_) {}
  FileOps& ops() override { return layer_; }
  Store& store() { return *store_; }

 private:
  std::unique_ptr<Store> store_;
  ReadOnlyLayer layer_;
};

/// Every kind of object.
void fill(Client& client) {
  auto dir = client.dir(Gfid::root(), "dir");
  auto file = client.file(dir, "file", "some bytes");
  must(client.link(file, Gfid::root(), "second-name"));
  must(client.symlink(dir, "link", "../anywhere"));
  must(client.mknod(Gfid::root(), "fifo", {.mode = S_IFIFO | 0600}));
  must(client.setxattr(file, "user.colour", "green"));
  client.chmod(file, 06755);
  for (int i = 0; i < 300; ++i) client.file(dir, "n" + std::to_string(i));
}

TEST(ReadOnlyLayerTest, AnswersWhatTheBrickAnswers) {
  SimBrick world;
  Client writer(world);
  fill(writer);
  const auto expected = writer.dump();
  ASSERT_GT(expected.size(), 300u);
  View view(world);
  Client reader(view);
  EXPECT_EQ(reader.dump(), expected);
  auto file = must(reader.lookup(must(reader.lookup(Gfid::root(), "dir")).gfid, "file")).gfid;
  EXPECT_EQ(must(reader.getxattr(file, "user.colour")), "green");
  EXPECT_EQ(code_of(reader.getxattr(file, "trusted.polder.meta")), ENODATA);
  EXPECT_EQ(code_of(reader.lookup(Gfid::root(), "absent")), ENOENT);
  EXPECT_EQ(code_of(reader.getattr(Gfid{{9}})), ESTALE);
  EXPECT_EQ(code_of(reader.read(file, 99, 0, 1)), EBADF);
  EXPECT_EQ(code_of(reader.open(Gfid::root(), O_RDWR)), EISDIR);
}

TEST(ReadOnlyLayerTest, NothingChangesIt) {
  SimBrick world;
  Client writer(world);
  fill(writer);
  View view(world);
  Client reader(view);
  const auto before = reader.dump();
  const auto root = Gfid::root();
  auto file = must(reader.lookup(root, "second-name")).gfid;
  EXPECT_EQ(code_of(reader.create(root, "new")), EROFS);
  EXPECT_EQ(code_of(reader.create(root, "second-name", {.mode = 0644}, O_RDWR | O_EXCL)), EEXIST);
  EXPECT_EQ(code_of(reader.create(root, "second-name", {.mode = 0644}, O_RDWR)), EROFS);
  EXPECT_EQ(code_of(reader.create(root, "second-name", {.mode = 0644}, O_RDONLY)), 0);
  EXPECT_EQ(code_of(reader.open(file, O_WRONLY)), EROFS);
  EXPECT_EQ(code_of(reader.open(file, O_RDONLY | O_TRUNC)), EROFS);
  EXPECT_EQ(code_of(reader.mkdir(root, "new")), EROFS);
  EXPECT_EQ(code_of(reader.mknod(root, "new", {.mode = S_IFREG | 0600})), EROFS);
  EXPECT_EQ(code_of(reader.symlink(root, "new", "x")), EROFS);
  EXPECT_EQ(code_of(reader.link(file, root, "new")), EROFS);
  EXPECT_EQ(code_of(reader.unlink(root, "second-name")), EROFS);
  EXPECT_EQ(code_of(reader.rmdir(root, "dir")), EROFS);
  EXPECT_EQ(code_of(reader.rename(root, "second-name", root, "new")), EROFS);
  EXPECT_EQ(code_of(reader.setattr(file, {.fields = SetAttr::kMode, .mode = 0})), EROFS);
  EXPECT_EQ(code_of(reader.setxattr(file, "user.colour", "red")), EROFS);
  EXPECT_EQ(code_of(reader.removexattr(file, "user.colour")), EROFS);
  EXPECT_EQ(code_of(reader.write(file, 1, 0, "x")), EROFS);
  EXPECT_EQ(code_of(reader.fallocate(file, 0, 0, 100)), EROFS);
  EXPECT_EQ(code_of(reader.copy_range(file, 0, file, 4, 2)), EROFS);
  Record record;
  record.kind = RecordKind::kRemoved;
  record.gfid = file;
  EXPECT_EQ(code_of(reader.replay({&record, 1})), EROFS);
  EXPECT_EQ(code_of(reader.fsync(file)), 0);
  EXPECT_EQ(code_of(reader.sync()), 0);
  EXPECT_EQ(reader.dump(), before);
  // Nor can the store below be made to, by whoever has it.
  EXPECT_EQ(code_of(view.store().apply(record)), EROFS);
  EXPECT_EQ(code_of(view.store().reap(file)), EROFS);
  EXPECT_EQ(code_of(view.store().remember_boot(1)), EROFS);
}

}  // namespace
}  // namespace polder
