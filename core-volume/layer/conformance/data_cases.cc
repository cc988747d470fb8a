// SPDX-License-Identifier: GPL-3.0-or-later
// Conformance: open files and their bytes.
#include <linux/falloc.h>
#include <unistd.h>

#include "base/coro.h"
#include "core-volume/layer/conformance/conformance.h"

namespace polder {

namespace {

constexpr std::uint64_t kMiB = 1 << 20;

std::string zeros(std::size_t count) {
  return std::string(count, '\0');
}

}  // namespace

TEST_P(Conformance, WriteThenRead) {
  const Opened f = must(c.create(root, "f"));
  EXPECT_TRUE(f.created);
  const WriteResult written = must(c.write(f.attr.gfid, f.handle, 0, "hello world"));
  EXPECT_EQ(written.offset, 0u);
  EXPECT_EQ(written.attr.size, 11u);
  must(c.write(f.attr.gfid, f.handle, 6, "there"));
  EXPECT_EQ(must(c.read(f.attr.gfid, f.handle, 0, 100)), "hello there");
  EXPECT_EQ(must(c.read(f.attr.gfid, f.handle, 4, 3)), "o t");
  EXPECT_EQ(must(c.read(f.attr.gfid, f.handle, 11, 10)), "");
  EXPECT_EQ(must(c.read(f.attr.gfid, f.handle, 1ull << 40, 10)), "");
}

TEST_P(Conformance, WriteTimes) {
  const Opened f = must(c.create(root, "f"));
  const FileAttr after = must(c.write(f.attr.gfid, f.handle, 0, "x")).attr;
  EXPECT_GT(ns(after.mtime), ns(f.attr.mtime));
  EXPECT_EQ(ns(after.mtime), ns(after.ctime));
  EXPECT_EQ(ns(after.atime), ns(f.attr.atime));
  EXPECT_EQ(ns(c.attr(f.attr.gfid).ctime), ns(after.ctime));
  must(c.write(f.attr.gfid, f.handle, 0, ""));
  EXPECT_EQ(ns(c.attr(f.attr.gfid).ctime), ns(after.ctime)) << "writing nothing changes nothing";
}

TEST_P(Conformance, WriteBeyondTheEndLeavesAHole) {
  const Gfid file = c.file(root, "f", "start");
  c.put(file, 10, "end");
  EXPECT_EQ(c.content(file), "start" + zeros(5) + "end");
}

TEST_P(Conformance, LargeWritesAtOddOffsets) {
  std::string pattern(300'001, '\0');
  for (std::size_t i = 0; i < pattern.size(); ++i) pattern[i] = static_cast<char>(i * 131 >> 3);
  const Gfid file = c.file(root, "f");
  c.put(file, 4093, pattern);
  EXPECT_EQ(c.content(file), zeros(4093) + pattern);
  EXPECT_EQ(c.content(file, 100'000, 65'537), (zeros(4093) + pattern).substr(100'000, 65'537));
}

TEST_P(Conformance, AppendsAreBrickPlaced) {
  const Opened f = must(c.create(root, "f"));
  EXPECT_EQ(must(c.write(f.attr.gfid, f.handle, 999, "one", true)).offset, 0u);
  EXPECT_EQ(must(c.write(f.attr.gfid, f.handle, 0, "two", true)).offset, 3u);
  EXPECT_EQ(c.content(f.attr.gfid), "onetwo");
}

namespace {

Task<void> append_all(FileOps& ops, OpContext ctx, Gfid gfid, HandleId handle, char mark) {
  for (int i = 0; i < 10; ++i) {
    ++ctx.sequence;
    Result<WriteResult> written =
        co_await ops.write(ctx, gfid, handle, 0, Buffer::copy_of(std::string(10, mark)), true);
    EXPECT_TRUE(written) << written.error().message();
  }
}

Task<void> create_exclusive(FileOps& ops, OpContext ctx, int& winners, int& losers) {
  NewObject object{.mode = 0600};
  Result<Opened> opened = co_await ops.create(ctx, Gfid::root(), "lock", object, O_CREAT | O_EXCL | O_RDWR);
  if (opened) ++winners;
  if (opened.failed_with(EEXIST)) ++losers;
}

}  // namespace

TEST_P(Conformance, ConcurrentAppendsNeverOverlap) {
  const Gfid file = c.file(root, "f");
  std::vector<Task<void>> tasks;
  for (int i = 0; i < 4; ++i) {
    const Opened opened = must(c.open(file));
    OpContext ctx = c.context();
    ctx.sequence += 1000 * (i + 1);
    tasks.push_back(append_all(stack->ops(), ctx, file, opened.handle, static_cast<char>('a' + i)));
  }
  stack->run(std::move(tasks));
  c.context().sequence += 10'000;
  const std::string content = c.content(file);
  ASSERT_EQ(content.size(), 400u);
  for (std::size_t i = 0; i < 400; i += 10) EXPECT_EQ(content.substr(i, 10), std::string(10, content[i]));
}

TEST_P(Conformance, ExclusiveCreateHasOneWinner) {
  int winners = 0, losers = 0;
  std::vector<Task<void>> tasks;
  for (int i = 0; i < 8; ++i) {
    OpContext ctx = c.context();
    ctx.sequence += static_cast<std::uint64_t>(i) + 1;
    tasks.push_back(create_exclusive(stack->ops(), ctx, winners, losers));
  }
  stack->run(std::move(tasks));
  c.context().sequence += 100;
  EXPECT_EQ(winners, 1);
  EXPECT_EQ(losers, 7);
}

TEST_P(Conformance, CreateOpensWhatIsThere) {
  const Gfid file = c.file(root, "f", "content");
  const Opened opened = must(c.create(root, "f", {.mode = 0600}, O_RDWR));
  EXPECT_FALSE(opened.created);
  EXPECT_EQ(opened.attr.gfid, file);
  EXPECT_EQ(opened.attr.mode, S_IFREG | 0644u);
  EXPECT_EQ(must(c.read(file, opened.handle, 0, 100)), "content");
  const Opened truncated = must(c.create(root, "f", {.mode = 0600}, O_RDWR | O_TRUNC));
  EXPECT_EQ(truncated.attr.size, 0u);
  EXPECT_EQ(c.content(file), "");
}

TEST_P(Conformance, CreateOverOtherTypes) {
  c.dir(root, "d");
  must(c.symlink(root, "l", "f"));
  EXPECT_EQ(code_of(c.create(root, "d", {.mode = 0600}, O_RDWR)), EISDIR);
  EXPECT_EQ(code_of(c.create(root, "l", {.mode = 0600}, O_RDWR)), ELOOP);
  EXPECT_EQ(code_of(c.create(root, "d", {.mode = 0600}, O_RDWR | O_EXCL)), EEXIST);
}

TEST_P(Conformance, OpenErrors) {
  const Gfid file = c.file(root, "f"), dir = c.dir(root, "d");
  const Gfid link = must(c.symlink(root, "l", "f")).gfid;
  const Gfid fifo = must(c.mknod(root, "p", {.mode = S_IFIFO | 0600})).gfid;
  EXPECT_EQ(code_of(c.open(dir, O_RDWR)), EISDIR);
  EXPECT_EQ(code_of(c.open(file, O_RDONLY | O_DIRECTORY)), ENOTDIR);
  EXPECT_EQ(code_of(c.open(link, O_RDONLY)), ELOOP);
  EXPECT_EQ(code_of(c.open(fifo, O_RDWR)), ENXIO);
  must(c.unlink(root, "f"));
  EXPECT_EQ(code_of(c.open(file)), ESTALE);
}

TEST_P(Conformance, OpenTruncates) {
  const Gfid file = c.file(root, "f", "content");
  const FileAttr before = c.attr(file);
  const Opened opened = must(c.open(file, O_RDWR | O_TRUNC));
  EXPECT_EQ(opened.attr.size, 0u);
  EXPECT_GT(ns(opened.attr.mtime), ns(before.mtime));
  EXPECT_EQ(c.content(file), "");
}

TEST_P(Conformance, HandlesAreChecked) {
  const Opened f = must(c.create(root, "f")), g = must(c.create(root, "g"));
  EXPECT_EQ(code_of(c.read(f.attr.gfid, g.handle, 0, 1)), EBADF);
  EXPECT_EQ(code_of(c.write(f.attr.gfid, g.handle, 0, "x")), EBADF);
  must(c.release(f.attr.gfid, f.handle));
  EXPECT_EQ(code_of(c.write(f.attr.gfid, f.handle, 0, "x")), EBADF);
  must(c.release(f.attr.gfid, f.handle));
}

TEST_P(Conformance, UnlinkedFileLivesWhileOpen) {
  const Opened f = must(c.create(root, "f"));
  must(c.write(f.attr.gfid, f.handle, 0, "before"));
  must(c.unlink(root, "f"));
  EXPECT_EQ(c.attr(f.attr.gfid).nlink, 0u);
  must(c.write(f.attr.gfid, f.handle, 6, " after"));
  EXPECT_EQ(must(c.read(f.attr.gfid, f.handle, 0, 100)), "before after");
  c.truncate(f.attr.gfid, 3);
  EXPECT_EQ(must(c.read(f.attr.gfid, f.handle, 0, 100)), "bef");
  const Opened second = must(c.open(f.attr.gfid));
  must(c.release(f.attr.gfid, f.handle));
  EXPECT_EQ(must(c.read(f.attr.gfid, second.handle, 0, 100)), "bef");
  must(c.release(f.attr.gfid, second.handle));
  EXPECT_EQ(code_of(c.getattr(f.attr.gfid)), ESTALE);
}

TEST_P(Conformance, EndOfSessionClosesItsFiles) {
  const Opened f = must(c.create(root, "f"));
  must(c.unlink(root, "f"));
  must(c.end_session());
  EXPECT_EQ(code_of(c.getattr(f.attr.gfid)), ESTALE);
}

TEST_P(Conformance, TruncateDownAndUp) {
  const Gfid file = c.file(root, "f", "0123456789");
  const FileAttr before = c.attr(file);
  c.truncate(file, 4);
  EXPECT_EQ(c.content(file), "0123");
  EXPECT_GT(ns(c.attr(file).mtime), ns(before.mtime));
  EXPECT_EQ(ns(c.attr(file).mtime), ns(c.attr(file).ctime));
  c.truncate(file, 8);
  EXPECT_EQ(c.content(file), "0123" + zeros(4)) << "what was cut off must not come back";
}

TEST_P(Conformance, TruncateWithOtherAttributes) {
  const Gfid file = c.file(root, "f", "0123456789");
  must(c.setattr(file, {.fields = SetAttr::kSize | SetAttr::kMode | SetAttr::kMtime,
                        .mode = 0600,
                        .size = 2,
                        .mtime = {55, 5}}));
  const FileAttr after = c.attr(file);
  EXPECT_EQ(after.size, 2u);
  EXPECT_EQ(after.mode, S_IFREG | 0600u);
  EXPECT_EQ(after.mtime.tv_sec, 55);
}

TEST_P(Conformance, SparseFileCostsNothing) {
  const Gfid file = c.file(root, "f");
  c.truncate(file, 1ull << 40);
  c.put(file, (1ull << 40) - 3, "end");
  c.put(file, 1ull << 39, "middle");
  EXPECT_EQ(c.attr(file).size, 1ull << 40);
  EXPECT_LT(c.attr(file).blocks_512, 8192u);
  EXPECT_EQ(c.content(file, (1ull << 40) - 5, 100), zeros(2) + "end");
  EXPECT_EQ(c.content(file, 12345, 3), zeros(3));
}

TEST_P(Conformance, WritePastTheLargestOffset) {
  const Opened f = must(c.create(root, "f"));
  EXPECT_EQ(code_of(c.write(f.attr.gfid, f.handle, INT64_MAX, "xy")), EFBIG);
  EXPECT_EQ(code_of(c.write(f.attr.gfid, f.handle, UINT64_MAX, "xy")), EFBIG);
  EXPECT_EQ(c.attr(f.attr.gfid).size, 0u);
}

TEST_P(Conformance, DataOperationsOnOtherTypes) {
  const Opened dir = must(c.open(c.dir(root, "d"), O_RDONLY | O_DIRECTORY));
  const Gfid gfid = dir.attr.gfid, file = c.file(root, "f", "x");
  EXPECT_EQ(code_of(c.read(gfid, dir.handle, 0, 10)), EISDIR);
  EXPECT_EQ(code_of(c.write(gfid, dir.handle, 0, "x")), EISDIR);
  EXPECT_EQ(code_of(c.fallocate(gfid, 0, 0, 10)), EISDIR);
  EXPECT_EQ(code_of(c.seek(gfid, 0, SEEK_DATA)), EISDIR);
  EXPECT_EQ(code_of(c.copy_range(file, 0, gfid, 0, 1)), EISDIR);
  EXPECT_EQ(code_of(c.copy_range(gfid, 0, file, 0, 1)), EISDIR);
}

TEST_P(Conformance, SeekFindsDataAndHoles) {
  const Gfid file = c.file(root, "f");
  c.truncate(file, 4 * kMiB);
  c.put(file, kMiB, std::string(kMiB, 'x'));
  EXPECT_EQ(must(c.seek(file, 0, SEEK_DATA)), kMiB);
  EXPECT_EQ(must(c.seek(file, kMiB + 5, SEEK_DATA)), kMiB + 5);
  EXPECT_EQ(must(c.seek(file, 0, SEEK_HOLE)), 0u);
  EXPECT_EQ(must(c.seek(file, kMiB, SEEK_HOLE)), 2 * kMiB);
  EXPECT_EQ(must(c.seek(file, 3 * kMiB, SEEK_HOLE)), 3 * kMiB);
  EXPECT_EQ(code_of(c.seek(file, 2 * kMiB, SEEK_DATA)), ENXIO);
  EXPECT_EQ(code_of(c.seek(file, 4 * kMiB, SEEK_DATA)), ENXIO);
  EXPECT_EQ(code_of(c.seek(file, 4 * kMiB, SEEK_HOLE)), ENXIO);
  EXPECT_EQ(code_of(c.seek(file, 0, 99)), EINVAL);
}

TEST_P(Conformance, SeekHoleAtTheEnd) {
  const Gfid file = c.file(root, "f", std::string(100'000, 'x'));
  EXPECT_EQ(must(c.seek(file, 0, SEEK_HOLE)), 100'000u);
  EXPECT_EQ(must(c.seek(file, 99'999, SEEK_DATA)), 99'999u);
}

TEST_P(Conformance, FallocateGrows) {
  const Gfid file = c.file(root, "f", "abc");
  const FileAttr before = c.attr(file);
  must(c.fallocate(file, 0, 0, 10'000));
  EXPECT_EQ(c.attr(file).size, 10'000u);
  EXPECT_GT(ns(c.attr(file).ctime), ns(before.ctime));
  must(c.fallocate(file, FALLOC_FL_KEEP_SIZE, 0, 20'000));
  EXPECT_EQ(c.attr(file).size, 10'000u);
  must(c.fallocate(file, 0, 0, 5));
  EXPECT_EQ(c.attr(file).size, 10'000u);
  EXPECT_EQ(c.content(file), "abc" + zeros(9'997));
}

TEST_P(Conformance, FallocatePunches) {
  const Gfid file = c.file(root, "f", std::string(3 * kMiB, 'x'));
  const FileAttr before = c.attr(file);
  must(c.fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, kMiB, kMiB));
  EXPECT_EQ(c.attr(file).size, 3 * kMiB);
  EXPECT_GT(ns(c.attr(file).mtime), ns(before.mtime));
  EXPECT_EQ(c.content(file, kMiB - 2, 4), "xx" + zeros(2));
  EXPECT_EQ(c.content(file, 2 * kMiB - 2, 4), zeros(2) + "xx");
  EXPECT_EQ(must(c.seek(file, 0, SEEK_HOLE)), kMiB);
  must(c.fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 5, 3));
  EXPECT_EQ(c.content(file, 4, 5), "x" + zeros(3) + "x");
  must(c.fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 2 * kMiB, 100 * kMiB));
  EXPECT_EQ(c.attr(file).size, 3 * kMiB);
}

TEST_P(Conformance, FallocateZeroes) {
  const Gfid file = c.file(root, "f", "0123456789");
  must(c.fallocate(file, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 8, 10));
  EXPECT_EQ(c.content(file), "01234567" + zeros(2));
  must(c.fallocate(file, FALLOC_FL_ZERO_RANGE, 2, 10));
  EXPECT_EQ(c.content(file), "01" + zeros(10));
}

TEST_P(Conformance, FallocateErrors) {
  const Gfid file = c.file(root, "f", "x");
  EXPECT_EQ(code_of(c.fallocate(file, 0, 0, 0)), EINVAL);
  EXPECT_EQ(code_of(c.fallocate(file, 0, INT64_MAX, 2)), EFBIG);
  EXPECT_EQ(code_of(c.fallocate(file, FALLOC_FL_PUNCH_HOLE, 0, 1)), EOPNOTSUPP);
  EXPECT_EQ(code_of(c.fallocate(file, FALLOC_FL_COLLAPSE_RANGE, 0, 4096)), EOPNOTSUPP);
  EXPECT_EQ(code_of(c.fallocate(file, FALLOC_FL_INSERT_RANGE, 0, 4096)), EOPNOTSUPP);
  EXPECT_EQ(c.content(file), "x");
}

TEST_P(Conformance, CopyRange) {
  const Gfid from = c.file(root, "from", "0123456789"), to = c.file(root, "to", "abcdefghij");
  const FileAttr from_before = c.attr(from);
  EXPECT_EQ(must(c.copy_range(from, 2, to, 4, 3)), 3u);
  EXPECT_EQ(c.content(to), "abcd234hij");
  EXPECT_EQ(must(c.copy_range(from, 8, to, 9, 100)), 2u) << "clipped at the end of the source";
  EXPECT_EQ(c.content(to), "abcd234hi89");
  EXPECT_EQ(must(c.copy_range(from, 10, to, 0, 5)), 0u);
  EXPECT_EQ(ns(c.attr(from).ctime), ns(from_before.ctime));
  EXPECT_EQ(ns(c.attr(to).mtime), ns(c.attr(to).ctime));
}

TEST_P(Conformance, CopyRangeInOneFile) {
  const Gfid file = c.file(root, "f", "0123456789");
  EXPECT_EQ(must(c.copy_range(file, 0, file, 5, 5)), 5u);
  EXPECT_EQ(c.content(file), "0123401234");
  EXPECT_EQ(code_of(c.copy_range(file, 0, file, 3, 5)), EINVAL);
}

TEST_P(Conformance, CopyRangeOfHoles) {
  const Gfid from = c.file(root, "from"), to = c.file(root, "to", std::string(2 * kMiB, 'x'));
  c.truncate(from, 2 * kMiB);
  c.put(from, kMiB, "data");
  EXPECT_EQ(must(c.copy_range(from, 0, to, 0, 2 * kMiB)), 2 * kMiB);
  EXPECT_EQ(c.content(to, 0, 4), zeros(4));
  EXPECT_EQ(c.content(to, kMiB - 1, 6), zeros(1) + "data" + zeros(1));
  EXPECT_EQ(c.content(to, 2 * kMiB - 4, 10), zeros(4));
}

TEST_P(Conformance, SyncAndFsync) {
  const Gfid file = c.file(root, "f", "x"), dir = c.dir(root, "d");
  must(c.fsync(file));
  must(c.fsync(file, true));
  must(c.fsync(dir));
  must(c.sync());
  must(c.unlink(root, "f"));
  EXPECT_EQ(code_of(c.fsync(file)), ESTALE);
}

TEST_P(Conformance, DataOfHardLinksAndRenamesStays) {
  const Gfid file = c.file(root, "a", "content");
  const Opened opened = must(c.open(file));
  must(c.rename(root, "a", c.dir(root, "d"), "b"));
  must(c.write(file, opened.handle, 0, "CON"));
  EXPECT_EQ(c.content(file), "CONtent");
}

}  // namespace polder
