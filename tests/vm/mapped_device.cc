// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/vm/mapped_device.h"

#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstring>
#include <vector>

namespace polder {
namespace {

/// A request with room for what follows the header.
class Request {
 public:
  explicit Request(const std::string& name, std::size_t payload_bytes = 0)
      : bytes_(sizeof(dm_ioctl) + payload_bytes + 8) {
    auto& head = this->head();
    head.version[0] = DM_VERSION_MAJOR;
    head.data_size = static_cast<std::uint32_t>(bytes_.size());
    head.data_start = sizeof(dm_ioctl);
    name.copy(head.name, sizeof head.name - 1);
  }
  dm_ioctl& head() { return *reinterpret_cast<dm_ioctl*>(bytes_.data()); }
  std::byte* payload() { return bytes_.data() + sizeof(dm_ioctl); }

  Result<void> send(unsigned long code) {
    const int control = ::open("/dev/mapper/control", O_RDWR | O_CLOEXEC);
    if (control < 0) return Error(errno).with("open /dev/mapper/control");
    const int failed = ::ioctl(control, code, bytes_.data()) < 0 ? errno : 0;
    ::close(control);
    if (failed != 0) return Error(failed).with("device {}, request {:#x}", head().name, code & 0xff);
    return {};
  }

 private:
  std::vector<std::byte> bytes_;
};

Result<void> load_table(const std::string& name, std::uint64_t sectors, const std::string& target,
                        const std::string& parameters) {
  Request load(name, sizeof(dm_target_spec) + parameters.size() + 1);
  load.head().target_count = 1;
  dm_target_spec spec{};
  spec.length = sectors;
  spec.next = static_cast<std::uint32_t>(sizeof spec + (parameters.size() + 8) / 8 * 8);
  target.copy(spec.target_type, sizeof spec.target_type - 1);
  std::memcpy(load.payload(), &spec, sizeof spec);
  std::memcpy(load.payload() + sizeof spec, parameters.c_str(), parameters.size() + 1);
  TRY(load.send(DM_TABLE_LOAD).with("{} {}", target, parameters));
  Request resume(name);
  return resume.send(DM_DEV_SUSPEND);  // without the flag: resume
}

}  // namespace

Result<MappedDevice> MappedDevice::create(const std::string& name, std::uint64_t sectors,
                                          const std::string& target, const std::string& parameters) {
  Request made(name);
  TRY(made.send(DM_DEV_CREATE));
  const auto number = made.head().dev;
  MappedDevice device;
  device.name_ = name;
  device.path_ = "/dev/dm-" + std::to_string((number & 0xff) | (number >> 12 & 0xfff00));  // its minor
  TRY(load_table(name, sectors, target, parameters));
  return device;
}

MappedDevice& MappedDevice::operator=(MappedDevice&& other) noexcept {
  if (this == &other) return *this;
  (void)remove();
  name_ = std::move(other.name_);
  path_ = std::move(other.path_);
  other.name_.clear();
  return *this;
}

MappedDevice::~MappedDevice() {
  (void)remove();
}

Result<void> MappedDevice::message(const std::string& text) {
  Request request(name_, sizeof(dm_target_msg) + text.size() + 1);
  std::memcpy(request.payload() + sizeof(dm_target_msg), text.c_str(), text.size() + 1);
  return request.send(DM_TARGET_MSG);
}

Result<void> MappedDevice::remove() {
  if (name_.empty()) return {};
  Request request(name_);
  TRY(request.send(DM_DEV_REMOVE));
  name_.clear();
  return {};
}

}  // namespace polder
