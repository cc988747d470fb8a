// SPDX-License-Identifier: GPL-3.0-or-later
// bigfile DIR PHASE JOBS MIB OPERATIONS [direct]: one phase of a workload on large files, one file a job, on
// any mounted file system. Prints operations (for write and read: MiB) and seconds. A phase that writes
// ends with fsync, inside the time. `peers` runs it on several file systems side by side.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr std::size_t kMib = std::size_t{1} << 20;
constexpr std::size_t kPage = 4096;

struct Workload {
  std::string top;
  int jobs = 1, mib = 0, operations = 0;  // of all jobs together
  bool direct = false;

  int mib_each() const { return mib / jobs; }
  int operations_each() const { return operations / jobs; }
};

[[noreturn]] void fail(const std::string& what) {
  std::perror(what.c_str());
  std::_Exit(1);
}

struct Free {
  void operator()(char* memory) const { std::free(memory); }
};
using Buffer = std::unique_ptr<char, Free>;

// Aligned for O_DIRECT; random, so that neither compression nor a search for zeros makes less of it.
Buffer make_buffer(std::size_t bytes, int seed) {
  Buffer buffer(static_cast<char*>(std::aligned_alloc(kPage, bytes)));
  std::minstd_rand random(static_cast<unsigned>(seed) + 1);
  for (std::size_t at = 0; at < bytes; ++at) buffer.get()[at] = static_cast<char>(random() >> 8);
  return buffer;
}

// The file of one job.
class File {
 public:
  File(const Workload& load, int job, int flags) : path_(load.top + "/big" + std::to_string(job)) {
    fd_ = ::open(path_.c_str(), flags | O_CLOEXEC | (load.direct ? O_DIRECT : 0), 0644);
    if (fd_ < 0) fail("open " + path_);
  }
  ~File() {
    if (::close(fd_) != 0) fail("close " + path_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  void write(const Buffer& from, std::size_t bytes, off_t at) {
    if (::pwrite(fd_, from.get(), bytes, at) != static_cast<ssize_t>(bytes)) fail("write " + path_);
  }
  void append(const Buffer& from, std::size_t bytes) {
    if (::write(fd_, from.get(), bytes) != static_cast<ssize_t>(bytes)) fail("append " + path_);
  }
  void read(const Buffer& into, std::size_t bytes, off_t at) {
    if (::pread(fd_, into.get(), bytes, at) != static_cast<ssize_t>(bytes)) fail("read " + path_);
  }
  void sync() {
    if (::fsync(fd_) != 0) fail("fsync " + path_);
  }

 private:
  std::string path_;
  int fd_ = -1;
};

void write_all(const Workload& load, int job) {
  const auto buffer = make_buffer(kMib, job);
  File file(load, job, O_CREAT | O_WRONLY);
  for (int mib = 0; mib < load.mib_each(); ++mib) file.write(buffer, kMib, static_cast<off_t>(kMib) * mib);
  file.sync();
}

void read_all(const Workload& load, int job) {
  const auto buffer = make_buffer(kMib, job);
  File file(load, job, O_RDONLY);
  for (int mib = 0; mib < load.mib_each(); ++mib) file.read(buffer, kMib, static_cast<off_t>(kMib) * mib);
}

// Calls what(offset) for random pages of the job's file.
template <typename What>
void at_random(const Workload& load, int job, What what) {
  std::minstd_rand random(static_cast<unsigned>(job) + 4711);
  const auto pages = static_cast<unsigned>(load.mib_each()) * static_cast<unsigned>(kMib / kPage);
  for (int count = 0; count < load.operations_each(); ++count)
    what(static_cast<off_t>(random() % pages) * static_cast<off_t>(kPage));
}

void write_random(const Workload& load, int job) {
  const auto buffer = make_buffer(kPage, job);
  File file(load, job, O_WRONLY);
  at_random(load, job, [&](off_t at) { file.write(buffer, kPage, at); });
  file.sync();
}

void read_random(const Workload& load, int job) {
  const auto buffer = make_buffer(kPage, job);
  File file(load, job, O_RDONLY);
  at_random(load, job, [&](off_t at) { file.read(buffer, kPage, at); });
}

void append(const Workload& load, int job) {
  const auto buffer = make_buffer(kPage, job);
  File file(load, job, O_CREAT | O_WRONLY | O_APPEND);
  for (int count = 0; count < load.operations_each(); ++count) {
    file.append(buffer, kPage);
    file.sync();
  }
}

struct Phase {
  void (*run)(const Workload&, int job);
  bool counts_mib;
};
const std::map<std::string, Phase> kPhases = {{"write", {write_all, true}},
                                              {"read", {read_all, true}},
                                              {"randwrite", {write_random, false}},
                                              {"randread", {read_random, false}},
                                              {"append", {append, false}}};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 6 || !kPhases.contains(argv[2])) {
    std::fputs("usage: bigfile DIR write|read|randwrite|randread|append JOBS MIB OPERATIONS [direct]\n",
               stderr);
    return 2;
  }
  const Workload load{.top = argv[1],
                      .jobs = std::atoi(argv[3]),
                      .mib = std::atoi(argv[4]),
                      .operations = std::atoi(argv[5]),
                      .direct = argc > 6};
  const auto phase = kPhases.at(argv[2]);
  const auto begin = std::chrono::steady_clock::now();
  std::vector<std::jthread> threads;
  for (int job = 0; job < load.jobs; ++job) threads.emplace_back(phase.run, std::cref(load), job);
  threads.clear();
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  const int done = load.jobs * (phase.counts_mib ? load.mib_each() : load.operations_each());
  std::printf("%d %.6f\n", done, took.count());
}
