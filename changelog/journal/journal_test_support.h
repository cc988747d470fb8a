// SPDX-License-Identifier: GPL-3.0-or-later
// For the journal's tests: one process with a changelog on a simulated disk, which can be killed.
#pragma once
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/coro.h"
#include "base/hlc.h"
#include "base/log.h"
#include "base/random.h"
#include "base/transport.h"
#include "base/workers.h"
#include "changelog/journal/journal.h"
#include "tests/support/sim_clock.h"
#include "tests/support/sim_disks.h"

namespace polder {

template <typename T>
T must(Result<T> result) {
  EXPECT_TRUE(result) << result.error().message();
  if constexpr (!std::is_void_v<T>) return std::move(result).value();
}

class NoTransport final : public Transport {
 public:
  Task<Result<std::unique_ptr<Stream>>> connect(const Endpoint&, std::string,
                                                std::shared_ptr<const TlsIdentity>) override {
    co_return Error(ENETUNREACH);
  }
  Task<Result<std::unique_ptr<Listener>>> listen(const Endpoint&, std::vector<std::string>,
                                                 std::shared_ptr<const TlsIdentity>) override {
    co_return Error(ENETUNREACH);
  }
};

class JournalWorld {
 public:
  JournalWorld() {
    // Thousands of failures are provoked; each is logged.
    static const bool quiet = (log::configure("polder_journal_test", log::Level::kError, "/dev/null"), true);
    static_cast<void>(quiet);
    options.segment_bytes = 1000;
    options.checkpoint_interval_s = 0;
  }
  ~JournalWorld() { end_process(); }

  Result<void> try_open() {
    journal.reset();
    TRY(journal, Journal::open(seams, kPath, identity, options));
    return {};
  }
  void open() { must(try_open()); }
  void reopen() {
    journal.reset();
    open();
  }
  /// kill -9, or a power loss: no destructor reaches the disk.
  void end_process() {
    disks.freeze();
    journal.reset();
    disks.kill();
  }
  void kill() {
    end_process();
    open();
  }
  void crash(std::uint64_t seed) {
    disks.freeze();
    journal.reset();
    disks.crash(seed);
  }

  /// Sizes and kinds differ with n.
  static Record sample(std::uint64_t n) {
    Record record;
    record.session = static_cast<std::uint32_t>(n % 7);
    record.sequence = n;
    record.gfid.bytes[15] = static_cast<std::uint8_t>(1 + n % 5);
    record.kind = RecordKind::kWrite;
    record.offset = n * 4096;
    record.length = 4096;
    if (n % 3 == 1) {
      record.data =
          Buffer::copy_of(std::string(record.length = 10 + n % 90, static_cast<char>('a' + n % 26)));
      record.time_ns = n;
    } else if (n % 3 == 2) {
      record.kind = RecordKind::kUnlink;
      record.name = {Gfid::root(), fmt::format("name-{}", n)};
    }
    return record;
  }
  Result<std::uint64_t> try_append() {
    Record record = sample(journal->appended_index() + 1);
    return journal->append(record);
  }
  void append(std::uint64_t count, bool apply = true) {
    for (; count > 0; --count) {
      auto index = must(try_append());
      if (apply) must(journal->applied(index));
    }
  }

  /// Reads and compares with what append() writes; returns the index after the last.
  static std::uint64_t expect_samples(JournalReader& reader, std::uint64_t from) {
    Hlc last;
    for (;; ++from) {
      auto record = must(reader.next());
      if (!record) return from;
      Record expected = sample(from);
      EXPECT_EQ(record->index, from);
      EXPECT_EQ(record->sequence, from);
      EXPECT_EQ(record->kind, expected.kind);
      EXPECT_EQ(record->offset, expected.offset);
      EXPECT_EQ(record->data.text(), expected.data.text());
      EXPECT_EQ(record->name, expected.name);
      EXPECT_EQ(record->time_ns, expected.time_ns == 0 ? record->hlc.ns : expected.time_ns);
      EXPECT_GT(record->hlc, last);
      last = record->hlc;
      if (testing::Test::HasFailure()) return from;
    }
  }
  /// Everything from the first on, appended or stable.
  std::uint64_t expect_all(bool upto_appended = true) {
    auto first = journal->first_index();
    auto reader = must(journal->read_from(first, upto_appended));
    return expect_samples(*reader, first) - 1;
  }
  void expect_sound() {
    auto check = must(journal->verify());
    for (const auto& damage : check.damage)
      ADD_FAILURE() << damage.segment << " byte " << damage.byte << ": " << damage.what;
    EXPECT_EQ(check.records, journal->appended_index() + 1 - journal->first_index());
  }

  std::vector<std::string> files() {
    auto dir = must(disk.open(Disk::kNoDir, kPath, O_RDONLY | O_DIRECTORY));
    std::vector<std::string> names;
    for (const auto& entry : must(disk.list(dir.fd())))
      if (entry.name.find(".log") != entry.name.npos) names.push_back(entry.name);
    std::ranges::sort(names);
    return names;
  }
  std::string read_file(const std::string& name) {
    auto file = must(disk.open(Disk::kNoDir, path(name), O_RDONLY));
    std::string content(static_cast<std::size_t>(must(disk.fstat(file.fd())).st_size), '\0');
    must(disk.pread(file.fd(), std::as_writable_bytes(std::span(content)), 0));
    return content;
  }
  void write_file(const std::string& name, std::string_view content) {
    auto file = must(disk.open(Disk::kNoDir, path(name), O_WRONLY | O_CREAT | O_TRUNC, 0600));
    must(disk.pwrite(file.fd(), as_bytes(content), 0));
  }
  void remove_file(const std::string& name) { must(disk.unlink(Disk::kNoDir, path(name))); }
  static std::string path(const std::string& name) { return std::string(kPath) + "/" + name; }
  static std::string segment(std::uint64_t first, bool compressed = false) {
    return fmt::format("{:020}.log{}", first, compressed ? ".zst" : "");
  }
  void drop_database() {
    for (const char* name : {"index.db", "index.db-wal"}) {
      auto gone = disk.unlink(Disk::kNoDir, path(name));
      EXPECT_TRUE(gone || gone.failed_with(ENOENT));
    }
  }

  static constexpr const char* kPath = "/changelog";
  SimClock clock;
  SimDisks disks;
  SimDisk& run = disks.add("run");  // what is in memory only, and so outlives a disk that fails
  SimDisk& disk = disks.root();
  std::unique_ptr<Random> random = make_seeded_random(1);
  std::unique_ptr<Workers> workers = make_inline_workers();
  NoTransport transport;
  HlcClock hlc{clock};
  Seams seams{clock, *random, disks, transport, *workers, hlc};
  JournalIdentity identity{.lineage = Gfid{{9}}, .set = 3, .term = 1};
  JournalOptions options;
  std::unique_ptr<Journal> journal;
};

class JournalTest : public testing::Test, public JournalWorld {};

}  // namespace polder
