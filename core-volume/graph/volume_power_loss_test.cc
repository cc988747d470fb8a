// SPDX-License-Identifier: GPL-3.0-or-later
// What the start of a volume after a power loss must not destroy, beyond what brick_power_loss_test.cc tries.
#include <gmock/gmock.h>

#include "core-volume/graph/volume_stack_test_support.h"
#include "core-volume/layer/conformance/client.h"

namespace polder {
namespace {

const Gfid kRoot = Gfid::root();

struct Exchange {
  bool directory_at_one, directory_at_two;
  bool renamed;  // "two" had another name before
};

/// An exchange that is on the disk and perhaps in no log, after which an older record is done again that had
/// made one of the two names: both have happened, or neither.
void exchange_is_whole(std::uint64_t seed, const Exchange& of) {
  SCOPED_TRACE(fmt::format("seed {}: {} {} {}", seed, of.directory_at_one, of.directory_at_two, of.renamed));
  SimVolume volume(1, Spread::kDirs, seed);
  Client c(volume);
  auto make = [&](bool directory, const char* name) {
    return directory ? c.dir(kRoot, name) : c.file(kRoot, name, "text");
  };
  const auto one = make(of.directory_at_one, "one");
  Gfid two;
  if (of.renamed) two = make(of.directory_at_two, "before");
  volume.stop();  // no log is needed for these
  volume.start();
  if (of.renamed)
    must(c.rename(kRoot, "before", kRoot, "two"));
  else
    two = make(of.directory_at_two, "two");
  must(c.sync());
  must(c.rename(kRoot, "one", kRoot, "two", RENAME_EXCHANGE));
  volume.lose_power(seed);
  volume.start();
  ASSERT_THAT(volume.problems(), testing::IsEmpty());
  ASSERT_THAT(c.names(kRoot), testing::UnorderedElementsAre("one", "two"));
  const std::vector are{must(c.lookup(kRoot, "one")).gfid, must(c.lookup(kRoot, "two")).gfid};
  ASSERT_THAT(are, testing::UnorderedElementsAre(one, two));
}

TEST(VolumePowerLoss, AnOldRecordDoesNotUndoHalfOfAnExchange) {
  for (std::uint64_t seed = 1; seed <= 25; ++seed)
    for (int kind = 0; kind < 8 && !testing::Test::HasFailure(); ++kind)
      exchange_is_whole(seed, {(kind & 1) != 0, (kind & 2) != 0, (kind & 4) != 0});
}

}  // namespace
}  // namespace polder
