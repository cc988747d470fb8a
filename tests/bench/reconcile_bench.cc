// SPDX-License-Identifier: GPL-3.0-or-later
// What the comparison of the bricks after a power loss (core-volume/graph/reconcile.h) costs: makes a volume
// with so many files below PATH, and compares its sets.
//   reconcile_bench [PATH FILES SETS dirs|files]     without: 20,000 files on 3 sets, below /tmp
#include <sys/resource.h>

#include <filesystem>

#include "base/concurrency.h"
#include "base/coro.h"
#include "core-volume/graph/reconcile.h"
#include "core-volume/graph/volume_stack_test_support.h"

namespace polder {
namespace {

constexpr std::uint64_t kFilesOfADirectory = 500;
constexpr int kMakers = 4;

/// Files 0, 1, … of the volume, of which this maker makes each kMakers-th directory.
Task<void> make_files(FileOps& ops, std::uint64_t files, int maker) {
  OpContext ctx{.session = 10 + static_cast<std::uint32_t>(maker)};
  auto next = [&]() -> OpContext& { return ++ctx.sequence, ctx; };
  for (auto first = maker * kFilesOfADirectory; first < files; first += kMakers * kFilesOfADirectory) {
    auto directory =
        must(co_await ops.mkdir(next(), Gfid::root(), fmt::format("directory {}", first), {.mode = 0755}));
    for (auto i = first; i < std::min(files, first + kFilesOfADirectory); ++i)
      must(co_await ops.mknod(next(), directory.gfid, fmt::format("file {}", i), {.mode = S_IFREG | 0644}));
  }
}

double cpu_s() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  auto seconds = [](const timeval& of) {
    return static_cast<double>(of.tv_sec) + static_cast<double>(of.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

void measure(const std::string& path, std::uint64_t files, std::uint32_t sets, Spread spread) {
  RealLoop loop;
  auto clock = make_system_clock();
  auto random = make_system_random();
  auto disk = make_kernel_disk();
  auto workers = make_thread_workers(2);
  NoTransport transport;
  HlcClock hlc(*clock);
  Seams seams{*clock, *random, *disk, transport, *workers, hlc};
  VolumeStackConfig config;
  config.slots = even_slots(sets);
  config.spread = spread;
  for (std::uint32_t set = 0; set < sets; ++set) {
    const Gfid id{{2, static_cast<std::uint8_t>(set)}};
    const auto brick = fmt::format("{}/b{}", path, set);
    must(Brick::format(seams, brick, {.volume = Gfid{{1}}, .brick = id, .set = set, .lineage = Gfid{{3}}}));
    config.bricks[set] = {
        .path = brick, .volume = Gfid{{1}}, .brick = id, .lock_grace = {}, .journal = {}, .ordering = {}};
  }
  auto stack = must(loop.run_until_done(VolumeStack::start(seams, config)));
  TaskGroup group("makers");
  for (int maker = 0; maker < kMakers; ++maker)
    group.spawn(loop.executor(), make_files(stack->top(), files, maker));
  loop.run_until_done(group.wait_idle(), std::chrono::hours(1));

  std::map<std::uint32_t, Store*> stores;
  for (const auto& [set, brick] : stack->bricks()) stores[set] = &brick->store();
  for (int run = 0; run < 2; ++run) {
    const auto cpu_began = cpu_s();
    const auto began = std::chrono::steady_clock::now();
    const auto repairs = must(find_repairs(stores, stack->placement()));
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
    fmt::print("{} files, {} sets, spread {}: {:.2f} s, {:.2f} of them on the CPU; {} repairs\n", files, sets,
               to_string(spread), took.count(), cpu_s() - cpu_began, repairs.size());
  }
  must(loop.run_until_done(stack->stop()));
}

}  // namespace
}  // namespace polder

int main(int argc, char** argv) {
  std::vector<std::string> given(argv + 1, argv + argc);
  if (given.empty()) given = {std::filesystem::temp_directory_path(), "20000", "3", "files"};
  if (given.size() != 4) {
    fmt::print(stderr, "usage: reconcile_bench [PATH FILES SETS dirs|files]\n");
    return 2;
  }
  const auto path = given[0] + "/reconcile_bench";
  std::filesystem::create_directories(path);
  polder::measure(path, std::stoull(given[1]), static_cast<std::uint32_t>(std::stoul(given[2])),
                  given[3] == "files" ? polder::Spread::kFiles : polder::Spread::kDirs);
  std::filesystem::remove_all(path);
}
