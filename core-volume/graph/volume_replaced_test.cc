// SPDX-License-Identifier: GPL-3.0-or-later
// P4 of docs/coherence.md: what a name shows after a power loss when its file, which was synced, was replaced
// by a new one of another set, which was not.
#include <fcntl.h>
#include <gmock/gmock.h>

#include <random>

#include "core-volume/graph/volume_stack_test_support.h"
#include "tests/support/seeds.h"

namespace polder {
namespace {

const Gfid root = Gfid::root();

enum class How { kReplaced, kOneNameOfTwo, kExchanged, kReplacedTwice, kDirectory };

struct Case {
  How how = How::kReplaced;
  std::uint32_t name = 0, old = 0, fresh = 0;  // the sets of the name's directory and of the objects
};

std::string text(const Case& of) {
  return fmt::format("case {}, the name on {}, what it shows on {} and {}", static_cast<int>(of.how), of.name,
                     of.old, of.fresh);
}

/// Each three seeds have all of them.
std::vector<Case> cases(std::uint64_t seed) {
  std::vector<Case> cases;
  for (auto how : {How::kReplaced, How::kOneNameOfTwo, How::kExchanged, How::kReplacedTwice, How::kDirectory})
    for (std::uint32_t name = 0; name < 3; ++name)
      for (std::uint32_t old = 0; old < 3; ++old)
        for (std::uint32_t fresh = 0; fresh < 3; ++fresh)
          if ((name + old + fresh) % 3 == seed % 3) cases.push_back({how, name, old, fresh});
  return cases;
}

/// "f" in `at` was synced; then something new takes its place.
class Replacing {
 public:
  Replacing(const Case& of, std::uint64_t seed)
      : node(3, Spread::kDirs, seed, true), c(node), of_(of), random_(seed) {
    for (std::uint32_t set = 0; set < 3; ++set) on[set] = directory_on(set);
    at = on[of.name];
    old = make(of.old, "old");
    must(c.rename(on[of.old], "old", at, "f"));
    if (of.how == How::kOneNameOfTwo) must(c.link(old, root, "other"));
    must(c.sync());
    if (random_() % 2 == 0) node.loop.run_for(std::chrono::milliseconds(random_() % 1000));
  }
  void replace() {
    if (of_.how == How::kReplacedTwice)
      replace_by(of_.fresh == of_.old ? 0 : 3 - of_.fresh - of_.old, "first");
    replace_by(of_.fresh, "fresh");
  }
  /// Each log has been synced or not, but not the one of the set of what is new.
  void lose_power(const std::function<void()>& before_the_start = [] {}) {
    for (std::uint32_t set = 0; set < 3; ++set)
      if (set != of_.fresh && random_() % 3 == 0) must(node.stack->brick(set)->journal().sync());
    node.loop.run_for(std::chrono::milliseconds(random_() % 3 == 0 ? random_() % 60 : 0));
    node.lose_power(random_());
    before_the_start();
    node.start();
  }
  /// One set is away for longer than what was removed is kept for who may have it open, perhaps over a kill.
  void lose_power_and(std::uint32_t away) {
    lose_power([&] { node.disk_of(away).freeze(); });
    ASSERT_TRUE(node.stack->failures().contains(away));
    node.loop.run_for(std::chrono::seconds(90));
    if (random_() % 2 == 0) {
      node.kill();
      node.disk_of(away).freeze();
      node.start();
      node.loop.run_for(std::chrono::seconds(90));
    }
    node.disk_of(away).heal();
    node.run_one(node.stack->start_failed());
    ASSERT_THAT(node.stack->failures(), testing::IsEmpty());
  }
  /// In the directory on that set, on that set.
  Gfid make(std::uint32_t set, const std::string& name) {
    if (of_.how == How::kDirectory) {
      const auto made = directory_on(set);
      must(c.rename(root, last_name_, on[set], name));
      return all_.emplace_back(made);
    }
    return all_.emplace_back(c.file(on[set], name, name));
  }
  void expect_one_of_them() {
    ASSERT_THAT(node.problems(), testing::IsEmpty());
    auto shown = c.lookup(at, "f");
    ASSERT_TRUE(shown) << "\"f\": " << shown.error().message();
    ASSERT_THAT(all_, testing::Contains(shown->gfid));
    if (shown->gfid == old && of_.how != How::kDirectory) ASSERT_EQ(c.content(old), "old");
    got_old = shown->gfid == old;
  }

  SimVolume node;
  Client c;
  std::array<Gfid, 3> on{};  // a directory on each set
  Gfid at, old;
  bool got_old = false;

 private:
  Gfid directory_on(std::uint32_t set) {
    for (int i = 0; i < 100; ++i) {
      last_name_ = fmt::format("{}.{}", set, ++names_);
      auto made = must(c.mkdir(root, last_name_)).gfid;
      if (node.stack->placement().set_of(made) == set) return made;
    }
    throw std::runtime_error("no directory fell on the set");
  }
  void replace_by(std::uint32_t set, const std::string& name) {
    make(set, name);
    must(c.rename(on[set], name, at, "f", of_.how == How::kExchanged ? RENAME_EXCHANGE : 0));
  }

  const Case of_;
  std::mt19937_64 random_;
  std::vector<Gfid> all_;
  std::string last_name_;
  int names_ = 0;
};

/// What follows when something was replaced, in each case, until something is wrong.
template <typename Follow>
void after_replacing(Follow follow) {
  for (auto seed : seeds(3, 120)) {
    for (const auto& of : cases(seed)) {
      SCOPED_TRACE(fmt::format("seed {}, {}", seed, text(of)));
      Replacing replacing(of, seed);
      replacing.replace();
      follow(replacing, of, seed);
      if (testing::Test::HasFailure()) return;
    }
  }
}

TEST(VolumeReplaced, ANameShowsOneOfTheTwo) {
  std::size_t old = 0, tried = 0;
  after_replacing([&](Replacing& replacing, const Case&, std::uint64_t) {
    replacing.lose_power();
    replacing.expect_one_of_them();
    ++tried;
    old += replacing.got_old;
  });
  if (tried > 100) EXPECT_GT(old, tried / 50);
}

TEST(VolumeReplaced, AlsoWhenASetWasAwayMeanwhile) {
  after_replacing([](Replacing& replacing, const Case& of, std::uint64_t seed) {
    replacing.lose_power_and(1 + (seed + of.old) % 2);
    if (!HasFailure()) replacing.expect_one_of_them();
  });
}

/// The other bricks' recovery may last longer than what was removed waits for who has it open.
TEST(VolumeReplaced, AlsoWhenNothingElseKeepsTheOldOne) {
  after_replacing([](Replacing& replacing, const Case&, std::uint64_t) {
    replacing.lose_power([&] {
      for (auto& [set, brick] : replacing.node.config.bricks) brick.ordering.orphan_grace = {};
    });
    replacing.expect_one_of_them();
  });
}

/// Before something new got its name, the file had been given another one; only the set of the new one's old
/// directory may have kept anything of all that.
TEST(VolumeReplaced, WhatHadMovedOnIsSomewhere) {
  for (auto seed : seeds(1, 40)) {
    for (std::uint32_t of = 0; of < 81; ++of) {
      const std::uint32_t name = of % 3, old_set = of / 3 % 3, fresh = of / 9 % 3, from = of / 27;
      SCOPED_TRACE(fmt::format("seed {}, the name on {}, old on {}, fresh on {} from {}", seed, name, old_set,
                               fresh, from));
      std::mt19937_64 random(seed * 81 + of);
      Replacing scene({How::kReplaced, name, old_set, fresh}, seed * 81 + of);
      auto& c = scene.c;
      scene.make(fresh, "fresh");
      must(c.rename(scene.on[fresh], "fresh", scene.on[from], "from"));
      must(c.sync());
      const auto to = scene.on[random() % 3];
      must(c.rename(scene.at, "f", to, "moved"));
      must(c.rename(scene.on[from], "from", scene.at, "f"));
      if (random() % 2 == 0) must(scene.node.stack->brick(from)->journal().sync());
      scene.node.lose_power(random());
      scene.node.start();
      ASSERT_THAT(scene.node.problems(), testing::IsEmpty());
      std::set<Gfid> found;
      for (const auto& [directory, entry] : {std::pair{scene.at, std::string("f")},
                                             {to, "moved"},
                                             {scene.on[from], "from"},
                                             {root, "lost+found-" + scene.old.hex()}})
        if (auto shown = c.lookup(directory, entry)) found.insert(shown->gfid);
      ASSERT_TRUE(found.contains(scene.old));
      ASSERT_EQ(c.content(scene.old), "old");
    }
  }
}

/// It was replaced, and the new one was removed, and that was synced: neither comes back.
TEST(VolumeReplaced, WhatWasRemovedSinceStaysSo) {
  after_replacing([](Replacing& replacing, const Case& of, std::uint64_t seed) {
    auto& c = replacing.c;
    if (seed % 2 == 0) must(c.sync());
    if (of.how == How::kDirectory)
      must(c.rmdir(replacing.at, "f"));
    else
      must(c.unlink(replacing.at, "f"));
    must(c.fsync(root));
    replacing.lose_power();
    ASSERT_TRUE(c.lookup(replacing.at, "f").failed_with(ENOENT));
    ASSERT_THAT(replacing.node.problems(), testing::IsEmpty());
  });
}

/// The log of the old object's set fails while the rename happens, which it hears of by the next start. By
/// then the new object has been removed: nobody has lost it, so the name does not go back.
TEST(VolumeReplaced, WhatWasRemovedBeforeTheOldOnesSetHeardOfItStaysSo) {
  int late = 0;
  bool fired = true;
  for (std::uint64_t n = 1; fired; ++n) {
    SCOPED_TRACE(n);
    SimVolume node(3, Spread::kDirs, 1, true);
    Client c(node);
    const auto from = make_directory_on(node, c, Gfid::root(), "from", 0);
    const auto to = make_directory_on(node, c, Gfid::root(), "to", 2);
    const auto replaced = c.file(from, "old", "old");
    must(c.rename(from, "old", to, "name"));
    c.file(to, "new", "new");
    node.loop.run_for(std::chrono::seconds(2));
    node.disk_of(0).fail_nth(n, EIO, true);
    const auto renamed = c.rename(to, "new", to, "name");
    fired = node.disk_of(0).fault_fired();
    const bool removed = renamed && c.unlink(to, "name");
    const bool is_late = removed && node.stack->bricks().at(2)->ordering().open_decisions().size() > 0;
    node.loop.run_for(std::chrono::seconds(2));  // a sync, which fails
    node.kill();
    node.disk_of(0).heal();
    node.start();
    EXPECT_THAT(node.problems(), testing::IsEmpty());
    if (removed) EXPECT_TRUE(c.lookup(to, "name").failed_with(ENOENT));
    if (removed) EXPECT_TRUE(c.getattr(replaced).failed_with(ESTALE));
    late += is_late;
    if (testing::Test::HasFailure()) return;
  }
  EXPECT_GT(late, 0);
}

}  // namespace
}  // namespace polder
