// SPDX-License-Identifier: GPL-3.0-or-later
#include "georep/secondary/unlisted.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "changelog/record/listed.h"
#include "core-volume/layers/store/store_test_support.h"

namespace polder::georep {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

class Unlisted : public testing::Test {
 protected:
  Gfid file(const Gfid& parent, const std::string& name) { return make(parent, name, S_IFREG | 0644); }
  Gfid directory(const Gfid& parent, const std::string& name) { return make(parent, name, S_IFDIR | 0755); }
  void link(const Gfid& gfid, const Gfid& parent, const std::string& name) {
    must(store().apply(maker_.link(gfid, parent, name)));
  }
  /// Finds what is too many in `parent`, removes it, and says what that was.
  std::vector<std::string> keep(const Gfid& parent, const std::vector<std::string>& names) {
    std::vector<std::string> removed;
    for (const auto& listed : listed_records(parent, names)) {
      for (auto& record : must(unlisted(store(), listed))) {
        record.index = ++next_;
        must(store().apply(record));
        removed.push_back(record.name.name);
      }
    }
    return removed;
  }
  void sweep() {
    for (auto& record : must(nameless(store()))) {
      record.index = ++next_;
      must(store().apply(record));
    }
  }
  void unname(const Gfid& parent, const std::string& name) {
    for (const auto& listed : listed_records(parent, {}))
      for (auto& record : must(unlisted(store(), listed, Objects::kStay))) {
        if (record.name.name != name) continue;
        record.index = ++next_;
        must(store().apply(record));
      }
  }
  bool is_there(const Gfid& gfid) { return store().attr(gfid).has_value(); }
  Store& store() { return *store_; }

 private:
  Gfid make(const Gfid& parent, const std::string& name, std::uint32_t mode) {
    auto record = maker_.create(parent, name, mode);
    must(store().apply(record));
    return record.gfid;
  }

  std::unique_ptr<Store> new_store() {
    must(Store::format(disk_.disk(), disk_.path("brick"), kTestIdentity, 1));
    return must(Store::open(disk_.disk(), disk_.path("brick"), {}));
  }

  TestDisk disk_{"sim"};
  std::unique_ptr<Store> store_ = new_store();
  RecordMaker maker_;
  std::uint64_t next_ = 1000;
};

TEST_F(Unlisted, ANameTooManyGoesWithItsFile) {
  const auto kept = file(Gfid::root(), "kept"), gone = file(Gfid::root(), "gone");
  EXPECT_THAT(keep(Gfid::root(), {"kept"}), ElementsAre("gone"));
  EXPECT_TRUE(is_there(kept));
  EXPECT_FALSE(is_there(gone));
  EXPECT_THAT(keep(Gfid::root(), {"kept"}), IsEmpty()) << "once more";
}

TEST_F(Unlisted, AFileWithAnotherNameStays) {
  const auto linked = file(Gfid::root(), "one");
  link(linked, Gfid::root(), "two");
  EXPECT_THAT(keep(Gfid::root(), {"two"}), ElementsAre("one"));
  EXPECT_TRUE(is_there(linked));
}

TEST_F(Unlisted, AllNamesOfAFileAtOnce) {
  const auto linked = file(Gfid::root(), "one");
  link(linked, Gfid::root(), "two");
  EXPECT_THAT(keep(Gfid::root(), {}), UnorderedElementsAre("one", "two"));
  EXPECT_FALSE(is_there(linked));
}

TEST_F(Unlisted, ADirectoryGoesWithAllThatIsBelow) {
  const auto top = directory(Gfid::root(), "top");
  const auto below = directory(top, "below");
  const auto lost = file(below, "lost"), saved = file(below, "file");
  link(saved, Gfid::root(), "saved");
  EXPECT_THAT(keep(Gfid::root(), {"saved"}), UnorderedElementsAre("lost", "file", "below", "top"));
  EXPECT_FALSE(is_there(top));
  EXPECT_FALSE(is_there(below));
  EXPECT_FALSE(is_there(lost));
  EXPECT_TRUE(is_there(saved));
}

TEST_F(Unlisted, ADirectoryThatHasMovedOnLosesItsOldPlaceOnly) {
  const auto moved = directory(Gfid::root(), "from");
  const auto inside = file(moved, "inside");
  link(moved, Gfid::root(), "to");  // as the primary's records say first
  EXPECT_THAT(keep(Gfid::root(), {"to"}), ElementsAre("from"));
  EXPECT_TRUE(is_there(moved));
  EXPECT_TRUE(is_there(inside));
}

TEST_F(Unlisted, WhatIsNotHereHasNothingTooMany) {
  EXPECT_THAT(keep(Gfid{}, {}), IsEmpty());
}

TEST_F(Unlisted, ObjectsStayUntilTheSweep) {
  const auto dir = directory(Gfid::root(), "dir"), below = directory(dir, "below");
  const auto inner = file(below, "inner"), two = file(below, "two"), lone = file(Gfid::root(), "lone");
  link(two, Gfid::root(), "second");
  unname(Gfid::root(), "dir");
  unname(Gfid::root(), "lone");
  for (const auto& gfid : {dir, below, inner, two, lone}) EXPECT_TRUE(is_there(gfid));
  link(lone, Gfid::root(), "again");
  sweep();
  for (const auto& gfid : {dir, below, inner}) EXPECT_FALSE(is_there(gfid));
  for (const auto& gfid : {two, lone}) EXPECT_TRUE(is_there(gfid));
  EXPECT_THAT(must(nameless(store())), IsEmpty());
}

}  // namespace
}  // namespace polder::georep
