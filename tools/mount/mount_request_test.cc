// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/mount/mount_request.h"

#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>

namespace polder {
namespace {

class MountRequestTest : public testing::Test {
 protected:
  MountRequestTest() {
    std::string name = testing::TempDir() + "mount-request-XXXXXX";
    run_root = mkdtemp(name.data());
  }
  ~MountRequestTest() override { std::filesystem::remove_all(run_root); }

  void daemon(const std::string& cluster) {
    std::filesystem::create_directory(run_root + "/" + cluster);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string path = run_root + "/" + cluster + "/data.sock";
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    close(fd);
  }
  Result<MountRequest> parse(std::string_view source, std::string_view options = "", bool sloppy = false) {
    return parse_mount_request(source, run_root, options, sloppy, run_root);
  }
  std::string why(std::string_view source, std::string_view options = "") {
    auto request = parse(source, options);
    return request ? "no error" : request.error().message();
  }
  std::string run_root;
};

TEST_F(MountRequestTest, hosts_ports_volume_and_subdirectory) {
  auto request =
      parse("east1:4000,[fd00::1],east3:/data/projects/x", "backup-volfile-servers=b1:[fd00::2]:b3");
  ASSERT_TRUE(request) << request.error().message();
  EXPECT_EQ(request->volume, "data");
  EXPECT_EQ(request->subdir, "projects/x");
  EXPECT_EQ(request->source, "east1:4000:/data/projects/x");
  ASSERT_EQ(request->endpoints.size(), 6U);
  EXPECT_EQ(request->endpoints[0], (Endpoint{Endpoint::Kind::kTls, "east1", 4000}));
  EXPECT_EQ(request->endpoints[1], (Endpoint{Endpoint::Kind::kTls, "fd00::1", Endpoint::kDefaultPort}));
  EXPECT_EQ(request->endpoints[4].host, "fd00::2");
  EXPECT_TRUE(request->hard);
  EXPECT_TRUE(request->needs_certificate());
}

TEST_F(MountRequestTest, options_of_the_kernel_of_fstab_and_our_own) {
  auto request = parse(
      "h:/v",
      "defaults,_netdev,x-systemd.requires=a,noatime,ro,nodev,dev,soft,timeout=5,"
      "log-level=WARNING,log-file=/l,client-dir=/c,busy-poll=0,leases=off,subdir=a/b,foreground,nofail");
  ASSERT_TRUE(request) << request.error().message();
  EXPECT_EQ(request->mount_flags, static_cast<unsigned long>(MS_NOATIME | MS_RDONLY));
  EXPECT_FALSE(request->hard);
  EXPECT_EQ(request->soft_timeout, std::chrono::seconds(5));
  EXPECT_EQ(request->log_level, log::Level::kWarning);
  EXPECT_EQ(request->log_file, "/l");
  EXPECT_EQ(request->client_dir, "/c");
  EXPECT_EQ(request->subdir, "a/b");
  EXPECT_EQ(request->busy_poll.count(), 0);
  EXPECT_FALSE(request->leases);
  EXPECT_TRUE(request->foreground);
}

TEST_F(MountRequestTest, a_socket_of_this_machine) {
  EXPECT_EQ(parse("localhost:/v")->endpoints[0].kind, Endpoint::Kind::kTls) << "no daemon here";
  daemon("east");
  const Endpoint east = Endpoint::unix_socket(run_root + "/east/data.sock");
  EXPECT_EQ(parse("localhost:/v")->endpoints, std::vector{east});
  EXPECT_FALSE(parse("127.0.0.1:/v")->needs_certificate());
  EXPECT_EQ(parse("[::1]:/v")->endpoints, std::vector{east});
  EXPECT_EQ(parse("localhost:24117:/v")->endpoints[0].kind, Endpoint::Kind::kTls) << "a port is meant";
  EXPECT_EQ(parse("other:/v")->endpoints[0].kind, Endpoint::Kind::kTls);
  daemon("west");
  EXPECT_EQ(why("localhost:/v"),
            "several clusters run on this machine (east, west); say -o cluster=NAME: Invalid argument");
  EXPECT_EQ(parse("localhost:/v", "cluster=east")->endpoints, std::vector{east});
  EXPECT_EQ(parse("other:/v", "socket=/s")->endpoints, std::vector{Endpoint::unix_socket("/s")});
  EXPECT_NE(why("other:/v", "cluster=east").find("is another host"), std::string::npos);
}

TEST_F(MountRequestTest, backup_servers) {
  auto hosts = [&](std::string_view source, std::string_view options) {
    auto request = parse(source, options);
    if (!request) return request.error().message();
    std::string all;
    for (const auto& endpoint : request->endpoints) all += (all.empty() ? "" : " ") + endpoint.text();
    return all;
  };
  EXPECT_EQ(hosts("a:/v", "backup-volfile-servers=b:c"), "a:24117 b:24117 c:24117");
  EXPECT_EQ(hosts("a:/v", "backup-volfile-servers=b:4000:[fd00::1]:4001:c"),
            "a:24117 b:4000 [fd00::1]:4001 c:24117");
  EXPECT_EQ(hosts("a:/v", "backupvolfile-server=b,backupvolfile-server=c:7"), "a:24117 b:24117 c:7");
  EXPECT_EQ(hosts("a:/v", "backup-volfile-servers=b:a:b"), "a:24117 b:24117") << "each once";
  for (const char* bad : {":b", "b:", "b::c", "7:b", "b:7:8", "b:99999", "b/c", "[fd00"}) {
    EXPECT_NE(hosts("a:/v", std::string("backup-volfile-servers=") + bad).find("Invalid argument"),
              std::string::npos)
        << bad;
  }
  EXPECT_NE(hosts("a:/v", "backupvolfile-server=b:c").find("takes one host"), std::string::npos);
  daemon("east");
  const auto east = "unix:" + run_root + "/east/data.sock";
  EXPECT_EQ(hosts("localhost:/v", "backup-volfile-servers=b"), east + " b:24117") << "for when it is down";
  EXPECT_EQ(hosts("localhost,a:/v", "backup-volfile-servers=b"), east + " a:24117 b:24117");
  EXPECT_EQ(hosts("localhost,a:/v", "cluster=east,backup-volfile-servers=b"), east + " b:24117");
}

TEST_F(MountRequestTest, mistakes_are_named) {
  for (const char* source : {"", "host", "host:", ":/v", "host:/", "host:v", ",:/v"})
    EXPECT_NE(why(source).find("HOST:/VOLUME"), std::string::npos) << source << ": " << why(source);
  EXPECT_NE(why("h:/v", "noatme").find("unknown option 'noatme'"), std::string::npos);
  EXPECT_NE(why("h:/v", "nope=1").find("unknown option 'nope'"), std::string::npos);
  EXPECT_TRUE(parse("h:/v", "noatme,nope=1", true)) << "mount -s";
  EXPECT_NE(why("h:/v", "timeout=5").find("soft"), std::string::npos);
  EXPECT_NE(why("h:/v", "leases=maybe").find("say on or off"), std::string::npos);
  for (const char* bad : {"0", "-1", "5s", "99999999999"})
    EXPECT_NE(why("h:/v", std::string("soft,timeout=") + bad).find("seconds"), std::string::npos) << bad;
  EXPECT_NE(why("h:/v", "log-level=loud").find("debug, info"), std::string::npos);
  EXPECT_NE(why("h:/v", "cluster=../x").find("not a cluster's name"), std::string::npos);
  EXPECT_NE(why("h:/v", "socket=").find("no value"), std::string::npos);
  EXPECT_NE(why("h:99999:/v"), "no error");
  EXPECT_EQ(parse_mount_request("h:/v", "/nowhere", "", false).error().code(), ENOENT);
  EXPECT_EQ(parse_mount_request("h:/v", "/etc/passwd", "", false).error().code(), ENOTDIR);
}

}  // namespace
}  // namespace polder
