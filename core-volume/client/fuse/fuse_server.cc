// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/client/fuse/fuse_server.h"

#include <fcntl.h>
#include <linux/fuse.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cstring>
#include <thread>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "base/concurrency.h"
#include "base/coro.h"
#include "base/log.h"
#include "base/loop_watch.h"
#include "base/on_worker.h"
#include "core-volume/client/fuse/dispatch.h"

namespace polder {

namespace {

constexpr std::size_t kReceive_bytes = kTransferMax_bytes + (64 << 10);
constexpr int kDrainTries = 100;
constexpr int kRequestsPerWakeUp = 64;

Error mount_error(int code, const FuseOptions& options) {
  switch (code) {
    case EPERM:
      return Error(code).with("mounting needs root: {}", options.mountpoint);
    case EBUSY:
      return Error(code).with("{} is in use as a mount point already", options.mountpoint);
    default:
      return Error(code).with("mount {} at {}", options.source, options.mountpoint);
  }
}

/// Asks for FUSE_HANDLE_KILLPRIV_V2, which libfuse 3.14 has no name for, in its answer to INIT.
bool take_over_privileges(const fuse_init_in& asked, iovec* parts, int count) {
  if ((asked.flags & FUSE_HANDLE_KILLPRIV_V2) == 0 || count < 2) return false;
  if (parts[1].iov_len < offsetof(fuse_init_out, max_background)) return false;
  static_cast<fuse_init_out*>(parts[1].iov_base)->flags |= FUSE_HANDLE_KILLPRIV_V2;
  return true;
}

ssize_t read_message(int fd, void* into, std::size_t size, void*) {
  return read(fd, into, size);
}

ssize_t write_message(int fd, iovec* parts, int count, void* user) {
  auto& dispatch = *static_cast<Dispatch*>(user);
  if (dispatch.starting) {
    fuse_init_in asked;
    std::memcpy(&asked, dispatch.received.data() + sizeof(fuse_in_header), sizeof asked);
    dispatch.bridge.takes_privileges = take_over_privileges(asked, parts, count);
  }
  return writev(fd, parts, count);
}

/// Which mount is at `path`: asked of the kernel alone, so that it works while nobody answers. 0: unknown.
std::uint64_t mount_id_at(const std::string& path) {
  struct statx st{};
  const int failed = statx(AT_FDCWD, path.c_str(), AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_MNT_ID, &st);
  return failed == 0 && (st.stx_mask & STATX_MNT_ID) != 0 ? st.stx_mnt_id : 0;
}

}  // namespace

struct FuseServer::Impl {
  Impl(FileOps& volume, InvalidationSource* invalidations, Clock& the_clock, FuseOptions the_options)
      : clock(the_clock),
        options(std::move(the_options)),
        bridge(volume, the_clock, options),
        source(invalidations) {}
  ~Impl() {
    bridge.invalidator.reset();
    workers.reset();
    if (session != nullptr) {
      fuse_session_unmount(session);
      fuse_session_destroy(session);  // closes the device: the kernel gives up on whoever still waits
    }
  }

  Result<void> mount();
  Result<void> unmount(int flags);
  Task<void> receive_all();
  bool receive_one();
  bool receive_some();
  Task<Result<void>> run();
  Task<Result<void>> stop(nanoseconds grace);
  Task<bool> ends_within(nanoseconds grace);

  Clock& clock;
  const FuseOptions options;
  Askers askers{std::thread::hardware_concurrency()};  // outlives the requests
  Bridge bridge;
  InvalidationSource* source;
  TaskGroup tasks{"fuse requests"};
  TaskGroup timers{"fuse timers"};
  Interrupts interrupts{clock, timers};
  asio::any_io_executor executor;
  Buffer received;
  Dispatch dispatch{bridge, tasks, interrupts, askers, executor, received};
  std::unique_ptr<Workers> workers = make_thread_workers(3);  // two for invalidations, one to unmount
  fuse_session* session = nullptr;
  std::optional<asio::posix::stream_descriptor> device;
  std::uint64_t mount_id = 0;
  bool ended = false;
  Event ended_event;
};

Result<void> FuseServer::Impl::mount() {
  const int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    const int code = errno;
    if (code == ENOENT || code == ENODEV || code == ENXIO)
      return Error(code).with("this kernel offers no /dev/fuse; try: modprobe fuse");
    return Error(code).with("open /dev/fuse");
  }
  char program[] = "polder";
  char* argv[] = {program, nullptr};
  fuse_args args{1, argv, 0};
  session = fuse_session_new(&args, &fuse_operations(), sizeof(fuse_lowlevel_ops), &dispatch);
  fuse_opt_free_args(&args);
  if (session == nullptr) {
    close(fd);
    return Error(ENOMEM).with("libfuse made no session");
  }
  // Permissions are checked by the kernel, for everybody on this machine alike.
  const std::string data =
      fmt::format("fd={},rootmode=40000,user_id=0,group_id=0,default_permissions,allow_other,max_read={}", fd,
                  kTransferMax_bytes);
  if (::mount(options.source.c_str(), options.mountpoint.c_str(), "fuse.polder", options.mount_flags,
              data.c_str()) != 0) {
    const int code = errno;
    close(fd);
    return mount_error(code, options);
  }
  const fuse_custom_io io{
      .writev = write_message, .read = read_message, .splice_receive = nullptr, .splice_send = nullptr};
  if (const int failed = fuse_session_custom_io(session, &io, fd); failed != 0)  // takes the descriptor over
    return Error(-failed).with("libfuse takes no descriptor");
  mount_id = mount_id_at(options.mountpoint);
  return {};
}

Result<void> FuseServer::Impl::unmount(int flags) {
  // Somebody may have unmounted us and mounted something else there: that is not ours to take away.
  if (mount_id != 0 && mount_id_at(options.mountpoint) != mount_id) return {};
  if (umount2(options.mountpoint.c_str(), flags | UMOUNT_NOFOLLOW) == 0 || errno == EINVAL) return {};
  return Error(errno).with("unmount {}", options.mountpoint);
}

/// False when there is nothing to receive now, or ever.
bool FuseServer::Impl::receive_one() {
  if (dispatch.received_kept || received.empty()) {
    received = Buffer::allocate(kReceive_bytes);
    dispatch.received_kept = false;
  }
  const ssize_t size = read(fuse_session_fd(session), received.writable().data(), received.size());
  if (size < 0) {
    if (errno == EINTR || errno == ENOENT) return true;  // ENOENT: that request was withdrawn
    if (errno == EAGAIN) return false;
    if (errno != ENODEV) log::error("reading from /dev/fuse: {}; the mount ends", Error(errno).message());
    ended = true;
    return false;
  }
  fuse_buf message{};
  message.size = static_cast<std::size_t>(size);
  message.mem = received.writable().data();
  fuse_in_header head;
  std::memcpy(&head, message.mem, sizeof head);
  // Set for INIT alone, which comes before there are invalidations: they are written by other threads.
  if (head.opcode == FUSE_INIT) dispatch.starting = true;
  fuse_session_process_buf(session, &message);
  if (head.opcode == FUSE_INIT) dispatch.starting = false;
  if (fuse_session_exited(session) != 0) ended = true;
  return !ended;
}

/// Whether there was anything, the mount's end included.
bool FuseServer::Impl::receive_some() {
  if (!device->is_open()) ended = true;
  int left = kRequestsPerWakeUp;
  while (left > 0 && !ended && receive_one()) {
    --left;
    // Waiting again finds what has come meanwhile, too: to look for more at once pays only when several
    // processes are at work.
    if (tasks.size() <= 1) break;
  }
  return ended || left < kRequestsPerWakeUp;
}

Task<void> FuseServer::Impl::receive_all() {
  LoopWatch& watch = LoopWatch::of(executor);
  watch.rest_while([this] { return askers.are_many(); });
  while (!ended) {
    if (co_await watch.found([this] { return receive_some(); })) continue;
    boost::system::error_code failure;
    co_await device->async_wait(asio::posix::stream_descriptor::wait_read,
                                asio::redirect_error(asio::use_awaitable, failure));
    if (failure) break;  // stop() closed the device
    receive_some();
  }
  watch.rest_while({});
  ended = true;
  ended_event.notify_all();
}

Task<Result<void>> FuseServer::Impl::run() {
  executor = co_await asio::this_coro::executor;
  bridge.invalidator = std::make_unique<Invalidator>(session, bridge.inodes(), tasks, executor, *workers);
  bridge.background = [this](Task<void> task) { tasks.spawn(executor, std::move(task)); };
  if (source != nullptr)
    source->on_invalidation([this](const Invalidation& change) {
      if (!ended) bridge.invalidate(change);
    });
  if (options.attributes != nullptr)
    options.attributes->on_attributes([this](const FileAttr& attr) { bridge.learn_directory(attr); });
  device.emplace(executor, dup(fuse_session_fd(session)));
  co_await receive_all();
  device.reset();
  if (source != nullptr) source->on_invalidation({});
  if (options.attributes != nullptr) options.attributes->on_attributes({});
  // What is still under way are releases; anything else has nobody left who waits for it.
  for (int tries = 0; tasks.size() > 0 && tries < kDrainTries; ++tries)
    (void)co_await clock.sleep_for(std::chrono::milliseconds(10));
  co_await tasks.stop();
  co_await timers.stop();
  co_await bridge.release_all();
  log::debug("{}: ended with {} objects that the kernel never forgot", options.mountpoint,
             bridge.inodes().size());
  co_return Result<void>();
}

Task<bool> FuseServer::Impl::ends_within(nanoseconds grace) {
  const nanoseconds until = clock.boot_time() + grace;
  while (!ended && clock.boot_time() < until) {
    auto slept = co_await clock.sleep_for(std::chrono::milliseconds(10));
    if (!slept) break;
  }
  co_return ended;
}

Task<Result<void>> FuseServer::Impl::stop(nanoseconds grace) {
  // On a worker, because the kernel writes dirty pages back first, through this loop.
  CO_TRY(co_await on_worker(*workers, [this] { return unmount(MNT_DETACH); }));
  const bool by_itself = co_await ends_within(grace);
  if (by_itself) co_return Result<void>();
  log::warning("{}: still in use by {} open files; they get ENOTCONN from now on", options.mountpoint,
               bridge.open_files());
  // Requests are still received, and refused, until nothing of ours runs: an invalidation may be waiting
  // inside the kernel for a lock that such a request's process holds.
  dispatch.refusing = true;
  co_await tasks.stop();
  ended = true;
  if (device) device->close();
  co_return Result<void>();
}

FuseServer::FuseServer(FileOps& volume, InvalidationSource* invalidations, Clock& clock, FuseOptions options)
    : impl_(std::make_unique<Impl>(volume, invalidations, clock, std::move(options))) {}
FuseServer::~FuseServer() = default;

Result<void> FuseServer::mount() {
  return impl_->mount();
}

Task<Result<void>> FuseServer::run() {
  return impl_->run();
}

Task<Result<void>> FuseServer::stop(nanoseconds grace) {
  return impl_->stop(grace);
}

std::vector<FuseServer::Object> FuseServer::objects(std::size_t most) const {
  std::vector<Object> list;
  auto& inodes = impl_->bridge.inodes();
  for (NodeId node : inodes.all()) {
    if (list.size() >= most) break;
    const auto* inode = inodes.find(node);
    list.push_back({inode->gfid, inode->lookups, inode->mode, inode->open_files});
  }
  return list;
}

FuseServer::Stats FuseServer::stats() const {
  const InodeTable& inodes = impl_->bridge.inodes();
  return {.objects = inodes.size(),
          .lookups = inodes.lookups(),
          .open_files = impl_->bridge.open_files(),
          .requests = impl_->dispatch.requests,
          .invalidations = impl_->bridge.invalidator ? impl_->bridge.invalidator->told() : 0};
}

}  // namespace polder
