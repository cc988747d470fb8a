// SPDX-License-Identifier: GPL-3.0-or-later
// Changes whose keys do not meet are applied side by side. Whatever comes of that, it is the tree that the
// log's own order gives, byte for byte, with all times. (Real logs: tests/sim/parallel_apply_test.cc.)
#include <atomic>
#include <thread>

#include "core-volume/layers/ordering/any_order.h"
#include "core-volume/layers/store/store_history.h"
#include "tests/support/seeds.h"

namespace polder {
namespace {

class ParallelApply : public testing::Test {
 protected:
  std::unique_ptr<Store> new_store(const std::string& name) {
    const auto path = disk_->path(name);
    must(Store::format(disk_->disk(), path, kTestIdentity, 1));
    return must(Store::open(disk_->disk(), path, {}));
  }
  /// What users see, and what of it all a scan finds: also what has no name.
  static std::string tree(Store& store) {
    auto text = dump(store);
    auto scan = store.scan({});
    for (const auto& item : must(scan->next(1 << 20))) {
      text += describe(must(store.attr(item.gfid)));
      for (const auto& [key, value] : must(store.state(item.gfid)).xattrs)
        text += fmt::format(" {}={}", key, value);
      text += "\n";
    }
    return text;
  }
  std::string serial(const std::vector<Record>& records) {
    auto store = new_store("serial");
    for (const auto& record : records) must(store->apply(record));
    return tree(*store);
  }

  std::optional<TestDisk> disk_;
};

TEST_F(ParallelApply, AnyOrderThatTheKeysAllowGivesTheSameTree) {
  for (auto seed : seeds(8, 500)) {
    SCOPED_TRACE(fmt::format("POLDER_SIM_SEED={}", seed));
    disk_.emplace("sim");
    History history(seed);
    const auto& records = history.grow(200);
    const auto expected = serial(records);
    auto random = make_seeded_random(seed);
    std::size_t moved = 0;
    for (int run = 0; run < 4 && !HasFailure(); ++run) {
      auto store = new_store(fmt::format("run{}", run));
      const auto order = any_order(records, *random, run == 0);
      ASSERT_EQ(order.size(), records.size());
      for (std::size_t i = 0; i < order.size(); ++i) {
        moved += order[i] != i;
        must(store->apply(records[order[i]]));
      }
      EXPECT_EQ(tree(*store), expected);
    }
    EXPECT_GT(moved, records.size());
    if (HasFailure()) return;
  }
}

/// On threads of the machine, as the product does it: each takes the next record whose predecessors are done.
TEST_F(ParallelApply, ThreadsGiveTheSameTree) {
  for (auto seed : seeds(5, 100)) {
    SCOPED_TRACE(fmt::format("POLDER_SIM_SEED={}", seed));
    disk_.emplace("sim");
    History history(seed + 1000);
    const auto& records = history.grow(300);
    const auto expected = serial(records);
    const auto before = predecessors_of(records);
    auto store = new_store("parallel");
    std::vector<std::atomic<bool>> taken(records.size()), done(records.size());
    std::atomic<std::size_t> left = records.size();
    const auto is_ready = [&](std::size_t i) {
      return std::ranges::all_of(before[i], [&](std::size_t one) { return done[one].load(); });
    };
    const auto work = [&] {
      while (left > 0) {
        for (std::size_t i = 0; i < records.size(); ++i) {
          if (taken[i] || !is_ready(i) || taken[i].exchange(true)) continue;
          must(store->apply(records[i]));
          done[i] = true;
          --left;
        }
      }
    };
    {
      std::vector<std::jthread> threads;
      for (int i = 0; i < 4; ++i) threads.emplace_back(work);
    }
    EXPECT_EQ(tree(*store), expected);
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace polder
