// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/sim/sim_site.h"

#include <algorithm>
#include <boost/asio/post.hpp>

#include "core-volume/admin/admin_client.h"
#include "core-volume/graph/volume_check.h"
#include "core-volume/layers/snapshot_view/read_only_layer.h"
#include "tests/sim/fold.h"

namespace polder {

namespace {

const DaemonOptions kOptions{
    .cluster = "sim", .state_dir = "/var/lib/polder", .run_dir = "/run/polder", .metrics_listen = ""};

void remove_below(Disk& disk, const std::string& path) {
  auto directory = must(disk.open(Disk::kNoDir, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  for (const auto& entry : must(disk.list(directory.fd()))) {
    const bool is_directory = S_ISDIR(must(disk.stat(directory.fd(), entry.name)).st_mode);
    if (is_directory) remove_below(disk, path + "/" + entry.name);
    must(disk.unlink(directory.fd(), entry.name, is_directory ? AT_REMOVEDIR : 0));
  }
}

std::string address_of(const std::string& host) {
  return fmt::format("{}:{}", host, Endpoint::kDefaultPort);
}

}  // namespace

SimSite::SimSite(SimLoop& loop, SimNetwork& network, std::string name, std::uint64_t seed,
                 SimSiteOptions options)
    : loop_(loop),
      network_(network),
      name_(std::move(name)),
      options_(options),
      actor_(options.trace ? options.trace->actor(name_) : 0),
      clock_(loop.clock(), options.skew),
      disks_(&clock_),
      random_(make_seeded_random(seed)) {
  auto trace = [&](SimDisk& disk, const std::string& name) {
    if (options_.trace) disk.trace(*options_.trace, options_.trace->actor(name_ + ":" + name));
  };
  trace(node_disk(), "/");
  trace(disks_.add("run"), "/run");
  for (std::uint32_t brick = 0; brick < options_.bricks; ++brick) {
    const auto name = fmt::format("brick{}", brick);
    trace(disks_.add(name), name);
  }
  boot();
}

SimSite::~SimSite() {
  if (daemon_) end_process();
}

void SimSite::found_cluster() {
  must(loop_.run_until_done(daemon_->init_cluster(
      {.name = name_, .node = name_, .listen = address_of(name_), .addresses = {address_of(name_)}})));
  json::array bricks;
  for (std::uint32_t brick = 0; brick < options_.bricks; ++brick)
    bricks.emplace_back(fmt::format("{}:/brick{}/data", name_, brick));
  call("POST", "/v1/volumes", {{"name", kSimVolume}, {"bricks", std::move(bricks)}, {"force", true}});
  if (options_.small_segments)
    call("POST", "/v1/volumes/data/options", {{"key", "changelog.segment-size"}, {"value", "64KiB"}});
  call("POST", "/v1/volumes/data/start");
}

void SimSite::boot() {
  auto workers = std::make_unique<SimWorkers>(loop_.clock(), loop_.executor(), *random_, workers_,
                                              options_.trace, actor_);
  process_ = std::make_unique<SimProcess>(clock_, *random_, disks_, transport(), std::move(workers));
  daemon_ = std::make_unique<Daemon>(*process_->seams, volume_manager_, loop_.executor(), kOptions);
  must(loop_.run_until_done(daemon_->start()));
}

void SimSite::shut_down() {
  loop_.run_until_done(daemon_->stop());
  daemon_.reset();
  process_.reset();
}

void SimSite::end_process() {
  network_.kill_processes(name_);
  disks_.heal();  // of what was still to fail: what it takes for stable now must be there later
  look_at_logs();
  disks_.freeze();
  shut_down();
}

void SimSite::look_at_logs() {
  const auto running = daemon_->node().volumes.running(kSimVolume);
  if (!running) return;
  // A log that cannot be read now is the problem of whoever needs it: log_problems() says so at the end.
  for (const auto& [set, brick] : running->stack->bricks()) (void)witnesses_[set].look(brick->journal());
}

SimDisk& SimSite::fail_call(Random& random, bool for_good) {
  auto& disk = any_disk(random);
  // Syncs are one call of many, and what they lose is told only once.
  if (random.below(2) == 0) {
    disk.fail_nth_sync(1 + random.below(3), EIO, for_good);
  } else {
    disk.fail_nth(1 + random.below(100), EIO, for_good);
  }
  for (int i = 0; i < 50 && !disk.fault_fired(); ++i) loop_.run_for(std::chrono::milliseconds(100));
  loop_.run_for(std::chrono::milliseconds(random.below(1000)));
  return disk;
}

bool SimSite::is_at_rest() {
  for (const auto& [set, brick] : stack().bricks())
    if (brick->ordering().open_transactions() != 0 || !must(brick->store().orphans()).empty()) return false;
  return true;
}

std::vector<std::string> SimSite::problems() {
  for (int i = 0; i < 140 && !is_at_rest(); ++i)
    loop_.run_for(std::chrono::seconds(1));  // files without a name stay for a minute
  auto found = log_problems();
  if (!is_at_rest()) found.push_back("transactions or files without a name are left");
  std::map<std::uint32_t, Store*> stores;
  for (const auto& [set, brick] : stack().bricks()) stores[set] = &brick->store();
  std::ranges::move(volume_problems(stores, stack().placement()), std::back_inserter(found));
  for (auto& sentence : found) sentence.insert(0, name_ + ": ");
  return found;
}

std::vector<std::string> SimSite::log_problems() {
  std::vector<std::string> found;
  for (const auto& [set, brick] : stack().bricks()) {
    std::ranges::move(witnesses_[set].problems(brick->journal()), std::back_inserter(found));
    const auto log = must(brick->journal().verify());
    if (!log.damage.empty()) found.push_back("log: " + log.damage.front().what);
  }
  return found;
}

std::vector<std::string> SimSite::differences_after_power_loss(std::uint64_t seed) {
  must(loop_.run_until_done(stack().top().sync({})));
  const auto before = dump();
  lose_power(seed);
  boot();
  return differing_lines(before, dump(), name_ + " after a power loss, everything synced");
}

void SimSite::kill() {
  end_process();
  disks_.kill();
}

void SimSite::wipe_brick() {
  const std::string path = "/brick0/data";
  const auto identity =
      must(Store::open(disks_, path, {.volume = {}, .brick = {}, .read_only = true}))->identity();
  const auto now_ns = static_cast<std::uint64_t>(clock_.wall_time().count());
  kill();
  remove_below(disks_, path);
  must(disks_.unlink(Disk::kNoDir, path, AT_REMOVEDIR));
  must(disks_.mkdir(Disk::kNoDir, path, 0755));
  must(Store::format(disks_, path, identity, now_ns));
  witnesses_.clear();  // of another log
  boot();
}

void SimSite::lose_power(std::uint64_t seed) {
  end_process();
  disks_.crash(seed);
  volume_manager_.boot();
}

void SimSite::die_at(std::uint64_t n) {
  disks_.fault().freeze_at(n, [this] {
    // Before whoever made the call goes on.
    boost::asio::post(loop_.executor(), [this] { network_.kill_processes(name_); });
  });
}

void SimSite::run_until_death(std::uint64_t n) {
  die_at(n);
  for (int i = 0; i < 2'000 && !died(); ++i) loop_.run_for(std::chrono::microseconds(100));
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

json::object SimSite::create_snapshot(const std::string& name) {
  return call("POST", "/v1/snapshots", {{"name", name}, {"volume", kSimVolume}, {"timestamp", false}});
}

std::string SimSite::restore_snapshot(const std::string& name) {
  auto answer = call("POST", "/v1/snapshots/" + name + "/restore");
  return std::string(answer.at("pre_restore").at("name").as_string());
}

void SimSite::remove_snapshot(const std::string& name) {
  call("DELETE", "/v1/snapshots/" + name);
}

std::vector<std::string> SimSite::snapshots() {
  std::vector<std::string> names;
  for (const auto& snapshot : must(try_call("GET", "/v1/snapshots")).as_array())
    names.emplace_back(snapshot.at("name").as_string());
  return names;
}

void SimSite::look_into_snapshot(const std::string& name, const std::function<void(FileOps&)>& use) {
  const auto snapshot = call("POST", "/v1/snapshots/" + name + "/activate");
  const auto brick = std::string(snapshot.at("brick").as_string());
  const auto path =
      fmt::format("{}/snapshots/{}{}", kOptions.run_dir, std::string_view(snapshot.at("id").as_string()),
                  brick.substr(brick.find(':') + 1));
  {
    auto store = must(Store::open(disks_, path, {.volume = {}, .brick = {}, .read_only = true}));
    ReadOnlyLayer view(*process_->workers, *store);
    use(view);
  }
  call("POST", "/v1/snapshots/" + name + "/deactivate");
}

SimDisk& SimSite::any_disk(Random& random) {
  const auto chosen = static_cast<std::uint32_t>(random.below(options_.bricks + 1));
  return chosen == options_.bricks ? node_disk() : brick_disk(chosen);
}

VolumeStack& SimSite::stack() {
  auto running = daemon_->node().volumes.running(kSimVolume);
  if (!running) {
    throw std::runtime_error(
        fmt::format("the volume of {} does not run: {}", name_, daemon_->node().volumes.failure(kSimVolume)));
  }
  return *running->stack;
}

std::vector<std::string> SimSite::dump() {
  BorrowedStack inside(loop_, stack().top());
  return Client(inside, 0).dump();
}

void BorrowedStack::run(std::vector<Task<void>> tasks) {
  TaskGroup group("operations of a test");
  for (Task<void>& task : tasks) group.spawn(loop_.executor(), std::move(task));
  loop_.run_until_done(group.wait_idle());
}

}  // namespace polder
