// SPDX-License-Identifier: GPL-3.0-or-later
#include "georep/primary/plan.h"

#include <gtest/gtest.h>

namespace polder::georep {
namespace {

Gfid gfid(std::uint8_t n) {
  Gfid g;
  g.bytes[15] = n;
  return g;
}

/// Builds a log tail, index by index.
struct Log {
  std::vector<Record> records;

  Record& add(RecordKind kind, std::uint8_t object) {
    Record record;
    record.index = records.size() + 1;
    record.time_ns = record.index * 1000;
    record.kind = kind;
    record.gfid = gfid(object);
    record.state.mode = S_IFREG | 0644;
    if (kind == RecordKind::kCreate) record.name = {Gfid::root(), "name"};
    return records.emplace_back(std::move(record));
  }
  void write(std::uint8_t object, std::uint64_t offset, std::uint64_t length) {
    auto& record = add(RecordKind::kWrite, object);
    record.offset = offset;
    record.length = length;
  }
  void write_inline(std::uint8_t object, std::string_view text) {
    auto& record = add(RecordKind::kWrite, object);
    record.length = text.size();
    record.data = Buffer::copy_of(text);
  }
  void rename_over(std::uint8_t object, std::uint8_t displaced) {
    add(RecordKind::kRename, object).displaced = gfid(displaced);
  }
  CutPlan plan() const { return plan_cut(records, find_renamed_over(records)); }
};

std::string describe(const CutPlan& plan) {
  std::string text;
  for (const auto& item : plan.items) {
    if (auto* records = std::get_if<RecordsItem>(&item)) {
      text += "records";
      for (std::size_t i = 0; i < records->count; ++i) {
        text += fmt::format(" {}", plan.records[records->first + i].index);
      }
    } else if (auto* extent = std::get_if<ExtentItem>(&item)) {
      text += fmt::format("extent {}+{} of {} at {}", extent->offset, extent->length, extent->gfid.bytes[15],
                          extent->index);
    } else {
      const auto& delta = std::get<DeltaItem>(item);
      text += fmt::format("delta {} on {} at {}", delta.gfid.bytes[15], delta.basis.bytes[15], delta.index);
    }
    text += "; ";
  }
  return text;
}

TEST(PlanTest, RecordsTravelInLogOrder) {
  Log log;
  log.add(RecordKind::kCreate, 1);
  log.add(RecordKind::kSetattr, 1);
  log.write_inline(1, "small");
  EXPECT_EQ(describe(log.plan()), "records 1 2 3; ");
  EXPECT_EQ(log.plan().upto_index, 3u);
}

TEST(PlanTest, OverlappingWritesAreReadOnceAtTheLastOfThem) {
  Log log;
  log.add(RecordKind::kCreate, 1);
  log.write(1, 0, 100);
  log.add(RecordKind::kCreate, 2);
  log.write(1, 50, 100);
  log.write(1, 1000, 10);
  EXPECT_EQ(describe(log.plan()), "records 1 3; extent 0+150 of 1 at 5; extent 1000+10 of 1 at 5; ");
}

TEST(PlanTest, WritesAreNotMergedAcrossAnotherRecordOfTheObject) {
  Log log;
  log.write(1, 0, 100);
  log.add(RecordKind::kTruncate, 1).length = 10;
  log.write(1, 0, 100);
  EXPECT_EQ(describe(log.plan()), "extent 0+100 of 1 at 1; records 2; extent 0+100 of 1 at 3; ");
}

TEST(PlanTest, RecordsOfOtherObjectsDoNotSplitARun) {
  Log log;
  log.write(1, 0, 100);
  log.add(RecordKind::kSetattr, 2);
  log.write(1, 100, 100);
  EXPECT_EQ(describe(log.plan()), "records 2; extent 0+200 of 1 at 3; ");
}

TEST(PlanTest, RewrittenAndRenamedOverIsADelta) {
  Log log;
  log.add(RecordKind::kCreate, 2);
  log.write(2, 0, 100'000);
  log.write(2, 100'000, 100'000);
  log.add(RecordKind::kSetattr, 2);
  log.rename_over(2, 1);
  EXPECT_EQ(describe(log.plan()), "records 1; delta 2 on 1 at 3; records 4 5; ");
}

TEST(PlanTest, ExtentsOfSeveralRunsFoldIntoOneDeltaAtTheLast) {
  Log log;
  log.add(RecordKind::kCreate, 2);
  log.write(2, 0, 100'000);
  log.add(RecordKind::kSetattr, 2);
  log.write(2, 100'000, 100'000);
  log.rename_over(2, 1);
  EXPECT_EQ(describe(log.plan()), "records 1 3; delta 2 on 1 at 4; records 5; ");
}

TEST(PlanTest, SmallRewritesAndFilesTruncatedAfterwardsAreSentWhole) {
  Log small;
  small.add(RecordKind::kCreate, 2);
  small.write(2, 0, 5'000);
  small.rename_over(2, 1);
  EXPECT_EQ(describe(small.plan()), "records 1; extent 0+5000 of 2 at 2; records 3; ");

  Log truncated;
  truncated.add(RecordKind::kCreate, 2);
  truncated.write(2, 0, 200'000);
  truncated.add(RecordKind::kTruncate, 2).length = 7;
  truncated.rename_over(2, 1);
  EXPECT_EQ(describe(truncated.plan()), "records 1; extent 0+200000 of 2 at 2; records 3 4; ");
}

TEST(PlanTest, AnOldFileRenamedOverAnotherIsNoDelta) {
  Log log;
  log.write(2, 0, 200'000);
  log.rename_over(2, 1);
  EXPECT_EQ(describe(log.plan()), "extent 0+200000 of 2 at 1; records 2; ");
}

TEST(PlanTest, TheRenameMayLieBehindTheCut) {
  Log log;
  log.add(RecordKind::kCreate, 2);
  log.write(2, 0, 200'000);
  log.rename_over(2, 1);
  auto renamed_over = find_renamed_over(log.records);
  log.records.pop_back();
  EXPECT_EQ(describe(plan_cut(log.records, renamed_over)), "records 1; delta 2 on 1 at 2; ");
}

/// What a start after a power loss says of a file: a create without a name, and all its bytes.
TEST(PlanTest, AFileThatAStartHasFoundIsADeltaOnItself) {
  Log log;
  log.add(RecordKind::kFoundBegin, 0);
  log.add(RecordKind::kCreate, 1).name = {};
  log.add(RecordKind::kTruncate, 1);
  log.write(1, 0, 500'000);
  log.add(RecordKind::kSetattr, 1);
  EXPECT_EQ(describe(log.plan()), "records 1 2 3; delta 1 on 1 at 4; records 5; ");
}

TEST(PlanTest, PlanningTwiceGivesTheSame) {
  Log log;
  for (int i = 0; i < 50; ++i) {
    log.add(RecordKind::kCreate, static_cast<std::uint8_t>(i));
    log.write(static_cast<std::uint8_t>(i / 2), 10u * static_cast<unsigned>(i), 15);
  }
  EXPECT_EQ(describe(log.plan()), describe(log.plan()));
}

TEST(PlanTest, ACutEndsBeforeAFileThatIsStillWritten) {
  Log log;
  log.add(RecordKind::kCreate, 1);
  log.add(RecordKind::kCreate, 2);
  log.write(2, 0, 200'000);
  auto still_written = [](const Record& create) { return create.gfid == gfid(2); };
  EXPECT_EQ(choose_cut(log.records, still_written), 1u);
  EXPECT_EQ(choose_cut(log.records, [](const Record&) { return false; }), 3u);
  log.records.erase(log.records.begin());
  EXPECT_EQ(choose_cut(log.records, still_written), 0u);
}

TEST(PlanTest, AnOpenFileWithoutBulkDataHoldsNothingBack) {
  Log log;
  log.add(RecordKind::kCreate, 1);
  log.write_inline(1, "small");
  EXPECT_EQ(choose_cut(log.records, [](const Record&) { return true; }), 2u);
}

}  // namespace
}  // namespace polder::georep
