// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/vm/lossy_disk.h"

#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <sstream>

#include "base/command.h"

namespace polder {
namespace {

constexpr std::uint64_t kBrickSectors = 320ull << 11;  // mkfs.xfs wants 300 MiB at least
constexpr std::uint64_t kSectorBytes = 512;

template <typename T>
T must(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().message());
  if constexpr (!std::is_void_v<T>) return *std::move(result);
}

void must_not_fail(int outcome, const std::string& what) {
  if (outcome < 0) throw std::runtime_error(what + ": " + Error(errno).message());
}

std::vector<std::string> mkfs(const std::string& filesystem, const std::string& device) {
  // Nothing is to be finished later, by a thread of the kernel.
  if (filesystem == "ext4")
    return {"mkfs.ext4", "-q", "-F", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0", device};
  return {"mkfs." + filesystem, "-q", "-f", "-K", device};
}

void discard_all(Disk& disk, const std::string& device) {
  auto file = must(disk.open(Disk::kNoDir, device, O_RDWR));
  std::uint64_t bytes = 0;
  must_not_fail(::ioctl(file.fd(), BLKGETSIZE64, &bytes), device);
  const std::uint64_t range[2] = {0, bytes};
  must_not_fail(::ioctl(file.fd(), BLKDISCARD, range), device);
}

/// `to` holds zeros.
void copy_device(Disk& disk, const std::string& from, const std::string& to, std::uint64_t bytes) {
  auto source = must(disk.open(Disk::kNoDir, from, O_RDONLY));
  auto target = must(disk.open(Disk::kNoDir, to, O_RDWR));
  std::vector<std::byte> piece(1 << 20);
  for (std::uint64_t at = 0; at < bytes; at += piece.size()) {
    must(disk.pread(source.fd(), piece, at));
    if (std::ranges::all_of(piece, [](std::byte of) { return of == std::byte{0}; })) continue;
    must(disk.pwrite(target.fd(), piece, at));
  }
  must(disk.fsync(target.fd()));
}

}  // namespace

LossyDisk::LossyDisk(Disk& disk, std::string filesystem, std::uint32_t bricks)
    : disk_(disk), filesystem_(std::move(filesystem)), bricks_(bricks) {
  const char* devices = std::getenv("THIN_VM_DISKS");
  std::istringstream list(devices ? devices : "");
  if (!(list >> log_device_ >> live_device_ >> image_device_ >> moment_device_))
    throw std::runtime_error("runs in a guest with four disks only: tests/vm/power_loss_test.sh");
  for (const auto& device : {log_device_, live_device_, image_device_, moment_device_})
    discard_all(disk_, device);
  split(live_device_);
  for (const auto& part : parts_) must(run_command_checked(mkfs(filesystem_, part.path())));
  mount();
}

LossyDisk::~LossyDisk() {
  try {
    power_off();
  } catch (const std::exception& error) {
    fmt::print(stderr, "power off: {}\n", error.what());
  }
}

std::string LossyDisk::directory(std::uint32_t at) const {
  return "/mnt/power-loss-" + std::to_string(at);
}

/// One part of the device for each file system.
void LossyDisk::split(const std::string& on) {
  for (std::uint32_t i = 0; i < bricks_; ++i)
    parts_.push_back(must(MappedDevice::create("part" + std::to_string(i), kBrickSectors, "linear",
                                               fmt::format("{} {}", on, i * kBrickSectors))));
}

void LossyDisk::unsplit() {
  for (auto& part : parts_) must(part.remove());
  parts_.clear();
}

void LossyDisk::mount() {
  mounted_ = true;
  for (std::uint32_t i = 0; i < bricks_; ++i) {
    std::filesystem::create_directories(directory(i));
    must_not_fail(
        ::mount(parts_[i].path().c_str(), directory(i).c_str(), filesystem_.c_str(), MS_NOATIME, nullptr),
        fmt::format("mount file system {} ({})", i, filesystem_));
  }
}

void LossyDisk::unmount() {
  if (!mounted_) return;
  for (std::uint32_t i = 0; i < bricks_; ++i)
    if (::umount2(directory(i).c_str(), 0) < 0 && errno != EINVAL)
      must_not_fail(-1, "unmount " + directory(i));
  mounted_ = false;
}

void LossyDisk::start_logging() {
  unmount();
  unsplit();
  const auto sectors = bricks_ * kBrickSectors;
  copy_device(disk_, live_device_, image_device_, sectors * kSectorBytes);
  logged_ = must(
      MappedDevice::create("logged", sectors, "log-writes", fmt::format("{} {}", live_device_, log_device_)));
  split(logged_.path());
  mount();
}

void LossyDisk::mark(const std::string& text) {
  must(logged_.message("mark " + text));
}

void LossyDisk::stop_logging() {
  unmount();
  unsplit();
  must(logged_.remove());
  log_ = std::make_unique<WriteLog>(must(WriteLog::open(disk_, log_device_)));
  image_ = must(disk_.open(Disk::kNoDir, image_device_, O_RDWR));
}

void LossyDisk::advance(std::size_t upto) {
  for (; next_ <= upto; ++next_) must(log_->replay(writes()[next_], image_));
  must(disk_.fdatasync(image_.fd()));
}

std::size_t LossyDisk::next_durable(std::size_t after) const {
  while (after < writes().size() && !writes()[after].is_durable()) ++after;
  return after;
}

void LossyDisk::power_on(std::mt19937_64* torn) {
  moment_ = must(MappedDevice::create("moment", bricks_ * kBrickSectors, "snapshot",
                                      fmt::format("{} {} N 8", image_device_, moment_device_)));
  if (torn) {
    auto device = must(disk_.open(Disk::kNoDir, moment_.path(), O_RDWR));
    for (auto at = next_; at < next_durable(next_); ++at)
      if ((*torn)() % 2 == 0) must(log_->replay(writes()[at], device));
    must(disk_.fsync(device.fd()));
  }
  split(moment_.path());
  mount();
}

void LossyDisk::power_off() {
  unmount();
  unsplit();
  must(moment_.remove());
}

}  // namespace polder
