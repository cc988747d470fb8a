// SPDX-License-Identifier: GPL-3.0-or-later
// A cut in the spool of geo-replication's secondary. The first byte: finished or not, and whether its
// checksums are put right.
#include "georep/secondary/spool.h"

#include "georep/secondary/apply.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/sound.h"
#include "tests/support/sim_disk.h"

namespace polder::fuzz {
namespace {

constexpr const char* kPath = "/spool";
enum How : std::uint8_t { kFinished = 1, kSound = 2 };

/// The number of frames; nullopt when it ends in damage.
std::optional<std::size_t> count_frames(georep::SpoolReader reader) {
  for (std::size_t count = 0;; ++count) {
    auto frame = reader.next();
    if (!frame) return std::nullopt;
    if (!*frame) return count;
    static_cast<void>(georep::records_of_frame(**frame));
  }
}

}  // namespace

POLDER_FUZZ_TARGET(spool) {
  Input in(input);
  const auto how = in.number<std::uint8_t>();
  const auto content = how & kSound ? sound_spool(in.rest()) : std::string(in.text());
  const bool finished = how & kFinished;
  SimDisk disk;
  require(disk.mkdir(Disk::kNoDir, kPath, 0700).has_value(), "mkdir");
  {
    auto file = disk.open(Disk::kNoDir, fmt::format("{}/{:020}{}", kPath, 1, finished ? ".cut" : ".part"),
                          O_WRONLY | O_CREAT, 0600);
    require(file && disk.pwrite(file->fd(), as_bytes(content), 0), "write");
  }
  auto spool = georep::Spool::open(disk, kPath, "boot");
  require(spool.has_value(), "a spool opens whatever its last cut is");
  auto frames = count_frames((*spool)->read(1).value());
  if (finished) return;
  require(frames.has_value(), "what is left of an unfinished cut is sound");
  require((*spool)->append(as_bytes("message"), as_bytes("payload")).has_value(), "it goes on");
  require(count_frames((*spool)->read(1).value()) == *frames + 1, "behind what was left");
}

}  // namespace polder::fuzz
