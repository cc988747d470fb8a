// SPDX-License-Identifier: GPL-3.0-or-later
// A node's daemon without its sockets, on the kernel's disk, in a folder that outlives it.
#pragma once
#include <gtest/gtest.h>

#include <filesystem>

#include "base/clock.h"
#include "base/disk.h"
#include "base/hlc.h"
#include "base/random.h"
#include "base/workers.h"
#include "core-volume/cluster/sqlite_cluster_store.h"
#include "core-volume/node/volumes.h"
#include "tests/support/loop.h"

namespace polder {

/// One daemon's lifetime over a folder that outlives it.
struct Node {
  RealLoop loop;
  std::unique_ptr<Clock> clock = make_system_clock();
  std::unique_ptr<Random> random = make_system_random();
  std::unique_ptr<Disk> disk = make_kernel_disk();
  std::unique_ptr<Transport> transport = make_socket_transport();
  std::unique_ptr<Workers> workers = make_thread_workers(2);
  HlcClock hlc{*clock};
  Seams seams{*clock, *random, *disk, *transport, *workers, hlc};
  std::unique_ptr<ClusterStore> store;
  NodeIdentity identity;
  std::unique_ptr<Volumes> volumes;

  explicit Node(const std::string& folder) {
    store = open_sqlite_cluster_store(seams, folder + "/cluster.db").value();
    ClusterInit init{
        .name = "east", .node = "alpha", .listen = "127.0.0.1:24117", .addresses = {"127.0.0.1:24117"}};
    auto made = loop.run_until_done(init_cluster(seams, *store, init));
    if (!made && !made.failed_with(EEXIST)) throw std::runtime_error(made.error().message());
    identity = loop.run_until_done(load_identity(seams, *store)).value();
    volumes = std::make_unique<Volumes>(seams, loop.executor(), *store, identity);
    auto opened = loop.run_until_done(volumes->open());
    if (!opened) throw std::runtime_error(opened.error().message());
  }
  ~Node() { loop.run_until_done(volumes->close()); }

  template <typename T>
  T run(Task<T> task) {
    return loop.run_until_done(std::move(task));
  }
};

struct VolumesTest : testing::Test {
  std::string folder = [] {
    std::string pattern = "/var/tmp/polder-volumes-test.XXXXXX";
    return std::string(::mkdtemp(pattern.data()));
  }();
  std::unique_ptr<Node> node;

  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "bricks need root (trusted xattrs)";
    node = std::make_unique<Node>(folder);
  }
  ~VolumesTest() override {
    node.reset();
    std::filesystem::remove_all(folder);
  }

  void restart() {
    node.reset();
    node = std::make_unique<Node>(folder);
  }
  Result<CreatedVolume> create(const std::string& name, const std::string& brick) {
    return create(name, std::vector{brick});
  }
  Result<CreatedVolume> create(const std::string& name, const std::vector<std::string>& bricks) {
    return node->run(node->volumes->create({.name = name, .bricks = bricks, .force = true}));
  }
};

}  // namespace polder
