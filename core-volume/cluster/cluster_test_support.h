// SPDX-License-Identifier: GPL-3.0-or-later
// A node's seams for tests: virtual time, seeded chance, the kernel's disk in a directory of its own.
#pragma once
#include <stdlib.h>

#include <filesystem>
#include <string>

#include "base/disk.h"
#include "base/hlc.h"
#include "base/random.h"
#include "base/seams.h"
#include "base/workers.h"
#include "core-volume/cluster/sqlite_cluster_store.h"
#include "tests/support/loop.h"
#include "tests/support/no_transport.h"

namespace polder {

struct ClusterWorld {
  SimLoop loop;
  std::unique_ptr<Random> random = make_seeded_random(7);
  std::unique_ptr<Disk> disk = make_kernel_disk();
  std::unique_ptr<Workers> workers = make_inline_workers();
  NoTransport transport;
  HlcClock hlc{loop.clock()};
  Seams seams{loop.clock(), *random, *disk, transport, *workers, hlc};
  std::string folder;

  ClusterWorld() {
    std::string pattern = "/var/tmp/polder-cluster-test.XXXXXX";
    folder = ::mkdtemp(pattern.data());
  }
  ~ClusterWorld() { std::filesystem::remove_all(folder); }

  std::unique_ptr<ClusterStore> open_store() {
    auto store = open_sqlite_cluster_store(seams, folder + "/cluster.db");
    if (!store) throw std::runtime_error(store.error().message());
    return *std::move(store);
  }
  template <typename T>
  T run(Task<T> task) {
    return loop.run_until_done(std::move(task));
  }
};

}  // namespace polder
