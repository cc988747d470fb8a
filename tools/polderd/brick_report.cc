// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/polderd/brick_report.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "base/coro.h"
#include "base/on_worker.h"

namespace polder {

namespace {

/// Of linux/fs/xfs/libxfs/xfs_fs.h, which is not among the kernel's exported headers.
struct XfsGeometry {
  std::uint32_t block_size, rt_extent, ag_blocks, ag_count, log_blocks, sector_size, inode_size, inode_max;
  std::uint64_t data_blocks, rt_blocks, rt_extents, log_start;
  unsigned char uuid[16];
  std::uint32_t stripe_unit, stripe_width;
  std::int32_t version;
  std::uint32_t flags, log_sector_size, rt_sector_size, directory_block_size;
};
constexpr auto kXfsGeometry = _IOR('X', 100, XfsGeometry);

std::uint32_t xfs_inode_size(const std::string& mount_point) {
  int fd = ::open(mount_point.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return 0;
  XfsGeometry geometry{};
  bool known = ::ioctl(fd, kXfsGeometry, &geometry) == 0;
  ::close(fd);
  return known ? geometry.inode_size : 0;
}

/// From the superblock: the kernel does not tell.
std::uint32_t ext4_inode_size(const std::string& device) {
  constexpr off_t kSuperblock = 1024, kMagicAt = 0x38, kInodeSizeAt = 0x58;
  int fd = ::open(device.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  std::uint16_t magic = 0, size = 0;
  bool known = ::pread(fd, &magic, sizeof magic, kSuperblock + kMagicAt) == sizeof magic && magic == 0xef53 &&
               ::pread(fd, &size, sizeof size, kSuperblock + kInodeSizeAt) == sizeof size;
  ::close(fd);
  return known ? size : 0;
}

/// mountinfo writes blanks and the like as \040.
std::string unescaped(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      out += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

bool is_inside(const std::string& path, const std::string& directory) {
  return directory == "/" || path == directory || path.starts_with(directory + "/");
}

/// "36 35 98:0 /root /mnt rw,noatime shared:1 - ext4 /dev/sda rw,errors=continue"
void take_mount(const std::string& line, const std::string& path, FileSystemFacts& best) {
  std::istringstream words(line);
  std::string ignored, mount_point, options, word;
  words >> ignored >> ignored >> ignored >> ignored >> mount_point >> options;
  while (words >> word && word != "-") continue;
  std::string type, device, more;
  words >> type >> device >> more;
  mount_point = unescaped(mount_point);
  // Later lines lie over earlier ones.
  if (type.empty() || !is_inside(path, mount_point) || mount_point.size() < best.mount_point.size()) return;
  best = {.type = type,
          .device = unescaped(device),
          .mount_point = mount_point,
          .mount_options = options + (more.empty() ? "" : "," + more)};
}

/// The two lists of mountinfo name some options twice.
std::string without_repetitions(const std::string& options) {
  std::istringstream words(options);
  std::vector<std::string> seen;
  std::string word, out;
  while (std::getline(words, word, ',')) {
    if (std::ranges::count(seen, word) > 0) continue;
    seen.push_back(word);
    out += (out.empty() ? "" : ",") + word;
  }
  return out;
}

std::string text_of(const char* file) {
  std::ifstream in(file);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

Result<void> add_changelog_size(Disk& disk, const std::string& path, BrickReport& report) {
  TRY(auto directory, disk.open(Disk::kNoDir, path, O_RDONLY | O_DIRECTORY).with("{}", path));
  TRY(auto entries, disk.list(directory.fd()).with("{}", path));
  for (const auto& entry : entries) {
    auto status = disk.stat(directory.fd(), entry.name);
    if (!status) continue;  // sealed or dropped just now
    report.changelog_bytes += static_cast<std::uint64_t>(status->st_size);
    if (entry.name.find(".log") != std::string::npos) ++report.changelog_segments;
  }
  return {};
}

Result<BrickReport> gather(Disk& disk, Brick& brick) {
  BrickReport report;
  TRY(report.space, brick.store().statfs());
  const auto& path = brick.config().path;
  report.file_system = file_system_of(path, text_of("/proc/self/mountinfo"));
  auto& journal = brick.journal();
  report.first_index = journal.first_index();
  report.appended_index = journal.appended_index();
  report.stable_index = journal.stable_index();
  report.applied_index = journal.applied_index();
  TRY(report.cursors, journal.cursors());
  TRY(add_changelog_size(disk, path + "/" + layout::kChangelog, report));
  return report;
}

}  // namespace

std::vector<RunningBrick> bricks_of(const VolumeUse& use) {
  std::vector<RunningBrick> running;
  for (const auto& spec : use->info.bricks)
    if (auto brick = use->stack->brick(spec.set))
      running.push_back({std::make_shared<const BrickSpec>(spec), std::move(brick)});
  return running;
}

FileSystemFacts file_system_of(const std::string& path, const std::string& mountinfo) {
  FileSystemFacts facts;
  std::istringstream lines(mountinfo);
  std::string line;
  while (std::getline(lines, line)) take_mount(line, path, facts);
  facts.mount_options = without_repetitions(facts.mount_options);
  if (facts.type == "xfs") facts.inode_size = xfs_inode_size(facts.mount_point);
  if (facts.type.starts_with("ext")) facts.inode_size = ext4_inode_size(facts.device);
  return facts;
}

Task<Result<BrickReport>> report_brick(Seams& seams, Brick& brick) {
  co_return co_await on_worker(seams.workers, [&] { return gather(seams.disk, brick); });
}

}  // namespace polder
