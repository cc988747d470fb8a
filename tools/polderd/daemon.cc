// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/polderd/daemon.h"

#include <unistd.h>

#include "base/clock.h"
#include "base/coro.h"
#include "base/log.h"
#include "base/on_worker.h"
#include "core-volume/admin/admin_client.h"
#include "core-volume/admin/join.h"
#include "core-volume/cluster/sqlite_cluster_store.h"
#include "core-volume/rpc/protocol.h"

namespace polder {

namespace {

constexpr auto kPortRetry = std::chrono::seconds(2);
constexpr auto kAcceptRetry = std::chrono::milliseconds(100);

Result<void> make_directory(Disk& disk, const std::string& path, mode_t mode) {
  for (auto slash = path.find('/', 1); slash != std::string::npos; slash = path.find('/', slash + 1)) {
    auto made = disk.mkdir(Disk::kNoDir, path.substr(0, slash), 0755);
    if (!made && !made.failed_with(EEXIST)) return std::move(made).with("make {}", path.substr(0, slash));
  }
  auto made = disk.mkdir(Disk::kNoDir, path, mode);
  if (!made && !made.failed_with(EEXIST)) return std::move(made).with("make {}", path);
  return {};
}

Result<DiskFile> take_lock(Disk& disk, const std::string& state_dir) {
  auto path = state_dir + "/lock";
  TRY(auto file, disk.open(Disk::kNoDir, path, O_RDWR | O_CREAT | O_NOFOLLOW, 0600).with("open {}", path));
  auto locked = disk.lock_exclusive(file.fd());
  if (locked.failed_with(EWOULDBLOCK)) {
    return Error(EBUSY).with("another polderd uses the state directory {}; one is enough", state_dir);
  }
  if (!locked) return std::move(locked).error().with("lock {}", path);
  auto pid = std::to_string(::getpid()) + "\n";
  TRY(disk.truncate(file.fd(), 0).with("write {}", path));
  TRY(disk.pwrite(file.fd(), as_bytes(pid), 0).with("write {}", path));
  return file;
}

}  // namespace

Daemon::Daemon(Seams& seams, SnapshotBackends& backends, const asio::any_io_executor& executor,
               DaemonOptions options)
    : seams_(seams),
      backends_(backends),
      executor_(executor),
      options_(std::move(options)),
      admin_(seams.clock, executor, api_),
      scrapers_(seams.clock, executor, scraped_) {}

Daemon::~Daemon() = default;

Task<Result<void>> Daemon::lock_state_dir() {
  CO_TRY(state_lock_, co_await on_worker(seams_.workers, [&]() -> Result<DiskFile> {
           TRY(make_directory(seams_.disk, options_.state_dir, 0700));
           TRY(make_directory(seams_.disk, options_.run_dir, 0755));
           return take_lock(seams_.disk, options_.state_dir);
         }));
  co_return Result<void>();
}

Task<Result<void>> Daemon::start() {
  started_ns_ = static_cast<std::uint64_t>(seams_.clock.wall_time().count());
  CO_TRY(co_await lock_state_dir());
  CO_TRY(store_, co_await on_worker(seams_.workers, [&] {
           return open_sqlite_cluster_store(seams_, options_.state_dir + "/cluster.db");
         }));
  volumes_ = std::make_unique<Volumes>(seams_, executor_, *store_, identity_);
  node_ = std::make_unique<NodeContext>(NodeContext{.seams = seams_,
                                                    .executor = executor_,
                                                    .store = *store_,
                                                    .api = api_,
                                                    .volumes = *volumes_,
                                                    .identity = identity_,
                                                    .state_dir = options_.state_dir,
                                                    .run_dir = options_.run_dir,
                                                    .protocols = protocols_});
  add_routes();
  auto loaded = co_await load_identity(seams_, *store_);
  if (loaded) {
    identity_ = *std::move(loaded);
    CO_TRY(co_await open_cluster());
  } else if (!loaded.failed_with(ENOENT)) {
    co_return loaded.error();
  }
  CO_TRY(co_await open_sockets());
  co_return co_await open_metrics();
}

void Daemon::add_routes() {
  protocols_[kAdminProtocol] = [this](std::unique_ptr<Stream> stream) { admin_.serve(std::move(stream)); };
  protocols_[kRpcProtocol] = [this](std::unique_ptr<Stream> stream) { volumes_->serve(std::move(stream)); };
  add_cluster_routes(api_, *this);
  add_volume_routes(api_, *this);
  add_option_routes(api_, *this);
  add_changelog_routes(api_, *this);
  add_doctor_routes(api_, *this);
  add_status_routes(api_, *this);
  add_usage_routes(api_, *this);
  add_dump_routes(api_, *this);
  add_metrics_route(api_, *this, AdminAccess::kAdmin);
  add_metrics_route(scraped_, *this, AdminAccess::kEverybody);
  volumes_->add_hooks(profile_hooks(*volumes_));
  georep_ = std::make_unique<georep::GeorepService>(*node_);
  georep_->attach();
  snapshots_ = std::make_unique<SnapshotCoordinator>(*node_, backends_);
  snapshots_->attach();
}

Task<Result<void>> Daemon::open_sockets() {
  for (auto [name, protocol] :
       {std::pair{"admin.sock", kAdminProtocol}, std::pair{"data.sock", kRpcProtocol}}) {
    auto endpoint = Endpoint::unix_socket(options_.run_dir + "/" + name);
    std::vector<std::string> protocols = {protocol};
    CO_TRY(auto listener, co_await seams_.transport.listen(endpoint, protocols, nullptr));
    listeners_.push_back(std::move(listener));
    tasks_.spawn(executor_, accept_all(listeners_.back()));
  }
  co_return Result<void>();
}

/// Off unless asked for: whoever reaches this address may read names of volumes and bricks, and numbers.
Task<Result<void>> Daemon::open_metrics() {
  if (options_.metrics_listen.empty()) co_return Result<void>();
  CO_TRY(auto endpoint, Endpoint::parse(options_.metrics_listen));
  endpoint.kind = Endpoint::Kind::kClear;
  std::vector<std::string> protocols = {kAdminProtocol};
  auto listener = co_await seams_.transport.listen(endpoint, protocols, nullptr);
  if (!listener) co_return std::move(listener).error().with("metrics");
  listeners_.push_back(*std::move(listener));
  log::info("metrics are at http://{}/metrics, for everybody who can connect", endpoint.text());
  tasks_.spawn(executor_, accept_scrapers(listeners_.back()));
  co_return Result<void>();
}

/// Volumes first: whoever connects finds what there is.
Task<Result<void>> Daemon::open_cluster() {
  add_join_route(api_, seams_, *store_, identity_.ca, identity_.cluster.name,
                 [this] { return volumes_->members().refresh(); });
  CO_TRY(co_await snapshots_->recover());
  CO_TRY(co_await volumes_->open());
  co_await snapshots_->open();
  auto opened = co_await open_port();
  if (!opened) {
    // The address may come later (DHCP, VPN); local clients are served meanwhile.
    port_failure_ = opened.error().message();
    log::error("{}; trying again", port_failure_);
    tasks_.spawn(executor_, retry_port());
  }
  co_return Result<void>();
}

Task<Result<void>> Daemon::open_port() {
  CO_TRY(auto endpoint, Endpoint::parse(identity_.cluster.listen));
  std::vector<std::string> protocols;
  for (const auto& [name, take] : protocols_) protocols.push_back(name);
  auto listener = co_await seams_.transport.listen(endpoint, protocols, identity_.listener_identity());
  if (!listener) co_return std::move(listener).error().with("listen on {}", endpoint.text());
  listeners_.push_back(*std::move(listener));
  tasks_.spawn(executor_, accept_all(listeners_.back()));
  port_failure_.clear();
  log::info("listening on {}", listeners_.back()->local().text());
  co_return Result<void>();
}

Task<void> Daemon::retry_port() {
  for (;;) {
    if (!co_await seams_.clock.sleep_for(kPortRetry)) co_return;
    auto opened = co_await open_port();
    if (opened) co_return;
    port_failure_ = opened.error().message();
  }
}

Task<void> Daemon::accept_all(std::shared_ptr<Listener> listener) {
  for (;;) {
    auto stream = co_await listener->accept();
    if (stream) {
      hand_over(*std::move(stream));
      continue;
    }
    if (stream.failed_with(ECANCELED)) co_return;
    // Out of descriptors, or the like: it passes.
    log::warning("accept on {}: {}", listener->local().text(), stream.error().message());
    if (!co_await seams_.clock.sleep_for(kAcceptRetry)) co_return;
  }
}

Task<void> Daemon::accept_scrapers(std::shared_ptr<Listener> listener) {
  for (;;) {
    auto stream = co_await listener->accept();
    if (stream) {
      scrapers_.serve(*std::move(stream));
      continue;
    }
    if (stream.failed_with(ECANCELED)) co_return;
    if (!co_await seams_.clock.sleep_for(kAcceptRetry)) co_return;
  }
}

void Daemon::hand_over(std::unique_ptr<Stream> stream) {
  auto taker = protocols_.find(stream->protocol());
  if (taker == protocols_.end()) {
    stream->close();
    return;
  }
  taker->second(std::move(stream));
}

/// Whether the port can be had, before anything is made.
Task<Result<void>> Daemon::try_port(std::string listen) {
  CO_TRY(auto endpoint, Endpoint::parse(listen));
  if (endpoint.kind != Endpoint::Kind::kTls) co_return Error(EINVAL).with("'{}' is not ADDRESS:PORT", listen);
  NodeIdentity trial;
  auto now_s = std::chrono::duration_cast<std::chrono::seconds>(seams_.clock.wall_time()).count();
  CO_TRY(trial.ca, make_ca("trial", now_s));
  trial.certificate = trial.ca;
  auto listener = co_await seams_.transport.listen(endpoint, {kAdminProtocol}, trial.listener_identity());
  if (!listener) co_return std::move(listener).error().with("listen on {}", endpoint.text());
  (*listener)->close();
  co_return Result<void>();
}

Task<Result<void>> Daemon::init_cluster(ClusterInit init) {
  if (identity_.ready() || initialising_) {
    co_return Error(EEXIST).with("this node is in the cluster '{}' already", identity_.cluster.name);
  }
  CO_TRY(co_await try_port(init.listen));
  initialising_ = true;
  auto made = co_await polder::init_cluster(seams_, *store_, std::move(init));
  initialising_ = false;
  if (!made) co_return made;
  CO_TRY(identity_, co_await load_identity(seams_, *store_));
  log::info("cluster {} made; this node is {}", identity_.cluster.name, identity_.node.name);
  co_return co_await open_cluster();
}

std::vector<std::string> Daemon::degraded() const {
  std::vector<std::string> out;
  if (!port_failure_.empty()) {
    out.push_back(fmt::format("other machines cannot reach this node: {}", port_failure_));
  }
  for (const auto& [name, failure] : volumes_->failures()) {
    out.push_back(fmt::format("the volume '{}' does not run: {}", name, failure));
  }
  for (const auto& name : volumes_->running_names()) {
    auto volume = volumes_->running(name);
    for (const auto& [set, why] : volume->stack->failures())
      out.push_back(fmt::format("a brick of the volume '{}' does not run: {}", name, why));
  }
  return out;
}

Task<void> Daemon::stop() {
  for (const auto& listener : listeners_) listener->close();
  co_await tasks_.stop();
  co_await admin_.stop();
  co_await scrapers_.stop();
  if (georep_) co_await georep_->stop();
  if (snapshots_) co_await snapshots_->close();
  if (volumes_) co_await volumes_->close();
  listeners_.clear();
}

}  // namespace polder
