// SPDX-License-Identifier: GPL-3.0-or-later
// A change has happened, most of them across sets, its reply was lost, and it is sent again when a set's disk
// is full or fails: it is answered as done, or not known to be, and not done once more.
#include <gmock/gmock.h>

#include "core-volume/graph/volume_stack_test_support.h"

namespace polder {
namespace {

/// A directory on each set, with a file `f` and an empty directory `d` that are on the next one.
struct Tree {
  explicit Tree(SimVolume& node, Client& c) : client(c) {
    for (std::uint32_t set = 0; set < 3; ++set)
      on[set] = make_directory_on(node, c, Gfid::root(), fmt::format("on{}", set), set);
    for (std::uint32_t set = 0; set < 3; ++set) {
      const auto next = (set + 1) % 3;
      file[set] = c.file(on[next], "temporary", "text");
      must(c.rename(on[next], "temporary", on[set], "f"));
      make_directory_on(node, c, on[set], "d", next);
    }
  }
  Client& client;
  std::array<Gfid, 3> on{}, file{};
};

/// Until the set has been refused room, and knows it.
void fill(SimVolume& node, Client& client, std::uint32_t set, const Gfid& directory) {
  const auto file = client.file(directory, "filler");
  const auto handle = must(client.open(file)).handle;
  auto& disk = node.disk_of(set);
  disk.set_capacity(disk.used_bytes());
  while (client.write(file, handle, 0, std::string(1 << 20, 'x'), true)) {
  }
  must(client.release(file, handle));
}

using Change = std::function<Result<void>(Client&, const Tree&, std::uint32_t set)>;

const std::map<std::string, Change>& changes() {
  static const std::map<std::string, Change> all{
      {"rename",
       [](auto& c, auto& t, auto set) { return c.rename(t.on[set], "f", t.on[(set + 1) % 3], "new"); }},
      {"rename over",
       [](auto& c, auto& t, auto set) { return c.rename(t.on[set], "f", t.on[(set + 1) % 3], "f"); }},
      {"move of a directory",
       [](auto& c, auto& t, auto set) { return c.rename(t.on[set], "d", t.on[(set + 2) % 3], "new"); }},
      {"exchange",
       [](auto& c, auto& t, auto set) {
         return c.rename(t.on[set], "f", t.on[(set + 1) % 3], "d", RENAME_EXCHANGE);
       }},
      {"link", [](auto& c, auto& t,
                  auto set) { return outcome_of(c.link(t.file[set], t.on[(set + 2) % 3], "new")); }},
      {"unlink", [](auto& c, auto& t, auto set) { return c.unlink(t.on[set], "f"); }},
      {"rmdir", [](auto& c, auto& t, auto set) { return c.rmdir(t.on[set], "d"); }},
      {"mkdir", [](auto& c, auto& t, auto set) { return outcome_of(c.mkdir(t.on[set], "new")); }},
      {"create", [](auto& c, auto& t, auto set) { return outcome_of(c.create(t.on[set], "new")); }},
      {"setattr",
       [](auto& c, auto& t, auto set) {
         const SetAttr change{.fields = SetAttr::kSize | SetAttr::kMode, .mode = 0600, .size = 2};
         return outcome_of(c.setattr(t.file[set], change));
       }},
  };
  return all;
}

class VolumeResend : public testing::TestWithParam<std::string> {};

TEST_P(VolumeResend, IsAnsweredAsDoneWhoeverHasNoRoom) {
  const auto& change = changes().at(GetParam());
  for (std::uint32_t set = 0; set < 3; ++set) {
    for (std::uint32_t full = 0; full < 3; ++full) {
      SCOPED_TRACE(fmt::format("from set {}, set {} is full", set, full));
      SimVolume node(3, Spread::kDirs, 1, true);
      Client client(node), other(node, 8);
      const Tree tree(node, client);
      must(change(client, tree, set));
      fill(node, other, full, tree.on[full]);
      const auto before = other.dump();
      client.resend();
      const auto again = change(client, tree, set);
      EXPECT_TRUE(again) << again.error().message();
      node.disk_of(full).set_capacity(0);
      EXPECT_EQ(other.dump(), before);
      EXPECT_THAT(node.problems(), testing::IsEmpty());
    }
  }
}

TEST_P(VolumeResend, IsNotSaidToHaveFailedWhoeversDiskFails) {
  const auto& change = changes().at(GetParam());
  for (std::uint32_t set = 0; set < 3; ++set) {
    for (std::uint32_t failing = 0; failing < 3; ++failing) {
      SCOPED_TRACE(fmt::format("from set {}, the disk of set {} fails", set, failing));
      SimVolume node(3, Spread::kDirs, 1, true);
      Client client(node), other(node, 8);
      const Tree tree(node, client);
      must(change(client, tree, set));
      const auto before = other.dump();
      node.disk_of(failing).fail_nth(1, EIO, true);
      client.resend();
      const auto again = change(client, tree, set);
      EXPECT_TRUE(again || again.error().maybe_applied()) << again.error().message();
      node.kill();  // a log that could not be written takes nothing more until it is opened again
      node.disk_of(failing).heal();
      node.start();
      EXPECT_EQ(other.dump(), before);
      EXPECT_THAT(node.problems(), testing::IsEmpty());
    }
  }
}

std::vector<std::string> names() {
  std::vector<std::string> list;
  for (const auto& [name, change] : changes()) list.push_back(name);
  return list;
}

INSTANTIATE_TEST_SUITE_P(Changes, VolumeResend, testing::ValuesIn(names()), [](const auto& change) {
  auto name = change.param;
  std::erase(name, ' ');
  return name;
});

}  // namespace
}  // namespace polder
