// SPDX-License-Identifier: GPL-3.0-or-later
// Two clients with caches and somebody inside the server, all changing the same few names, with lost
// connections, restarts and silences longer than a lease: each answer must have been true at some moment
// between the question and the answer.
#include <fcntl.h>
#include <stdio.h>

#include <map>
#include <set>

#include "core-volume/client/cache/cache_layer.h"
#include "core-volume/rpc/rpc_test_support.h"

namespace polder {
namespace {

using namespace std::chrono_literals;

constexpr const char* kNames[] = {"a", "b", "c", "d", "e"};
const Gfid kRoot = Gfid::root();

std::string text_of(const Result<FileAttr>& attr) {
  if (!attr) return attr.failed_with(ENOENT) || attr.failed_with(ESTALE) ? "none" : "error";
  return fmt::format("{} mode {:o} links {} size {} mtime {}.{} ctime {}.{}", attr->gfid.hex(), attr->mode,
                     attr->nlink, attr->size, attr->mtime.tv_sec, attr->mtime.tv_nsec, attr->ctime.tv_sec,
                     attr->ctime.tv_nsec);
}

/// What was true when: of each name which object it showed, of each object its attributes. Time is the number
/// of changes so far.
class History {
 public:
  std::uint64_t now() const { return now_; }
  void tick() { ++now_; }
  void note(const std::string& key, const std::string& value) {
    auto& states = states_[key];
    if (states.empty() || states.back().second != value) states.emplace_back(now_, value);
  }
  bool was_true(const std::string& key, const std::string& value, std::uint64_t from) const {
    auto found = states_.find(key);
    if (found == states_.end()) return value == "none";
    const auto& states = found->second;
    for (std::size_t i = states.size(); i-- > 0;) {
      if (states[i].second == value) return true;
      if (states[i].first <= from) return false;
    }
    return value == "none";
  }
  std::string last(const std::string& key) const {
    auto found = states_.find(key);
    return found == states_.end() ? "never seen" : found->second.back().second;
  }

 private:
  std::uint64_t now_ = 0;
  std::map<std::string, std::vector<std::pair<std::uint64_t, std::string>>> states_;
};

std::string key_of(const Gfid& parent, std::string_view name) {
  return parent.hex() + "/" + std::string(name);
}

/// The brick: slow before and after each operation, and everything it does is written down.
class Historian : public PassThroughLayer {
 public:
  Historian(FileOps& below, MemoryLayer& memory, Clock& clock, Random& random)
      : PassThroughLayer(below), memory_(memory), clock_(clock), random_(random) {}

  History history;
  std::set<Gfid> objects{kRoot};  // that exist

  Task<void> write_down() {
    history.tick();
    const OpContext inside;
    const auto known = objects;
    for (const auto& gfid : known) {
      auto attr = co_await memory_.getattr(inside, gfid);
      history.note(gfid.hex(), text_of(attr));
      if (!attr) objects.erase(gfid);
      if (!attr || !attr->is_directory()) continue;
      for (const auto* name : kNames) {
        auto entry = co_await memory_.lookup(inside, gfid, name);
        history.note(key_of(gfid, name), entry ? entry->gfid.hex() : "none");
        if (entry && objects.insert(entry->gfid).second) history.note(entry->gfid.hex(), text_of(entry));
      }
    }
  }

  Task<Result<FileAttr>> lookup(const OpContext& ctx, Gfid parent, std::string_view name) override {
    return slow(below_->lookup(ctx, parent, name));
  }
  Task<Result<FileAttr>> getattr(const OpContext& ctx, Gfid gfid) override {
    return slow(below_->getattr(ctx, gfid));
  }
  Task<Result<DirectoryPage>> readdir(const OpContext& ctx, Gfid gfid, std::uint64_t cookie,
                                      std::uint32_t max_entries, bool with_attributes) override {
    return slow(below_->readdir(ctx, gfid, cookie, max_entries, with_attributes));
  }
  Task<Result<FileAttr>> mkdir(const OpContext& ctx, Gfid parent, std::string_view name,
                               const NewObject& object) override {
    return slow(below_->mkdir(ctx, parent, name, object));
  }
  Task<Result<Opened>> create(const OpContext& ctx, Gfid parent, std::string_view name,
                              const NewObject& object, int flags) override {
    return slow(below_->create(ctx, parent, name, object, flags));
  }
  Task<Result<FileAttr>> link(const OpContext& ctx, Gfid gfid, Gfid parent, std::string_view name) override {
    return slow(below_->link(ctx, gfid, parent, name));
  }
  Task<Result<void>> unlink(const OpContext& ctx, Gfid parent, std::string_view name) override {
    return slow(below_->unlink(ctx, parent, name));
  }
  Task<Result<void>> rmdir(const OpContext& ctx, Gfid parent, std::string_view name) override {
    return slow(below_->rmdir(ctx, parent, name));
  }
  Task<Result<void>> rename(const OpContext& ctx, Gfid from, std::string_view from_name, Gfid to,
                            std::string_view to_name, unsigned flags) override {
    return slow(below_->rename(ctx, from, from_name, to, to_name, flags));
  }
  Task<Result<FileAttr>> setattr(const OpContext& ctx, Gfid gfid, const SetAttr& change) override {
    return slow(below_->setattr(ctx, gfid, change));
  }
  Task<Result<WriteResult>> write(const OpContext& ctx, Gfid gfid, HandleId handle, std::uint64_t offset,
                                  Buffer data, bool append) override {
    return slow(below_->write(ctx, gfid, handle, offset, std::move(data), append));
  }
  Task<Result<void>> release(const OpContext& ctx, Gfid gfid, HandleId handle) override {
    return slow(below_->release(ctx, gfid, handle));
  }
  Task<Result<void>> end_session(const OpContext& ctx) override { return slow(below_->end_session(ctx)); }

 private:
  Task<void> dawdle() {
    const auto luck = random_.next() % 100;
    if (luck < 30) co_return;
    const auto longest_us = luck < 97 ? 3'000u : 400'000u;
    (void)co_await clock_.sleep_for(std::chrono::microseconds(random_.next() % longest_us));
  }
  template <typename T>
  Task<Result<T>> slow(Task<Result<T>> operation) {
    co_await dawdle();
    auto result = co_await std::move(operation);  // memory: happens within one turn
    co_await write_down();
    co_await dawdle();
    co_return result;
  }

  MemoryLayer& memory_;
  Clock& clock_;
  Random& random_;
};

/// One process that asks and changes at random, and checks what it is told.
class Worker {
 public:
  Worker(Historian& brick, Clock& clock, FileOps& ops, std::uint64_t seed)
      : brick_(brick), clock_(clock), random_(make_seeded_random(seed)), ops_(ops) {}

  Task<void> run(int steps) {
    for (int i = 0; i < steps; ++i) {
      if (below(10) == 0) (void)co_await clock_.sleep_for(std::chrono::milliseconds(below(300)));
      if (below(60) == 0) (void)co_await clock_.sleep_for(std::chrono::milliseconds(below(3000)));
      if (below(6) == 0)
        co_await change();
      else
        co_await ask();
    }
  }

  unsigned checked = 0;
  std::vector<std::string> wrong;

 private:
  std::uint64_t below(std::uint64_t limit) { return random_->next() % limit; }
  Gfid some_object() {
    auto at = brick_.objects.begin();
    std::advance(at, static_cast<std::ptrdiff_t>(below(brick_.objects.size())));
    return *at;
  }
  Gfid some_directory() { return directories_[below(directories_.size())]; }
  std::string_view some_name() { return kNames[below(std::size(kNames))]; }

  void check(std::string_view what, const std::string& key, const std::string& answer, std::uint64_t since) {
    ++checked;
    if (answer == "error" || brick_.history.was_true(key, answer, since)) return;
    wrong.push_back(fmt::format("{} {}: answered '{}' between changes {} and {}; last: '{}'", what, key,
                                answer, since, brick_.history.now(), brick_.history.last(key)));
  }

  Task<void> ask() {
    const auto since = brick_.history.now();
    if (below(2) == 0) {
      const auto gfid = some_object();
      auto attr = co_await ops_.getattr(ctx_, gfid);
      check("getattr", gfid.hex(), text_of(attr), since);
      co_return;
    }
    const auto parent = some_directory();
    const auto name = some_name();
    auto found = co_await ops_.lookup(ctx_, parent, name);
    if (!found && !found.failed_with(ENOENT)) co_return;  // ESTALE: the directory has gone
    check("lookup", key_of(parent, name), found ? found->gfid.hex() : "none", since);
    if (!found) co_return;
    check("entry", found->gfid.hex(), text_of(found), since);
    if (found->is_directory()) directories_.push_back(found->gfid);
    if (directories_.size() > 6) directories_.erase(directories_.begin() + 1);
  }

  Task<void> change() {
    const auto parent = some_directory(), other = some_directory();
    const auto name = some_name(), other_name = some_name();
    const NewObject file{.mode = 0644}, directory{.mode = 0755};
    switch (below(9)) {
      case 0:
      case 1: {
        const auto since = brick_.history.now();
        auto opened = co_await ops_.create(ctx_, parent, name, file, O_RDWR | (below(2) ? O_EXCL : O_TRUNC));
        if (!opened) break;
        check("create", key_of(parent, name), opened->attr.gfid.hex(), since);
        if (below(2) == 0)
          (void)co_await ops_.write(ctx_, opened->attr.gfid, opened->handle, below(1000),
                                    Buffer::copy_of("x"), false);
        (void)co_await ops_.release(ctx_, opened->attr.gfid, opened->handle);
        break;
      }
      case 2:
        (void)co_await ops_.unlink(ctx_, parent, name);
        break;
      case 3:
        (void)co_await ops_.rename(ctx_, parent, name, other, other_name,
                                   below(4) == 0 ? RENAME_EXCHANGE : 0);
        break;
      case 4:
        (void)co_await ops_.link(ctx_, some_object(), parent, name);
        break;
      case 5: {
        auto made = co_await ops_.mkdir(ctx_, parent, name, directory);
        if (made) directories_.push_back(made->gfid);
        break;
      }
      case 6:
        (void)co_await ops_.rmdir(ctx_, parent, name);
        break;
      case 7: {
        const SetAttr change{.fields = SetAttr::kMode, .mode = static_cast<std::uint32_t>(below(0777))};
        (void)co_await ops_.setattr(ctx_, some_object(), change);
        break;
      }
      default:
        co_await list(parent);
    }
  }

  Task<void> list(Gfid gfid) {
    std::uint64_t cookie = 0;
    for (int pages = 0; pages < 8; ++pages) {
      auto page = co_await ops_.readdir(ctx_, gfid, cookie, 2, false);
      if (!page || page->end || page->entries.empty()) co_return;
      cookie = page->entries.back().cookie;
    }
  }

  Historian& brick_;
  Clock& clock_;
  std::unique_ptr<Random> random_;
  FileOps& ops_;
  const OpContext ctx_{.uid = 1000, .gid = 1000};
  std::vector<Gfid> directories_{kRoot};
};

struct Faults {
  bool connections = false, silences = false, restarts = false;
};

class CacheClientsTest : public testing::TestWithParam<std::uint64_t> {
 protected:
  void simulate(Faults faults) {
    RpcWorld world;
    auto random = make_seeded_random(GetParam());
    auto brick_random = make_seeded_random(GetParam() + 1000);
    Historian brick(world.brick, world.memory, world.loop.clock(), *brick_random);
    world.below_leases = &brick;
    world.restart_server();
    world.run(brick.write_down());
    {
      auto first = world.connect("first"), second = world.connect("second");
      CacheLayer first_cache(*first, *first),
          second_cache(*second, *second, {.nodes_max = 5, .names_max = 12});
      std::vector<std::unique_ptr<Worker>> workers;
      TaskGroup group("workers");
      auto start = [&](FileOps& ops) {
        const auto seed = GetParam() * 100 + workers.size();
        workers.push_back(std::make_unique<Worker>(brick, world.loop.clock(), ops, seed));
        group.spawn(world.loop.executor(), workers.back()->run(300));
      };
      for (auto* ops : {&first_cache, &second_cache, &first_cache, &second_cache, &first_cache}) start(*ops);
      // Somebody who is no client, and goes on when no client can be reached.
      if (!faults.restarts) start(*world.leases);
      while (group.size() > 0) {
        world.loop.run_for(std::chrono::milliseconds(random->next() % 700));
        if (faults.connections && random->next() % 4 == 0) world.net.break_all();
        if (faults.restarts && random->next() % 6 == 0) world.restart_server();
        if (!faults.silences || random->next() % 4 != 0) continue;
        world.net.freeze(true);
        world.loop.run_for(std::chrono::milliseconds(random->next() % 2500));
        world.net.freeze(false);
      }
      unsigned checked = 0;
      for (const auto& worker : workers) {
        checked += worker->checked;
        EXPECT_THAT(worker->wrong, testing::IsEmpty());
      }
      EXPECT_GT(checked, 300u);
      const auto stats = first_cache.stats();
      EXPECT_GT(stats.lookups + stats.getattrs, 20u) << "leases are of use";
      EXPECT_GT(stats.recalls, 10u);
      world.stop(*first);
      world.stop(*second);
    }
    world.stop_server();
    world.below_leases = nullptr;
    world.start_server();
  }
};

TEST_P(CacheClientsTest, EachAnswerWasTrueMeanwhile) {
  simulate({});
}

TEST_P(CacheClientsTest, WithLostConnections) {
  simulate({.connections = true});
}

TEST_P(CacheClientsTest, WithSilencesLongerThanALease) {
  simulate({.silences = true});
}

TEST_P(CacheClientsTest, WithRestartsToo) {
  simulate({.connections = true, .silences = true, .restarts = true});
}

INSTANTIATE_TEST_SUITE_P(Seeds, CacheClientsTest, testing::Range<std::uint64_t>(1, 7));

}  // namespace
}  // namespace polder
