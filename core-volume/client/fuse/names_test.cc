// SPDX-License-Identifier: GPL-3.0-or-later
// System calls on names, directories and attributes through a mount.
#include <dirent.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <thread>

#include "core-volume/client/fuse/test_volume.h"

namespace polder {
namespace {

TEST(FuseNames, make_find_and_remove_every_type) {
  TestVolume volume;
  umask(0);
  ASSERT_EQ(errno_of(mkdir(volume.path("d").c_str(), 0750)), 0);
  write_file(volume.path("d/file"), "hello");
  ASSERT_EQ(errno_of(symlink("../some/where", volume.path("d/link").c_str())), 0);
  ASSERT_EQ(errno_of(mkfifo(volume.path("d/fifo").c_str(), 0604)), 0);
  ASSERT_EQ(errno_of(mknod(volume.path("d/socket").c_str(), S_IFSOCK | 0777, 0)), 0);
  const dev_t device = makedev(4095, 1048575);
  ASSERT_EQ(errno_of(mknod(volume.path("d/char").c_str(), S_IFCHR | 0600, device)), 0);
  ASSERT_EQ(errno_of(mknod(volume.path("d/block").c_str(), S_IFBLK | 0600, makedev(8, 1))), 0);

  EXPECT_EQ(stat_of(volume.path("d")).st_mode, S_IFDIR | 0750U);
  EXPECT_EQ(stat_of(volume.path("d/file")).st_size, 5);
  EXPECT_EQ(stat_of(volume.path("d/fifo")).st_mode, S_IFIFO | 0604U);
  EXPECT_EQ(stat_of(volume.path("d/socket")).st_mode, S_IFSOCK | 0777U);
  EXPECT_EQ(stat_of(volume.path("d/char")).st_rdev, device);
  EXPECT_EQ(stat_of(volume.path("d/block")).st_mode, S_IFBLK | 0600U);
  char target[64];
  ASSERT_EQ(readlink(volume.path("d/link").c_str(), target, sizeof target), 13);
  EXPECT_EQ(std::string(target, 13), "../some/where");
  EXPECT_EQ(stat_of(volume.path("")).st_ino, 1U);

  EXPECT_EQ(errno_of(rmdir(volume.path("d").c_str())), ENOTEMPTY);
  EXPECT_EQ(errno_of(unlink(volume.path("d").c_str())), EISDIR);
  EXPECT_EQ(errno_of(mkdir(volume.path("d/file/x").c_str(), 0700)), ENOTDIR);
  EXPECT_EQ(errno_of(mkdir(volume.path("d/file").c_str(), 0700)), EEXIST);
  for (const char* name : {"d/file", "d/link", "d/fifo", "d/socket", "d/char", "d/block"})
    EXPECT_EQ(errno_of(unlink(volume.path(name).c_str())), 0) << name;
  EXPECT_EQ(errno_of(unlink(volume.path("d/file").c_str())), ENOENT);
  EXPECT_EQ(errno_of(rmdir(volume.path("d").c_str())), 0);
}

TEST(FuseNames, names_are_any_255_bytes) {
  TestVolume volume;
  const std::string longest(255, 'n');
  const std::string not_utf8 = "\xff\xfe\n\t\x01name";
  write_file(volume.path(longest), "1");
  write_file(volume.path(not_utf8), "2");
  EXPECT_EQ(read_file(volume.path(longest)), "1");
  EXPECT_EQ(read_file(volume.path(not_utf8)), "2");
  EXPECT_EQ(errno_of(open(volume.path(longest + "x").c_str(), O_CREAT | O_WRONLY, 0600)), ENAMETOOLONG);
}

TEST(FuseNames, rename_with_all_its_flags) {
  TestVolume volume;
  auto rename = [&](const char* from, const char* to, unsigned flags) {
    return errno_of(renameat2(AT_FDCWD, volume.path(from).c_str(), AT_FDCWD, volume.path(to).c_str(), flags));
  };
  mkdir(volume.path("d").c_str(), 0755);
  mkdir(volume.path("d/below").c_str(), 0755);
  write_file(volume.path("a"), "a");
  write_file(volume.path("b"), "b");
  EXPECT_EQ(rename("a", "b", RENAME_NOREPLACE), EEXIST);
  EXPECT_EQ(rename("a", "b", RENAME_EXCHANGE), 0);
  EXPECT_EQ(read_file(volume.path("a")), "b");
  EXPECT_EQ(rename("a", "d/below/a", 0), 0);
  EXPECT_EQ(rename("b", "d/below/a", 0), 0);
  EXPECT_EQ(read_file(volume.path("d/below/a")), "a");
  EXPECT_EQ(errno_of(access(volume.path("b").c_str(), F_OK)), ENOENT);
  EXPECT_EQ(rename("d", "d/below/d", 0), EINVAL);
  EXPECT_EQ(rename("d/below", "moved", 0), 0);
  EXPECT_EQ(stat_of(volume.path("moved/..")).st_ino, 1U);
}

TEST(FuseNames, hard_links_are_one_object) {
  TestVolume volume;
  write_file(volume.path("one"), "x");
  mkdir(volume.path("d").c_str(), 0755);
  ASSERT_EQ(errno_of(link(volume.path("one").c_str(), volume.path("d/two").c_str())), 0);
  EXPECT_EQ(stat_of(volume.path("one")).st_nlink, 2U);
  EXPECT_EQ(stat_of(volume.path("one")).st_ino, stat_of(volume.path("d/two")).st_ino);
  write_file(volume.path("d/two"), "longer");
  EXPECT_EQ(read_file(volume.path("one")), "longer");
  EXPECT_EQ(errno_of(link(volume.path("d").c_str(), volume.path("e").c_str())), EPERM);
  EXPECT_EQ(errno_of(unlink(volume.path("one").c_str())), 0);
  EXPECT_EQ(stat_of(volume.path("d/two")).st_nlink, 1U);
}

TEST(FuseNames, owner_mode_times_and_size_are_set) {
  TestVolume volume;
  const std::string file = volume.path("f");
  write_file(file, "0123456789");
  EXPECT_EQ(errno_of(chmod(file.c_str(), 07777)), 0);
  EXPECT_EQ(stat_of(file).st_mode, S_IFREG | 07777U);
  EXPECT_EQ(errno_of(chmod(file.c_str(), 0000)), 0);
  EXPECT_EQ(stat_of(file).st_mode, S_IFREG | 0U);
  EXPECT_EQ(errno_of(chown(file.c_str(), 1234, 4321)), 0);
  EXPECT_EQ(stat_of(file).st_uid, 1234U);
  EXPECT_EQ(stat_of(file).st_gid, 4321U);
  const timespec times[2] = {{1, 123456789}, {4000000000, 987654321}};
  EXPECT_EQ(errno_of(utimensat(AT_FDCWD, file.c_str(), times, 0)), 0);
  EXPECT_EQ(stat_of(file).st_atim.tv_nsec, 123456789);
  EXPECT_EQ(stat_of(file).st_mtim.tv_sec, 4000000000);
  EXPECT_EQ(stat_of(file).st_mtim.tv_nsec, 987654321);
  const timespec now_and_omit[2] = {{0, UTIME_OMIT}, {0, UTIME_NOW}};
  EXPECT_EQ(errno_of(utimensat(AT_FDCWD, file.c_str(), now_and_omit, 0)), 0);
  EXPECT_EQ(stat_of(file).st_atim.tv_sec, 1);
  EXPECT_GT(stat_of(file).st_mtim.tv_sec, 1'700'000'000);
  EXPECT_LT(stat_of(file).st_mtim.tv_sec, 4'000'000'000);
  EXPECT_EQ(errno_of(truncate(file.c_str(), 3)), 0);
  EXPECT_EQ(errno_of(truncate(file.c_str(), 6)), 0);
  EXPECT_EQ(read_file(file), std::string("012\0\0\0", 6));
  EXPECT_EQ(errno_of(truncate(volume.path("").c_str(), 3)), EISDIR);
}

TEST(FuseNames, umask_and_setgid_directories_apply) {
  TestVolume volume;
  mkdir(volume.path("team").c_str(), 0777);
  chown(volume.path("team").c_str(), 0, 77);
  chmod(volume.path("team").c_str(), 02777);
  const mode_t before = umask(027);
  write_file(volume.path("team/file"), "");
  mkdir(volume.path("team/d").c_str(), 0777);
  umask(before);
  EXPECT_EQ(stat_of(volume.path("team/file")).st_mode & 07777, 0640U);
  EXPECT_EQ(stat_of(volume.path("team/file")).st_gid, 77U);
  EXPECT_EQ(stat_of(volume.path("team/d")).st_mode & 07777, 02750U);
}

/// An ACL's value as setxattr(2) takes it: version 2, then (tag, permissions, id).
std::string acl(std::initializer_list<std::tuple<std::uint16_t, std::uint16_t, std::uint32_t>> entries) {
  std::string value("\2\0\0\0", 4);
  for (auto [tag, permissions, id] : entries) {
    value.append(reinterpret_cast<const char*>(&tag), 2);
    value.append(reinterpret_cast<const char*>(&permissions), 2);
    value.append(reinterpret_cast<const char*>(&id), 4);
  }
  return value;
}
constexpr std::uint32_t kNobodyInParticular = 0xffffffff;

TEST(FuseNames, access_and_default_acls_rule) {
  TestVolume volume;
  const std::string secret = volume.path("secret");
  write_file(secret, "for 1001 only");
  chmod(secret.c_str(), 0600);
  const std::string access_acl = acl({{1, 6, kNobodyInParticular},
                                      {2, 4, 1001},
                                      {4, 0, kNobodyInParticular},
                                      {16, 4, kNobodyInParticular},
                                      {32, 0, kNobodyInParticular}});
  ASSERT_EQ(
      errno_of(setxattr(secret.c_str(), "system.posix_acl_access", access_acl.data(), access_acl.size(), 0)),
      0);
  EXPECT_EQ(stat_of(secret).st_mode & 0777, 0640U) << "the mask is the group's permission bits";
  auto reads = [&] { return open(secret.c_str(), O_RDONLY) >= 0 ? 0 : errno; };
  chmod(volume.path("").c_str(), 0755);
  EXPECT_EQ(in_child(reads, 1001), 0);
  EXPECT_EQ(in_child(reads, 1002), EACCES);

  mkdir(volume.path("d").c_str(), 0755);
  const std::string default_acl = acl({{1, 7, kNobodyInParticular},
                                       {2, 7, 1001},
                                       {4, 5, kNobodyInParticular},
                                       {16, 7, kNobodyInParticular},
                                       {32, 0, kNobodyInParticular}});
  ASSERT_EQ(errno_of(setxattr(volume.path("d").c_str(), "system.posix_acl_default", default_acl.data(),
                              default_acl.size(), 0)),
            0);
  const mode_t before = umask(077);
  write_file(volume.path("d/inherits"), "");
  umask(before);
  EXPECT_EQ(stat_of(volume.path("d/inherits")).st_mode & 0777, 0640U)
      << "a default ACL replaces the umask, which would leave 0600 of the 0644 asked for";
  EXPECT_GT(getxattr(volume.path("d/inherits").c_str(), "system.posix_acl_access", nullptr, 0), 0);
}

TEST(FuseNames, xattrs_by_the_size_protocol) {
  TestVolume volume;
  const std::string file = volume.path("f");
  write_file(file, "");
  const std::string value = pattern(4000);
  EXPECT_EQ(errno_of(setxattr(file.c_str(), "user.one", "1", 1, XATTR_REPLACE)), ENODATA);
  EXPECT_EQ(errno_of(setxattr(file.c_str(), "user.one", value.data(), value.size(), XATTR_CREATE)), 0);
  EXPECT_EQ(errno_of(setxattr(file.c_str(), "user.one", "1", 1, XATTR_CREATE)), EEXIST);
  EXPECT_EQ(errno_of(setxattr(file.c_str(), "user.empty", "", 0, 0)), 0);
  EXPECT_EQ(errno_of(setxattr(file.c_str(), "trusted.two", "2", 1, 0)), 0);
  char got[5000];
  EXPECT_EQ(getxattr(file.c_str(), "user.one", nullptr, 0), 4000);
  EXPECT_EQ(errno_of(getxattr(file.c_str(), "user.one", got, 3999)), ERANGE);
  ASSERT_EQ(getxattr(file.c_str(), "user.one", got, sizeof got), 4000);
  EXPECT_EQ(std::string(got, 4000), value);
  EXPECT_EQ(getxattr(file.c_str(), "user.empty", got, sizeof got), 0);
  EXPECT_EQ(errno_of(getxattr(file.c_str(), "user.none", got, sizeof got)), ENODATA);
  EXPECT_EQ(errno_of(getxattr(file.c_str(), "security.capability", got, sizeof got)), ENODATA);

  const ssize_t size = listxattr(file.c_str(), nullptr, 0);
  ASSERT_EQ(size, static_cast<ssize_t>(sizeof "user.one" + sizeof "user.empty" + sizeof "trusted.two"));
  EXPECT_EQ(errno_of(listxattr(file.c_str(), got, 4)), ERANGE);
  EXPECT_EQ(listxattr(file.c_str(), got, sizeof got), size);
  chmod(volume.path("").c_str(), 0755);
  EXPECT_EQ(in_child([&] { return static_cast<int>(listxattr(file.c_str(), nullptr, 0)); }, 1001),
            static_cast<int>(sizeof "user.one" + sizeof "user.empty"))
      << "trusted.* is root's";
  EXPECT_EQ(errno_of(removexattr(file.c_str(), "user.one")), 0);
  EXPECT_EQ(errno_of(removexattr(file.c_str(), "user.one")), ENODATA);
}

TEST(FuseNames, a_label_that_is_not_there_is_not_supported) {
  TestVolume volume;
  const std::string file = volume.path("f");
  write_file(file, "x");
  char got[8];
  const auto label = [&] { return getxattr(file.c_str(), "security.selinux", got, sizeof got); };
  EXPECT_EQ(errno_of(label()), EOPNOTSUPP);
  ASSERT_EQ(errno_of(setxattr(file.c_str(), "security.selinux", "label", 5, 0)), 0);
  ASSERT_EQ(label(), 5);
  EXPECT_EQ(std::string(got, 5), "label");
  EXPECT_EQ(errno_of(removexattr(file.c_str(), "security.selinux")), 0);
  EXPECT_EQ(errno_of(label()), EOPNOTSUPP);
}

TEST(FuseNames, capabilities_are_remembered_as_absent_only_until_they_are_set) {
  TestVolume volume;
  const std::string file = volume.path("f");
  write_file(file, "x");
  char got[64];
  EXPECT_EQ(errno_of(getxattr(file.c_str(), "security.capability", got, sizeof got)), ENODATA);
  const std::string capability("\1\0\0\2\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
                               20);  // version 2, cap_net_bind_service
  ASSERT_EQ(errno_of(setxattr(file.c_str(), "security.capability", capability.data(), 20, 0)), 0);
  EXPECT_EQ(getxattr(file.c_str(), "security.capability", got, sizeof got), 20);
  write_file(file, "y", O_APPEND);
}

using Names = std::map<std::string, int>;

Names names_in(const std::string& directory) {
  Names names;
  DIR* stream = opendir(directory.c_str());
  EXPECT_NE(stream, nullptr);
  while (const dirent* entry = readdir(stream)) ++names[entry->d_name];
  closedir(stream);
  return names;
}

TEST(FuseNames, a_listing_has_each_name_once_with_type_and_inode) {
  TestVolume volume;
  mkdir(volume.path("d").c_str(), 0755);
  mkdir(volume.path("d/sub").c_str(), 0755);
  write_file(volume.path("d/file"), "");
  DIR* stream = opendir(volume.path("d/sub/..").c_str());
  ASSERT_NE(stream, nullptr);
  std::map<std::string, std::pair<int, ino_t>> seen;
  while (const dirent* entry = readdir(stream)) seen[entry->d_name] = {entry->d_type, entry->d_ino};
  closedir(stream);
  ASSERT_EQ(seen.size(), 4U);
  EXPECT_EQ(seen["."], std::make_pair(int{DT_DIR}, stat_of(volume.path("d")).st_ino));
  EXPECT_EQ(seen[".."], std::make_pair(int{DT_DIR}, ino_t{1}));
  EXPECT_EQ(seen["sub"], std::make_pair(int{DT_DIR}, stat_of(volume.path("d/sub")).st_ino));
  EXPECT_EQ(seen["file"], std::make_pair(int{DT_REG}, stat_of(volume.path("d/file")).st_ino));
}

TEST(FuseNames, ten_thousand_entries_listed_while_others_come_and_go) {
  TestVolume volume;
  const std::string directory = volume.path("big");
  mkdir(directory.c_str(), 0755);
  const int handle = open(directory.c_str(), O_RDONLY | O_DIRECTORY);
  constexpr int kStay = 10'000;
  for (int i = 0; i < kStay; ++i)
    ASSERT_EQ(errno_of(mknodat(handle, ("stay" + std::to_string(i)).c_str(), S_IFREG | 0644, 0)), 0);
  std::atomic<bool> stop = false;
  std::thread changes([&] {
    for (int i = 0; !stop; ++i) {
      const std::string name = "moving" + std::to_string(i % 500);
      mknodat(handle, name.c_str(), S_IFREG | 0644, 0);
      renameat(handle, name.c_str(), handle, (name + "x").c_str());
      unlinkat(handle, (name + "x").c_str(), 0);
    }
  });
  for (int round = 0; round < 3; ++round) {
    int stayed = 0;
    for (const auto& [name, times] : names_in(directory)) {
      if (!name.starts_with("stay")) continue;
      ++stayed;
      EXPECT_EQ(times, 1) << name;
    }
    EXPECT_EQ(stayed, kStay);
  }
  stop = true;
  changes.join();
  close(handle);
}

TEST(FuseNames, seekdir_returns_to_the_same_entry) {
  TestVolume volume;
  for (int i = 0; i < 300; ++i) write_file(volume.path("f" + std::to_string(i)), "");
  DIR* stream = opendir(volume.path("").c_str());
  std::vector<std::pair<long, std::string>> entries;
  for (long at = telldir(stream); const dirent* entry = readdir(stream); at = telldir(stream))
    entries.emplace_back(at, entry->d_name);
  ASSERT_EQ(entries.size(), 302U);
  for (std::size_t i = 0; i < entries.size(); i += 37) {
    seekdir(stream, entries[i].first);
    EXPECT_EQ(readdir(stream)->d_name, entries[i].second);
  }
  closedir(stream);
}

TEST(FuseNames, statfs_and_a_read_only_mount) {
  TestVolume volume;
  struct statvfs st{};
  ASSERT_EQ(errno_of(statvfs(volume.path("").c_str(), &st)), 0);
  EXPECT_EQ(st.f_namemax, 255U);
  EXPECT_GT(st.f_blocks, 0U);
  TestVolume read_only({.mount_flags = MS_RDONLY});
  EXPECT_EQ(errno_of(mkdir(read_only.path("d").c_str(), 0755)), EROFS);
}

TEST(FuseNames, the_kernel_takes_every_lookup_back) {
  TestVolume volume;
  for (int i = 0; i < 200; ++i) write_file(volume.path("f" + std::to_string(i)), "x");
  mkdir(volume.path("d").c_str(), 0755);
  EXPECT_EQ(names_in(volume.path("")).size(), 203U);
  for (int i = 0; i < 200; ++i) stat_of(volume.path("f" + std::to_string(i)));
  EXPECT_GE(volume.stats().objects, 201U);
  for (int i = 0; i < 200; ++i) unlink(volume.path("f" + std::to_string(i)).c_str());
  rmdir(volume.path("d").c_str());
  EXPECT_TRUE(eventually([&] { return volume.stats().lookups == 0; })) << volume.stats().lookups;
  EXPECT_EQ(volume.stats().objects, 0U);
  EXPECT_EQ(volume.stats().open_files, 0U);
}

TEST(FuseNames, when_the_kernel_lets_go_of_a_large_tree_memory_is_given_back) {
  std::atomic<int> told = 0;
  TestVolume volume({.forgotten = [&] { ++told; }});
  const auto file = [&](int i) { return volume.path("f" + std::to_string(i)); };
  for (int i = 0; i < 4'200; ++i) ASSERT_EQ(errno_of(mknod(file(i).c_str(), S_IFREG | 0644, 0)), 0);
  for (int i = 0; i < 2000; ++i) unlink(file(i).c_str());
  EXPECT_EQ(told, 0) << "half of it is still known";
  for (int i = 2000; i < 4'200; ++i) unlink(file(i).c_str());
  EXPECT_TRUE(eventually([&] { return told == 1 && volume.stats().objects == 0; })) << told;
  write_file(file(1), "still works");
  EXPECT_EQ(read_file(file(1)), "still works");
}

}  // namespace
}  // namespace polder
