// SPDX-License-Identifier: GPL-3.0-or-later
// What the changelog costs: append of a record of 120 bytes, against one write(2) of 120 bytes; and what it
// adds to note that the record was applied. On the file system of TMPDIR (default /tmp). Prints the ratios.
#include <benchmark/benchmark.h>
#include <dirent.h>
#include <unistd.h>

#include <cstdlib>
#include <map>

#include "base/clock.h"
#include "base/hlc.h"
#include "base/log.h"
#include "base/random.h"
#include "base/transport.h"
#include "base/workers.h"
#include "changelog/journal/journal.h"
#include "changelog/record/codec.h"

namespace polder {
namespace {

constexpr std::size_t kRecordBytes = 120;

template <typename T>
T must(Result<T> result) {
  if (!result) log::fatal(result.error().message());
  if constexpr (!std::is_void_v<T>) return std::move(result).value();
}

/// A journal on a directory that goes away with it.
struct World {
  World() : directory(make_directory()) {
    journal = must(Journal::open(seams, directory + "/changelog", {.lineage = Gfid{{1}}, .set = 0, .term = 1},
                                 {.compress_sealed = false}));
  }
  ~World() {
    journal.reset();
    for (const char* part : {"/changelog", ""}) remove_all(directory + part);
  }

  static std::string make_directory() {
    const char* base = std::getenv("TMPDIR");
    std::string path = std::string(base ? base : "/tmp") + "/polder-bench-XXXXXX";
    if (!::mkdtemp(path.data())) log::fatal("cannot make a directory");
    return path;
  }
  void remove_all(const std::string& path) {
    auto dir = must(disk->open(Disk::kNoDir, path, O_RDONLY | O_DIRECTORY));
    for (const auto& entry : must(disk->list(dir.fd())))
      if (entry.type != DT_DIR) must(disk->unlink(dir.fd(), entry.name));
    must(disk->unlink(Disk::kNoDir, path, AT_REMOVEDIR));
  }

  std::string directory;
  std::unique_ptr<Disk> disk = make_kernel_disk();
  std::unique_ptr<Clock> clock = make_system_clock();
  std::unique_ptr<Random> random = make_system_random();
  std::unique_ptr<Workers> workers = make_inline_workers();
  std::unique_ptr<Transport> transport = make_socket_transport();
  HlcClock hlc{*clock};
  Seams seams{*clock, *random, *disk, *transport, *workers, hlc};
  std::unique_ptr<Journal> journal;
};

/// Exactly kRecordBytes on disk.
Record sample() {
  Record record;
  record.kind = RecordKind::kUnlink;
  record.gfid.bytes[15] = 7;
  record.name = {Gfid::root(), "a"};
  while (must(encode_record(record, 0)).size() < kRecordBytes) record.name.name += 'a';
  if (must(encode_record(record, 0)).size() != kRecordBytes) log::fatal("the sample has another size");
  return record;
}

void bare_write(benchmark::State& state) {
  World world;
  auto file = must(world.disk->open(Disk::kNoDir, world.directory + "/bare", O_RDWR | O_CREAT, 0600));
  const std::string bytes(kRecordBytes, 'x');
  for (auto _ : state)
    if (::write(file.fd(), bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size()))
      log::fatal("write failed");
}

void append(benchmark::State& state) {
  World world;
  Record record = sample();
  std::uint64_t in_flight = 0;
  for (auto _ : state) {
    record.time_ns = 0;
    const auto index = must(world.journal->append(record));
    if (++in_flight < kMaxInFlight) continue;
    state.PauseTiming();
    for (; in_flight > 0; --in_flight) must(world.journal->applied(index + 1 - in_flight));
    state.ResumeTiming();
  }
}

void append_and_applied(benchmark::State& state) {
  World world;
  Record record = sample();
  for (auto _ : state) {
    record.time_ns = 0;
    must(world.journal->applied(must(world.journal->append(record))));
  }
}

void encode(benchmark::State& state) {
  Record record = sample();
  for (auto _ : state) benchmark::DoNotOptimize(must(encode_record(record, 0)));
}

void read(benchmark::State& state) {
  World world;
  Record record = sample();
  for (int n = 0; n < 100'000; ++n) must(world.journal->applied(must(world.journal->append(record))));
  auto reader = must(world.journal->read_from(1, true));
  for (auto _ : state) {
    auto next = must(reader->next());
    if (next) continue;
    state.PauseTiming();
    reader = must(world.journal->read_from(1, true));
    state.ResumeTiming();
  }
}

BENCHMARK(bare_write);
BENCHMARK(append);
BENCHMARK(append_and_applied);
BENCHMARK(encode);
BENCHMARK(read);

class Reporter final : public benchmark::ConsoleReporter {
 public:
  void ReportRuns(const std::vector<Run>& runs) override {
    ConsoleReporter::ReportRuns(runs);
    for (const Run& run : runs) time_ns_[run.benchmark_name()] = run.GetAdjustedRealTime();
  }
  void print_ratios() {
    const double bare = time_ns_["bare_write"];
    for (const char* name : {"append", "append_and_applied"})
      if (bare > 0 && time_ns_.contains(name))
        fmt::print("{} / bare_write = {:.2f}\n", name, time_ns_[name] / bare);
  }

 private:
  std::map<std::string, double> time_ns_;  // of one iteration
};

}  // namespace
}  // namespace polder

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  polder::Reporter reporter;
  benchmark::RunSpecifiedBenchmarks(&reporter);
  reporter.print_ratios();
  return 0;
}
