// SPDX-License-Identifier: GPL-3.0-or-later
// SimDisk against the kernel: the same random calls on both, with the same outcome demanded of each call
// (errno, results) and of the trees at the end. POLDER_FUZZ_SEED and POLDER_FUZZ_ROUNDS run more of them.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <linux/falloc.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "tests/support/sim_acl.h"
#include "tests/support/sim_disk.h"
#include "tests/support/sim_tree.h"

namespace polder {
namespace {

using std::string;

string code(const Error& error) {
  return fmt::format("errno {}", error.code());
}
string text(const Result<void>& result) {
  return result ? "ok" : code(result.error());
}
string text(const Result<string>& result) {
  return result ? "'" + *result + "'" : code(result.error());
}
string text(const Result<std::uint64_t>& result) {
  return result ? std::to_string(*result) : code(result.error());
}
string text(const Result<struct stat>& result) {
  if (!result) return code(result.error());
  bool is_directory = S_ISDIR(result->st_mode);
  return fmt::format("mode {:o} uid {} gid {} rdev {} links {} size {}", result->st_mode, result->st_uid,
                     result->st_gid, result->st_rdev, is_directory ? 0 : result->st_nlink,
                     is_directory ? 0 : result->st_size);
}
string text(const Result<std::vector<string>>& result) {
  if (!result) return code(result.error());
  auto names = *result;
  std::ranges::sort(names);
  return fmt::format("{}", fmt::join(names, ","));
}
string text(const Result<std::vector<DirEntry>>& result) {
  if (!result) return code(result.error());
  std::vector<string> names;
  for (const auto& entry : *result) names.push_back(fmt::format("{}:{}", entry.name, int{entry.type}));
  return text(Result<std::vector<string>>(names));
}

Result<string> read_at(Disk& disk, int fd, std::uint64_t offset, std::size_t size) {
  string out(size, '\0');
  TRY(auto count, disk.pread(fd, std::as_writable_bytes(std::span(out)), offset));
  return out.substr(0, count);
}

/// One random call after another, on two disks.
class Pair {
 public:
  Pair(Disk& kernel, Disk& sim, const string& root, std::uint64_t seed)
      : disks_{&kernel, &sim}, choice_(seed) {
    add_handles([&](Disk& disk, int) { return disk.open(Disk::kNoDir, root, O_RDONLY | O_DIRECTORY); });
  }

  void step();
  void compare_trees() { compare_directory(0, ""); }

 private:
  template <typename Call>
  void both(const string& what, Call call) {
    string results[2];
    for (int side : {0, 1}) results[side] = text(call(*disks_[side], side));
    ASSERT_EQ(results[0], results[1]) << "kernel and simulation differ in: " << what;
    if (std::getenv("POLDER_FUZZ_TRACE")) fmt::print("{} -> {}\n", what, results[0]);
  }
  template <typename Open>
  void add_handles(Open open, const string& what = "root") {
    Result<DiskFile> opened[2] = {open(*disks_[0], 0), open(*disks_[1], 1)};
    string codes[2];
    for (int side : {0, 1}) codes[side] = opened[side] ? "ok" : code(opened[side].error());
    ASSERT_EQ(codes[0], codes[1]) << "kernel and simulation differ in: " << what;
    if (std::getenv("POLDER_FUZZ_TRACE")) fmt::print("{} -> {}\n", what, codes[0]);
    if (!opened[0]) return;
    std::size_t slot = handles_[0].size() < 8 ? handles_[0].size() : 1 + below(7);
    for (int side : {0, 1}) {
      handles_[side].resize(std::max(handles_[side].size(), slot + 1));
      handles_[side][slot] = *std::move(opened[side]);
    }
  }

  std::uint64_t below(std::uint64_t bound) { return choice_.below(bound); }
  bool chance(int percent) { return below(100) < static_cast<std::uint64_t>(percent); }
  template <typename T>
  T pick(std::initializer_list<T> list) {
    return *(list.begin() + below(list.size()));
  }
  std::size_t handle() { return chance(40) ? 0 : below(handles_[0].size()); }
  int fd(int side, std::size_t handle) { return handles_[side][handle].fd(); }
  string letter() { return string(1, static_cast<char>('a' + below(6))); }
  /// Always relative and without "..": the calls are made on the real file system, by root.
  string name() {
    if (chance(2)) return pick<string>({".", "", string(255, 'n'), string(256, 'n'), string("nul\0x", 5)});
    return chance(25) ? letter() + "/" + letter() : letter();
  }
  string key() {
    return pick<string>({"user.a", "user.b", "trusted.a", "security.polder", SimAcl::kAccess, SimAcl::kAccess,
                         SimAcl::kDefault, "user.", "bogus.a"});
  }
  string value(const string& key);
  string acl();
  /// Not sticky: what fs.protected_symlinks and its like then forbid even root is up to the machine.
  mode_t mode() { return static_cast<mode_t>(below(010000)) & ~static_cast<mode_t>(S_ISVTX); }
  void name_call();
  void rename_call();
  void open_call();
  void byte_call();
  void attribute_call();
  void xattr_call();
  void compare_directory(std::size_t handle, const string& path);
  void compare_object(std::size_t handle, const string& name, const string& path);

  Disk* disks_[2];
  SimChoice choice_;
  std::vector<DiskFile> handles_[2];
};

string Pair::acl() {
  string out("\x02\0\0\0", 4);
  auto add = [&](int tag, std::uint32_t id) {
    out += static_cast<char>(tag);
    out += '\0';
    out += static_cast<char>(below(chance(2) ? 16 : 8));
    out += '\0';
    out.append(reinterpret_cast<const char*>(&id), 4);
  };
  bool named_user = chance(40), named_group = chance(40);
  if (!chance(3)) add(0x01, 0xffffffff);
  if (named_user) add(0x02, 1000);
  add(0x04, 0xffffffff);
  if (named_group) add(0x08, 1001);
  if (((named_user || named_group) && !chance(3)) || chance(10)) add(0x10, 0xffffffff);
  add(0x20, 0xffffffff);
  if (chance(2)) out.pop_back();
  return out;
}

string Pair::value(const string& key) {
  if (key.starts_with("system.")) return chance(5) ? string() : acl();
  return string(below(40), static_cast<char>(below(256)));
}

void Pair::name_call() {
  auto d = handle();
  auto n = name();
  auto m = mode();
  switch (below(6)) {
    case 0:
      return both(fmt::format("mkdir {} {} {:o}", d, n, m),
                  [&](Disk& disk, int s) { return disk.mkdir(fd(s, d), n, m); });
    case 1: {
      // A device that no driver has: opening it is ENXIO everywhere.
      auto type = pick<mode_t>({S_IFIFO, S_IFSOCK, S_IFCHR, S_IFREG, S_IFDIR, 0});
      return both(fmt::format("mknod {} {} {:o}", d, n, type | m),
                  [&](Disk& disk, int s) { return disk.mknod(fd(s, d), n, type | m, makedev(240, 7)); });
    }
    case 2: {
      auto target = pick<string>({"a", "b", "c/a", "../a", "../b", "absent", "d", ""});
      return both(fmt::format("symlink {} {} {}", target, d, n),
                  [&](Disk& disk, int s) { return disk.symlink(target, fd(s, d), n); });
    }
    case 3:
    case 4: {
      int flags = chance(40) ? AT_REMOVEDIR : 0;
      return both(fmt::format("unlink {} {} {}", d, n, flags),
                  [&](Disk& disk, int s) { return disk.unlink(fd(s, d), n, flags); });
    }
    default:
      return both(fmt::format("readlink {} {}", d, n),
                  [&](Disk& disk, int s) { return disk.readlink(fd(s, d), n); });
  }
}

void Pair::rename_call() {
  auto d = handle(), e = handle();
  auto n = name(), m = name();
  if (chance(70)) {
    auto flags =
        pick<unsigned>({0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_NOREPLACE | RENAME_EXCHANGE});
    return both(fmt::format("rename {} {} {} {} {}", d, n, e, m, flags),
                [&](Disk& disk, int s) { return disk.rename(fd(s, d), n, fd(s, e), m, flags); });
  }
  if (chance(60))
    return both(fmt::format("link {} {} {} {}", d, n, e, m),
                [&](Disk& disk, int s) { return disk.link(fd(s, d), n, fd(s, e), m); });
  both(fmt::format("link_file {} {} {}", d, e, m),
       [&](Disk& disk, int s) { return disk.link_file(fd(s, d), fd(s, e), m); });
}

void Pair::open_call() {
  auto d = handle();
  auto n = name();
  auto m = mode();
  int flags = O_NONBLOCK | pick({O_RDONLY, O_WRONLY, O_RDWR, O_RDWR, O_RDWR});
  if (chance(8)) {
    flags |= O_TMPFILE;
    n = pick<string>({".", "a", "b"});
  } else {
    if (chance(60)) flags |= O_CREAT;
    for (int flag : {O_EXCL, O_TRUNC, O_DIRECTORY, O_PATH, O_APPEND})
      if (chance(10) && (flag != O_EXCL || (flags & O_CREAT))) flags |= flag;
    if (chance(50)) flags |= O_NOFOLLOW;
    if (chance(20)) flags = O_RDONLY | O_DIRECTORY;
  }
  add_handles([&](Disk& disk, int s) { return disk.open(fd(s, d), n, flags, m); },
              fmt::format("open {} {} {:o} {:o} as {}", d, n, flags, m, handles_[0].size()));
}

void Pair::byte_call() {
  auto h = below(handles_[0].size());
  std::uint64_t offset = chance(5) ? 1ULL << 35 : below(40000);
  std::uint64_t length = chance(3) ? 0 : 1 + below(chance(50) ? 10000 : 100);
  switch (below(7)) {
    case 0:
    case 1: {
      string data(length, static_cast<char>('A' + below(26)));
      ConstBytes parts[2] = {as_bytes(data), as_bytes(data).first(length / 2)};
      return both(fmt::format("write {} {} {}", h, offset, length), [&](Disk& disk, int s) {
        return data[0] % 2 ? disk.pwrite(fd(s, h), parts[0], offset) : disk.pwritev(fd(s, h), parts, offset);
      });
    }
    case 2:
      return both(fmt::format("read {} {} {}", h, offset, length),
                  [&](Disk& disk, int s) { return read_at(disk, fd(s, h), offset, length); });
    case 3:
      return both(fmt::format("truncate {} {}", h, offset),
                  [&](Disk& disk, int s) { return disk.truncate(fd(s, h), offset); });
    case 4: {
      auto flags =
          pick({0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE,
                FALLOC_FL_ZERO_RANGE, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE});
      return both(fmt::format("fallocate {} {} {} {}", h, flags, offset, length),
                  [&](Disk& disk, int s) { return disk.fallocate(fd(s, h), flags, offset, length); });
    }
    case 5:
      return both(fmt::format("lock {}", h),
                  [&](Disk& disk, int s) { return disk.lock_exclusive(fd(s, h)); });
    default:
      return both(fmt::format("fstat {}", h), [&](Disk& disk, int s) { return disk.fstat(fd(s, h)); });
  }
}

void Pair::attribute_call() {
  auto d = handle();
  auto n = chance(30) ? "" : name();
  auto m = mode();
  timespec times[2] = {{0, UTIME_NOW}, {5, pick<long>({6, UTIME_OMIT, 2'000'000'000})}};
  switch (below(7)) {
    case 0:
      return both(fmt::format("chmod {} {:o}", d, m),
                  [&](Disk& disk, int s) { return disk.chmod(fd(s, d), m); });
    case 1:
      return both(fmt::format("chmod_at {} {} {:o}", d, n, m),
                  [&](Disk& disk, int s) { return disk.chmod_at(fd(s, d), n, m); });
    case 2: {
      auto uid = pick<uid_t>({0, 1000, static_cast<uid_t>(-1)});
      auto gid = pick<gid_t>({0, 1000, static_cast<gid_t>(-1)});
      return both(fmt::format("chown_at {} {} {} {}", d, n, uid, gid),
                  [&](Disk& disk, int s) { return disk.chown_at(fd(s, d), n, uid, gid); });
    }
    case 3:
      return both(fmt::format("set_times_at {} {}", d, n),
                  [&](Disk& disk, int s) { return disk.set_times_at(fd(s, d), n, times); });
    case 4:
      return both(fmt::format("set_times {}", d),
                  [&](Disk& disk, int s) { return disk.set_times(fd(s, d), times); });
    case 5:
      return both(fmt::format("stat {} {}", d, n), [&](Disk& disk, int s) { return disk.stat(fd(s, d), n); });
    default:
      return both(fmt::format("list {}", d), [&](Disk& disk, int s) { return disk.list(fd(s, d)); });
  }
}

void Pair::xattr_call() {
  auto d = handle();
  auto n = chance(30) ? "" : name();
  auto k = key();
  auto v = value(k);
  int flags = pick<int>({0, 0, XATTR_CREATE, XATTR_REPLACE});
  bool by_name = chance(60);
  auto what = fmt::format("xattr {} '{}' {}", d, by_name ? n : "(handle)", k);
  switch (below(4)) {
    case 0:
      return both(what + " get", [&](Disk& disk, int s) {
        return by_name ? disk.get_xattr_at(fd(s, d), n, k) : disk.get_xattr(fd(s, d), k);
      });
    case 1:
      return both(what + " remove", [&](Disk& disk, int s) {
        return by_name ? disk.remove_xattr_at(fd(s, d), n, k) : disk.remove_xattr(fd(s, d), k);
      });
    default:
      return both(fmt::format("{} set {} bytes, flags {}", what, v.size(), flags), [&](Disk& disk, int s) {
        return by_name ? disk.set_xattr_at(fd(s, d), n, k, v, flags) : disk.set_xattr(fd(s, d), k, v, flags);
      });
  }
}

void Pair::step() {
  switch (below(12)) {
    case 0:
    case 1:
    case 2:
      return name_call();
    case 3:
    case 4:
      return rename_call();
    case 5:
    case 6:
      return open_call();
    case 7:
    case 8:
      return byte_call();
    case 9:
      return attribute_call();
    default:
      return xattr_call();
  }
}

void Pair::compare_object(std::size_t handle, const string& name, const string& path) {
  both("at the end: stat " + path, [&](Disk& disk, int s) { return disk.stat(fd(s, handle), name); });
  both("at the end: xattrs of " + path, [&](Disk& disk, int s) -> Result<std::vector<string>> {
    TRY(auto keys, disk.list_xattr_at(fd(s, handle), name));
    for (auto& key : keys) {
      TRY(auto value, disk.get_xattr_at(fd(s, handle), name, key));
      key += "=" + value;
    }
    return keys;
  });
  mode_t type = disks_[0]->stat(fd(0, handle), name)->st_mode & S_IFMT;
  if (type == S_IFLNK)
    both("at the end: readlink " + path,
         [&](Disk& disk, int s) { return disk.readlink(fd(s, handle), name); });
  if (type == S_IFREG)
    both("at the end: content of " + path, [&](Disk& disk, int s) -> Result<string> {
      TRY(auto file, disk.open(fd(s, handle), name, O_RDONLY | O_NOFOLLOW));
      return read_at(disk, file.fd(), 0, 64 * 1024);
    });
  if (type != S_IFDIR) return;
  for (int side : {0, 1})
    handles_[side].push_back(
        disks_[side]->open(fd(side, handle), name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW).value());
  compare_directory(handles_[0].size() - 1, path);
  for (int side : {0, 1}) handles_[side].pop_back();
}

void Pair::compare_directory(std::size_t handle, const string& path) {
  both("at the end: list " + path, [&](Disk& disk, int s) { return disk.list(fd(s, handle)); });
  if (testing::Test::HasFatalFailure()) return;
  auto entries = disks_[0]->list(fd(0, handle)).value();
  for (const auto& entry : entries) compare_object(handle, entry.name, path + "/" + entry.name);
}

std::uint64_t number(const char* variable, std::uint64_t otherwise) {
  const char* text = std::getenv(variable);
  return text ? std::strtoull(text, nullptr, 10) : otherwise;
}

class SimDiskDifferential : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root: owners, devices and trusted attributes are compared";
    umask_ = ::umask(0);
    string pattern = "/var/tmp/polder-sim-disk.XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    base_ = pattern;
  }
  void TearDown() override {
    if (base_.empty()) return;
    ::umask(umask_);
    std::filesystem::remove_all(base_);
  }
  void make_base(SimDisk& sim) const {
    for (const string& path : {string("/var"), string("/var/tmp"), base_})
      ASSERT_TRUE(sim.mkdir(Disk::kNoDir, path, 0755));
  }
  bool supported() {
    auto dir = kernel_->open(Disk::kNoDir, base_, O_RDONLY | O_DIRECTORY).value();
    string acl(
        "\x02\0\0\0\x01\0\x07\0\xff\xff\xff\xff\x04\0\x07\0\xff\xff\xff\xff\x20\0\x05\0\xff\xff\xff\xff", 28);
    return kernel_->set_xattr(dir.fd(), "user.probe", "1") &&
           kernel_->set_xattr(dir.fd(), "trusted.probe", "1") &&
           kernel_->set_xattr(dir.fd(), SimAcl::kAccess, acl);
  }

  std::unique_ptr<Disk> kernel_ = make_kernel_disk();
  string base_;
  mode_t umask_ = 0;
};

TEST_F(SimDiskDifferential, RandomCallsDoTheSame) {
  if (!supported()) GTEST_SKIP() << "the file system of /var/tmp lacks user or trusted xattrs or POSIX ACLs";
  std::uint64_t seed = number("POLDER_FUZZ_SEED", 1);
  for (std::uint64_t end = seed + number("POLDER_FUZZ_ROUNDS", 12); seed < end; ++seed) {
    SCOPED_TRACE(fmt::format("POLDER_FUZZ_SEED={} POLDER_FUZZ_ROUNDS=1", seed));
    SimDisk sim;
    make_base(sim);
    // Two levels deep: a link to ../a stays inside.
    string root = fmt::format("{}/{}", base_, seed);
    for (const string& path : {root, root + "/root"})
      for (Disk* disk : {kernel_.get(), static_cast<Disk*>(&sim)})
        ASSERT_TRUE(disk->mkdir(Disk::kNoDir, path, 0755));
    root += "/root";
    Pair pair(*kernel_, sim, root, seed);
    for (int i = 0; i < 1500 && !HasFatalFailure(); ++i) pair.step();
    if (!HasFatalFailure()) pair.compare_trees();
    if (HasFatalFailure()) return;
  }
}

TEST_F(SimDiskDifferential, HolesAreWhereTheKernelHasThem) {
  SimDisk sim;
  Disk* disks[2] = {kernel_.get(), &sim};
  auto dir = kernel_->open(Disk::kNoDir, base_, O_RDONLY).value();
  if (kernel_->statfs(dir.fd())->f_bsize != 4096)
    GTEST_SKIP() << "blocks of the file system of /var/tmp are not 4 KiB";
  make_base(sim);
  SimChoice choice(7);
  for (int round = 0; round < 20; ++round) {
    DiskFile files[2];
    for (int side : {0, 1})
      files[side] = disks[side]
                        ->open(Disk::kNoDir, fmt::format("{}/f{}", base_, round), O_RDWR | O_CREAT, 0600)
                        .value();
    for (int step = 0; step < 60; ++step) {
      auto offset = choice.below(300'000), length = 1 + choice.below(40'000), what = choice.below(8);
      string data(length, 'x');
      string results[2];
      for (int side : {0, 1}) {
        Disk& disk = *disks[side];
        int fd = files[side].fd();
        int punch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
        results[side] = what < 2    ? text(disk.pwrite(fd, as_bytes(data), offset))
                        : what == 2 ? text(disk.truncate(fd, offset))
                        : what < 5  ? text(disk.fallocate(fd, punch, offset, length))
                                    : text(disk.seek(fd, offset, what < 7 ? SEEK_DATA : SEEK_HOLE));
      }
      ASSERT_EQ(results[0], results[1])
          << "round " << round << " step " << step << " what " << what << " at " << offset << "+" << length;
    }
  }
}

}  // namespace
}  // namespace polder
