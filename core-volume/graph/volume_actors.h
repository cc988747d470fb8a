// SPDX-License-Identifier: GPL-3.0-or-later
// For tests: clients that do random things to the names of a volume.
#pragma once
#include <fcntl.h>

#include <random>

#include "base/coro.h"
#include "core-volume/graph/volume_stack_test_support.h"

namespace polder {

/// What the clients know in common: directories that exist or existed.
struct Shared {
  std::vector<Gfid> directories{Gfid::root()};
  std::uint64_t done = 0;
  bool stop = false;
  std::vector<std::string> unexpected;
  bool bricks_may_go = false;  // then EIO is the end of an operation only
  nanoseconds pause{};         // before each
};

/// One client that does random things to names.
class Actor {
 public:
  Actor(SimVolume& volume, Shared& shared, std::uint32_t session, std::uint64_t seed)
      : volume_(volume), ops_(volume.ops()), shared_(shared), random_(seed) {
    ctx_.session = session;
    ctx_.sequence = seed << 20;
  }

  Task<void> act(int count) {
    for (int i = 0; i < count && !shared_.stop; ++i) {
      if (shared_.pause.count() > 0) (void)co_await volume_.loop.clock().sleep_for(shared_.pause);
      ++ctx_.sequence;
      auto outcome = co_await one();
      if (outcome) ++shared_.done;
      const int code = outcome ? 0 : outcome.error().code();
      if (code == EIO && !shared_.bricks_may_go) co_return;  // the disk is gone
      if (code == EAGAIN || code == EUCLEAN || code == ECANCELED)
        shared_.unexpected.push_back(outcome.error().message());
    }
  }

 private:
  std::uint64_t below(std::uint64_t n) { return random_() % n; }
  Gfid any_directory() { return shared_.directories[below(shared_.directories.size())]; }
  std::string any_file() { return fmt::format("f{}", below(4)); }
  std::string any_subdirectory() { return fmt::format("d{}", below(3)); }
  std::string any_name() { return below(3) == 0 ? any_subdirectory() : any_file(); }

  Task<Result<void>> one() {
    switch (below(10)) {
      case 0:
      case 1: {
        CO_TRY(auto opened, co_await ops_.create(ctx_, any_directory(), any_file(), {.mode = 0644}, O_RDWR));
        co_return co_await ops_.release(ctx_, opened.attr.gfid, opened.handle);
      }
      case 2: {
        CO_TRY(auto made, co_await ops_.mkdir(ctx_, any_directory(), any_subdirectory(), {.mode = 0755}));
        shared_.directories.push_back(made.gfid);
        co_return Result<void>();
      }
      case 3:
        co_return co_await ops_.unlink(ctx_, any_directory(), any_file());
      case 4:
        co_return co_await ops_.rmdir(ctx_, any_directory(), any_subdirectory());
      case 5: {
        CO_TRY(auto attr, co_await ops_.lookup(ctx_, any_directory(), any_file()));
        CO_TRY(co_await ops_.link(ctx_, attr.gfid, any_directory(), any_file()));
        co_return Result<void>();
      }
      case 6: {
        CO_TRY(co_await ops_.readdir(ctx_, any_directory(), 0, 100, true));
        co_return Result<void>();
      }
      case 7:
        co_return co_await ops_.rename(ctx_, any_directory(), any_name(), any_directory(), any_name(),
                                       RENAME_EXCHANGE);
      default:
        co_return co_await ops_.rename(ctx_, any_directory(), any_name(), any_directory(), any_name(), 0);
    }
  }

  SimVolume& volume_;
  FileOps& ops_;
  Shared& shared_;
  OpContext ctx_;
  std::mt19937_64 random_;
};

}  // namespace polder
