// SPDX-License-Identifier: GPL-3.0-or-later
// The log of a volume that several applications have changed at the same time, applied again: one record
// after the other, in other orders that its keys allow, and by a pool of workers.
// All must give the tree that the applications have left, byte for byte, with all times.
#include <gmock/gmock.h>

#include <functional>

#include "base/coro.h"
#include "base/on_worker.h"
#include "core-volume/layer/record_rules.h"
#include "core-volume/layers/ordering/any_order.h"
#include "core-volume/layers/snapshot_view/read_only_layer.h"
#include "tests/sim/each_seed.h"
#include "tests/sim/fold.h"
#include "tests/workload/application.h"

namespace polder {
namespace {

using testing::IsEmpty;

constexpr BrickIdentity kIdentity{.volume = Gfid{{1}}, .brick = Gfid{{2}}, .set = 0, .lineage = Gfid{{3}}};

class LiveVolume {
 public:
  explicit LiveVolume(std::uint64_t seed) : world_(seed) {
    TaskGroup group("applications");
    std::vector<std::unique_ptr<Application>> applications;
    for (int i = 0; i < 6; ++i) {
      auto made = std::make_unique<Application>(world_.mount, world_.loop.clock(), *world_.random,
                                                ApplicationOptions{.pause = {}});
      applications.push_back(std::move(made));
      group.spawn(world_.loop.executor(), applications.back()->run(100));
    }
    world_.loop.run_until_done(group.wait_idle());
    auto reader = must(world_.east.brick().journal().read_from(1, true));
    while (auto record = must(reader->next()))
      if (is_about_object(record->kind)) records_.push_back(std::move(*record));
    left_ = world_.east.dump();
  }

  const std::vector<Record>& records() const { return records_; }
  /// `apply` makes the tree anew.
  std::vector<std::string> differences(const std::function<void(Store&)>& apply) {
    SimDisk disk(&world_.loop.clock());
    must(Store::format(disk, "/b", kIdentity, 1));
    auto store = must(Store::open(disk, "/b", {}));
    apply(*store);
    const auto workers = make_inline_workers();
    ReadOnlyLayer view(*workers, *store);
    BorrowedStack stack(world_.loop, view);
    return differing_lines(left_, Client(stack, 0).dump(), "the log applied, compared with the live tree");
  }
  /// As many at once as the pool takes, each when what it depends on is done.
  void apply_by_workers(Store& store) {
    const SimWorkersOptions options;
    SimWorkers workers(world_.loop.clock(), world_.loop.executor(), *world_.random, options, nullptr, 0);
    const auto before = predecessors_of(records_);
    std::vector<std::vector<std::size_t>> after(records_.size());
    std::vector<std::size_t> waits_for;
    for (std::size_t i = 0; i < records_.size(); ++i) {
      waits_for.push_back(before[i].size());
      for (const auto one : before[i]) after[one].push_back(i);
    }
    TaskGroup group("changes");
    std::function<void(std::size_t)> begin;
    const auto apply_one = [&](std::size_t i) -> Task<void> {
      must(co_await on_worker(workers, [&] { return store.apply(records_[i]); }));
      for (const auto next : after[i])
        if (--waits_for[next] == 0) begin(next);
    };
    begin = [&](std::size_t i) { group.spawn(world_.loop.executor(), apply_one(i)); };
    for (std::size_t i = 0; i < records_.size(); ++i)
      if (before[i].empty()) begin(i);
    world_.loop.run_until_done(group.wait_idle());
  }

 private:
  SimWorld world_;
  std::vector<Record> records_;
  std::vector<std::string> left_;
};

TEST(ParallelApplyOfRealLogs, GivesTheLiveTree) {
  for_each_seed(seeds(2, 100), [](std::uint64_t seed) {
    LiveVolume live(seed);
    const auto& records = live.records();
    EXPECT_GT(records.size(), 200u);
    EXPECT_THAT(live.differences([&](Store& store) {
      for (const auto& record : records) must(store.apply(record));
    }),
                IsEmpty())
        << "in the log's order";
    auto random = make_seeded_random(seed);
    for (int run = 0; run < 2; ++run) {
      EXPECT_THAT(live.differences([&](Store& store) {
        for (const auto i : any_order(records, *random, run == 0)) must(store.apply(records[i]));
      }),
                  IsEmpty())
          << "in another order";
    }
    EXPECT_THAT(live.differences([&](Store& store) { live.apply_by_workers(store); }), IsEmpty())
        << "by workers";
  });
}

}  // namespace
}  // namespace polder
