// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/sim/sim_site.h"

#include "core-volume/admin/admin_client.h"

namespace polder {

namespace {

const DaemonOptions kOptions{
    .cluster = "sim", .state_dir = "/var/lib/polder", .run_dir = "/run/polder", .metrics_listen = ""};

std::string address_of(const std::string& host) {
  return fmt::format("{}:{}", host, Endpoint::kDefaultPort);
}

}  // namespace

SimSite::SimSite(SimLoop& loop, SimNetwork& network, std::string name, std::uint64_t seed, nanoseconds skew)
    : loop_(loop),
      network_(network),
      name_(std::move(name)),
      clock_(loop.clock(), skew),
      disk_(&clock_),
      random_(make_seeded_random(seed)) {
  boot();
}

SimSite::~SimSite() {
  if (daemon_) end_process();
}

void SimSite::found_cluster() {
  must(loop_.run_until_done(daemon_->init_cluster(
      {.name = name_, .node = name_, .listen = address_of(name_), .addresses = {address_of(name_)}})));
  call("POST", "/v1/volumes",
       {{"name", kSimVolume}, {"bricks", json::array{name_ + ":/bricks/data"}}, {"force", true}});
  call("POST", "/v1/volumes/data/start");
}

void SimSite::boot() {
  process_ = std::make_unique<SimProcess>(clock_, *random_, disk_, transport());
  daemon_ = std::make_unique<Daemon>(*process_->seams, loop_.executor(), kOptions);
  must(loop_.run_until_done(daemon_->start()));
}

void SimSite::shut_down() {
  loop_.run_until_done(daemon_->stop());
  daemon_.reset();
  process_.reset();
}

void SimSite::end_process() {
  network_.kill_processes(name_);
  disk_.freeze();
  shut_down();
}

void SimSite::kill() {
  end_process();
  disk_.kill();
}

void SimSite::lose_power(std::uint64_t seed) {
  end_process();
  disk_.crash(seed);
}

Result<json::value> SimSite::try_call(std::string method, std::string path, json::object body) {
  auto from = transport();
  AdminClient client(*from, Endpoint::unix_socket(kOptions.run_dir + "/admin.sock"));
  return loop_.run_until_done(client.call(std::move(method), std::move(path), std::move(body)),
                              std::chrono::minutes(10));
}

json::object SimSite::call(std::string method, std::string path, json::object body) {
  return must(json::as_object(must(try_call(std::move(method), std::move(path), std::move(body)))));
}

Brick& SimSite::brick() {
  auto running = daemon_->node().volumes.running(kSimVolume);
  if (!running) {
    throw std::runtime_error(
        fmt::format("the volume of {} does not run: {}", name_, daemon_->node().volumes.failure(kSimVolume)));
  }
  return running->stack->root_brick();
}

std::vector<std::string> SimSite::dump() {
  BorrowedStack stack(loop_, brick().top());
  return Client(stack, 0).dump();
}

void BorrowedStack::run(std::vector<Task<void>> tasks) {
  TaskGroup group("operations of a test");
  for (Task<void>& task : tasks) group.spawn(loop_.executor(), std::move(task));
  loop_.run_until_done(group.wait_idle());
}

}  // namespace polder
