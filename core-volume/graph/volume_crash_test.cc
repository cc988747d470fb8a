// SPDX-License-Identifier: GPL-3.0-or-later
// kill -9 at every named point of changes that touch several sets: afterwards each has happened completely or
// not at all, and sent again by its client it has happened exactly once.
#include <fcntl.h>
#include <gmock/gmock.h>

#include "base/crash_point.h"
#include "core-volume/graph/volume_stack_test_support.h"

namespace polder {
namespace {

constexpr std::string_view kPoints[] = {
    "tx/after-prepare",    "tx/after-decide",        "tx/after-echo",         "tx/after-apply",
    "store/after-tmpfile", "store/after-index-link", "store/after-name-link", "store/after-name-unlink",
    "store/after-rename",  "ordering/after-append",  "ordering/after-apply",  "ordering/before-reply"};

/// Directories of the root by the set that they are on, and what the changes act on.
struct Fixture {
  std::array<Gfid, 3> on{};
  Gfid file, other;
};

struct Change {
  std::string name;
  std::function<int(Client&, Fixture&)> run;  // one operation with a sequence number; errno
};

Fixture prepare(SimVolume& node, Client& c) {
  Fixture f;
  const Gfid root = Gfid::root();
  for (std::uint32_t set = 0; set < 3; ++set)
    f.on[set] = make_directory_on(node, c, root, fmt::format("on{}", set), set);
  f.file = c.file(f.on[0], "file", "file");
  f.other = c.file(f.on[1], "other", "other!");
  // A file of set 0 with one name on set 1 and one on set 2, and one of set 2 that has only a name on set 1.
  auto linked = c.file(f.on[0], "linked", "linked");
  must(c.link(linked, f.on[1], "linked"));
  must(c.link(linked, f.on[2], "linked"));
  c.file(f.on[2], "moved", "moved");
  must(c.rename(f.on[2], "moved", f.on[1], "moved"));
  for (std::uint32_t set = 0; set < 3; ++set) {
    auto dir = make_directory_on(node, c, f.on[1], fmt::format("empty{}", set), set);
    (void)dir;
    auto full = make_directory_on(node, c, f.on[0], fmt::format("full{}", set), set);
    c.file(full, "in", "in");
  }
  return f;
}

std::vector<Change> changes() {
  std::vector<Change> list;
  auto rename = [&](std::string name, int from, std::string old_name, int to, std::string new_name,
                    unsigned flags = 0) {
    list.push_back({std::move(name), [=](Client& c, Fixture& f) {
                      return code_of(c.rename(f.on[from], old_name, f.on[to], new_name, flags));
                    }});
  };
  for (int i = 0; i < 4; ++i)  // wherever their slots lead
    list.push_back({fmt::format("mkdir{}", i), [=](Client& c, Fixture& f) {
                      return code_of(c.mkdir(f.on[1], fmt::format("new{}", i)));
                    }});
  for (int set = 0; set < 3; ++set)
    list.push_back({fmt::format("rmdir{}", set), [=](Client& c, Fixture& f) {
                      return code_of(c.rmdir(f.on[1], fmt::format("empty{}", set)));
                    }});
  list.push_back({"create", [](Client& c, Fixture& f) { return code_of(c.create(f.on[2], "new")); }});
  list.push_back(
      {"symlink", [](Client& c, Fixture& f) { return code_of(c.symlink(f.on[2], "new", "target")); }});
  list.push_back({"link", [](Client& c, Fixture& f) { return code_of(c.link(f.file, f.on[2], "new")); }});
  list.push_back(
      {"unlink_one_of_three", [](Client& c, Fixture& f) { return code_of(c.unlink(f.on[1], "linked")); }});
  list.push_back(
      {"unlink_at_home", [](Client& c, Fixture& f) { return code_of(c.unlink(f.on[0], "linked")); }});
  list.push_back({"unlink_last", [](Client& c, Fixture& f) { return code_of(c.unlink(f.on[1], "moved")); }});
  rename("move", 0, "file", 1, "new");
  rename("move_back", 1, "moved", 2, "new");
  rename("move_on", 1, "moved", 0, "new");
  rename("within", 1, "moved", 1, "new");
  rename("replace", 0, "file", 1, "other");
  rename("replace_what_is_elsewhere", 0, "file", 1, "moved");
  rename("replace_one_of_three", 0, "file", 2, "linked");
  rename("exchange", 0, "file", 1, "other", RENAME_EXCHANGE);
  rename("exchange_across_three", 0, "file", 1, "moved", RENAME_EXCHANGE);
  rename("exchange_with_directory", 0, "full2", 1, "moved", RENAME_EXCHANGE);
  rename("directory", 0, "full1", 2, "new");
  rename("directory_over_empty", 0, "full2", 1, "empty0");
  rename("directory_within", 0, "full2", 0, "new");
  rename("exchange_directories", 0, "full0", 1, "empty2", RENAME_EXCHANGE);
  return list;
}

void look_into(Client& c, Gfid directory, const std::string& path, std::string& text) {
  for (const auto& name : c.names(directory)) {
    auto attr = must(c.lookup(directory, name));
    text += fmt::format("{}/{}:{:o}x{}", path, name, attr.mode, attr.nlink);
    if (attr.is_regular()) text += "=" + c.content(attr.gfid);
    text += "\n";
    if (attr.is_directory()) look_into(c, attr.gfid, path + "/" + name, text);
  }
}

/// Every path with type, mode, links and content.
std::string look(SimVolume& node) {
  Client c(node, 99);
  std::string text;
  look_into(c, Gfid::root(), "", text);
  must(c.end_session());
  return text;
}

SimDisk* g_disk = nullptr;
bool g_hit = false;

/// What a change makes of the volume when nobody disturbs it.
struct Effect {
  std::string before, after;
};

const Effect& effect_of(const Change& change, Spread spread) {
  static std::map<std::pair<std::string, Spread>, Effect> known;
  auto [at, fresh] = known.try_emplace({change.name, spread});
  if (!fresh) return at->second;
  SimVolume node(3, spread);
  Client c(node);
  auto fixture = prepare(node, c);
  at->second.before = look(node);
  EXPECT_EQ(change.run(c, fixture), 0);
  at->second.after = look(node);
  EXPECT_NE(at->second.before, at->second.after);
  must(c.end_session());
  EXPECT_THAT(node.problems(), testing::IsEmpty());
  return at->second;
}

class VolumeCrashTest : public testing::TestWithParam<std::string_view> {
 protected:
  /// False when the point was not passed so often.
  bool kill_and_repeat(const Change& change, Spread spread, std::uint64_t passage) {
    const auto& [before, after] = effect_of(change, spread);
    SimVolume node(3, spread);
    Client c(node);
    auto fixture = prepare(node, c);
    g_disk = &node.disk;
    g_hit = false;
    arm_crash_point(GetParam(), passage, [] {
      g_hit = true;
      g_disk->freeze();
    });
    (void)change.run(c, fixture);
    arm_crash_point("", 0, nullptr);
    if (!g_hit) return false;
    node.kill();
    node.start();
    EXPECT_THAT(look(node), testing::AnyOf(before, after));
    c.resend();
    EXPECT_EQ(change.run(c, fixture), 0);
    EXPECT_EQ(look(node), after);
    must(c.end_session());
    EXPECT_THAT(node.problems(), testing::IsEmpty());
    node.stop();
    node.start();
    EXPECT_EQ(look(node), after);
    EXPECT_THAT(node.problems(), testing::IsEmpty());
    return true;
  }
};

/// POLDER_LONG_TESTS: every passage of every point with every policy (tools/check slow).
TEST_P(VolumeCrashTest, ChangeHappensOnceOrNotAtAll) {
  const bool thorough = std::getenv("POLDER_LONG_TESTS");
  int fired = 0;
  for (auto spread : {Spread::kDirs, Spread::kFiles}) {
    for (const auto& change : changes()) {
      const bool same_by_either = spread == Spread::kFiles && !change.name.starts_with("create");
      const bool of_transaction = GetParam().starts_with("tx/");
      const std::uint64_t passages = thorough ? 5 : same_by_either ? 0 : of_transaction ? 2 : 1;
      for (std::uint64_t passage = 1; passage <= passages; ++passage) {
        SCOPED_TRACE(fmt::format("{} with spread {}, killed at {} of {}", change.name, to_string(spread),
                                 passage, GetParam()));
        if (!kill_and_repeat(change, spread, passage)) break;
        ++fired;
        if (HasFailure()) return;
      }
    }
  }
  EXPECT_GT(fired, 0);
}

INSTANTIATE_TEST_SUITE_P(Points, VolumeCrashTest, testing::ValuesIn(kPoints), [](const auto& test) {
  std::string name(test.param);
  std::ranges::replace_if(name, [](char c) { return c == '/' || c == '-'; }, '_');
  return name;
});

}  // namespace
}  // namespace polder
