// SPDX-License-Identifier: GPL-3.0-or-later
// What the start of a volume after a power loss must not destroy, beyond what brick_power_loss_test.cc tries.
#include <gmock/gmock.h>

#include "core-volume/graph/volume_stack_test_support.h"
#include "core-volume/layer/conformance/client.h"

namespace polder {
namespace {

const Gfid kRoot = Gfid::root();

struct Exchange {
  std::uint32_t bricks;
  bool directory_at_one, directory_at_two;
  bool renamed;  // "two" had another name before
};

/// An exchange that is on the disk and perhaps in no log, after which an older record is done again that had
/// made one of the two names.
void exchange_is_whole(std::uint64_t seed, const Exchange& of) {
  SCOPED_TRACE(fmt::format("seed {}: {} bricks, {} {} {}", seed, of.bricks, of.directory_at_one,
                           of.directory_at_two, of.renamed));
  SimVolume volume(of.bricks, Spread::kFiles, seed, of.bricks > 1);
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
  const std::vector are{must(c.lookup(kRoot, "one")).gfid, must(c.lookup(kRoot, "two")).gfid};
  if (of.bricks == 1) {
    ASSERT_THAT(c.names(kRoot), testing::UnorderedElementsAre("one", "two"));
    ASSERT_THAT(are, testing::UnorderedElementsAre(one, two));
  }
  // The disks of several sets have kept different parts: nothing is lost at least.
  ASSERT_THAT(are, testing::Each(testing::AnyOf(one, two)));
  std::set<Gfid> named;
  for (const auto& name : c.names(kRoot)) named.insert(must(c.lookup(kRoot, name)).gfid);
  ASSERT_THAT(named, testing::UnorderedElementsAre(one, two));
}

class VolumePowerLoss : public testing::TestWithParam<std::uint32_t> {};

TEST_P(VolumePowerLoss, AnOldRecordDoesNotUndoHalfOfAnExchange) {
  for (std::uint64_t seed = 1; seed <= 25; ++seed)
    for (int kind = 0; kind < 8 && !HasFailure(); ++kind)
      exchange_is_whole(seed, {GetParam(), (kind & 1) != 0, (kind & 2) != 0, (kind & 4) != 0});
}

INSTANTIATE_TEST_SUITE_P(Bricks, VolumePowerLoss, testing::Values(1, 3), testing::PrintToStringParamName());

}  // namespace
}  // namespace polder
