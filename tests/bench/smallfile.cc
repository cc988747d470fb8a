// SPDX-License-Identifier: GPL-3.0-or-later
// smallfile DIR PHASE [THREADS [DIRECTORIES [FILES [BYTES]]]]: one phase of a small-file workload, done as
// often as there are files, on any mounted file system. Prints operations and seconds. `peers` runs it on
// several side by side. Directories are shared out between the threads: two threads never work in one.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

namespace {

struct Workload {
  std::string top;
  int threads = 4, directories = 100, files = 100;
  std::vector<char> content;
};

[[noreturn]] void fail(const std::string& what) {
  std::perror(what.c_str());
  std::_Exit(1);
}

// Nothing that compression or a search for zeros would make smaller.
std::vector<char> content_of(std::size_t bytes) {
  std::vector<char> content(bytes);
  std::uint32_t state = 2463534242;
  for (auto& byte : content) {
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    byte = static_cast<char>(state);
  }
  return content;
}

void create(const Workload& load, const std::string& path) {
  const int fd = ::open(path.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
  if (fd < 0) fail("create " + path);
  const auto size = static_cast<ssize_t>(load.content.size());
  if (::write(fd, load.content.data(), load.content.size()) != size || ::close(fd) != 0)
    fail("write " + path);
}

void make_directory(const Workload&, const std::string& path) {
  if (::mkdir(path.c_str(), 0755) != 0) fail("mkdir " + path);
}

void look(const Workload& load, const std::string& path) {
  struct stat status{};
  const auto size = static_cast<off_t>(load.content.size());
  if (::lstat(path.c_str(), &status) != 0 || status.st_size != size) fail("stat " + path);
}

void read(const Workload& load, const std::string& path) {
  std::vector<char> buffer(load.content.size());
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail("open " + path);
  const auto size = static_cast<ssize_t>(buffer.size());
  if (::read(fd, buffer.data(), buffer.size()) != size || ::close(fd) != 0) fail("read " + path);
}

void rename(const Workload&, const std::string& path) {
  if (::rename(path.c_str(), (path + ".renamed").c_str()) != 0) fail("rename " + path);
}

void remove(const Workload&, const std::string& path) {
  if (::unlink((path + ".renamed").c_str()) != 0) fail("delete " + path);
}

const std::map<std::string, void (*)(const Workload&, const std::string&)> kPhases = {
    {"create", create}, {"mkdir", make_directory}, {"stat", look},
    {"read", read},     {"rename", rename},        {"delete", remove}};

// Names only, as the kernel hands them out; every one of them counts.
void list_directory(const Workload& load, const std::string& path) {
  DIR* const directory = ::opendir(path.c_str());
  if (directory == nullptr) fail("opendir " + path);
  int names = 0;
  while (::readdir(directory) != nullptr) ++names;
  ::closedir(directory);
  if (names != load.files + 2) {
    std::fprintf(stderr, "readdir %s: %d names, not %d\n", path.c_str(), names - 2, load.files);
    std::_Exit(1);
  }
}

void run_thread(const Workload& load, const std::string& phase, int thread) {
  for (int directory = thread; directory < load.directories; directory += load.threads) {
    const auto path = load.top + "/d" + std::to_string(directory);
    if (phase == "readdir") {
      list_directory(load, path);
      continue;
    }
    const auto& operation = *kPhases.at(phase);
    const bool makes = phase == "create" || phase == "mkdir";
    if (makes && ::mkdir(path.c_str(), 0755) != 0) fail("mkdir " + path);
    for (int file = 0; file < load.files; ++file) operation(load, path + "/f" + std::to_string(file));
    if (phase == "delete" && ::rmdir(path.c_str()) != 0) fail("rmdir " + path);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3 || (!kPhases.contains(argv[2]) && argv[2] != std::string("readdir"))) {
    std::fputs(
        "usage: smallfile DIR create|mkdir|stat|read|readdir|rename|delete [THREADS [DIRECTORIES [FILES "
        "[BYTES]]]]\n",
        stderr);
    return 2;
  }
  const auto number = [&](int at, int otherwise) { return argc > at ? std::atoi(argv[at]) : otherwise; };
  Workload load{.top = argv[1],
                .threads = number(3, 4),
                .directories = number(4, 100),
                .files = number(5, 100),
                .content = content_of(static_cast<std::size_t>(number(6, 4096)))};
  const auto begin = std::chrono::steady_clock::now();
  std::vector<std::jthread> threads;
  for (int thread = 0; thread < load.threads; ++thread)
    threads.emplace_back(run_thread, std::cref(load), std::string(argv[2]), thread);
  threads.clear();
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  std::printf("%d %.6f\n", load.directories * load.files, took.count());
}
