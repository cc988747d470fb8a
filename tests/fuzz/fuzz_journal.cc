// SPDX-License-Identifier: GPL-3.0-or-later
// A journal that opens on a directory with a damaged newest segment: it refuses, or goes on.
#include "changelog/journal/journal_test_support.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/sound.h"

namespace polder::fuzz {
namespace {

enum How : std::uint8_t { kSound = 1, kThisBoot = 2, kZeros = 4, kSecond = 8 };

std::uint64_t count_records(Journal& journal) {
  auto reader = journal.read_from(journal.first_index(), true);
  require(reader.has_value(), "a journal that opened can be read");
  std::uint64_t count = 0;
  while (true) {
    auto record = (*reader)->next();
    require(record.has_value(), "every record of it");
    if (!*record) return count;
    ++count;
  }
}

}  // namespace

POLDER_FUZZ_TARGET(journal) {
  JournalWorld world;
  Input in(input);
  const auto how = in.number<std::uint8_t>();
  std::string content(in.text());
  if (how & kSound)
    content = sound_segment(as_bytes(content), how & kThisBoot ? world.disk.boot_id().value() : "");
  if (how & kZeros) content.append(1024, '\0');
  std::uint64_t first_index = 1;
  if (how & kSecond) {  // behind a sound one
    world.open();
    world.append(3);
    world.journal.reset();
    world.drop_database();
    first_index = 4;
  } else {
    require(world.disk.mkdir(Disk::kNoDir, JournalWorld::kPath, 0700).has_value(), "mkdir");
  }
  world.write_file(JournalWorld::segment(first_index), content);
  if (!world.try_open()) return;
  Journal& journal = *world.journal;
  require(count_records(journal) == journal.appended_index() + 1 - journal.first_index(),
          "all that it names");
  if (journal.unapplied()->size() >= kMaxInFlight) return;
  require(world.try_append().has_value(), "it goes on");
  world.end_process();
  require(world.try_open().has_value(), "and opens again");
}

}  // namespace polder::fuzz
