// SPDX-License-Identifier: GPL-3.0-or-later
#include "base/sqlite_vfs.h"

#include <sys/random.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <new>

namespace polder {
namespace {

constexpr int kSectorBytes = 4096;
constexpr int kMaxPathBytes = 4096;

/// What SQLite allocates for a file; the base part must come first.
struct OpenFile : sqlite3_file {
  DiskVfs* vfs = nullptr;
  DiskFile file;
  std::string path;
  bool new_name = false;  // the directory is not known to hold the name durably
  bool delete_on_close = false;
};

OpenFile& self(sqlite3_file* file) {
  return *static_cast<OpenFile*>(file);
}
DiskVfs& self(sqlite3_vfs* vfs) {
  return *static_cast<DiskVfs*>(vfs->pAppData);
}

int close_file(sqlite3_file* file) {
  auto& open = self(file);
  if (open.delete_on_close) (void)open.vfs->disk().unlink(Disk::kNoDir, open.path);
  open.~OpenFile();
  return SQLITE_OK;
}

int read_file(sqlite3_file* file, void* out, int size, sqlite3_int64 offset) {
  auto& open = self(file);
  Bytes bytes(static_cast<std::byte*>(out), static_cast<std::size_t>(size));
  auto count = open.vfs->disk().pread(open.file.fd(), bytes, static_cast<std::uint64_t>(offset));
  if (!count) return open.vfs->failed(count.error(), SQLITE_IOERR_READ);
  if (*count == bytes.size()) return SQLITE_OK;
  std::ranges::fill(bytes.subspan(*count), std::byte{});  // SQLite demands zeros past the end
  return SQLITE_IOERR_SHORT_READ;
}

int write_file(sqlite3_file* file, const void* data, int size, sqlite3_int64 offset) {
  auto& open = self(file);
  ConstBytes bytes(static_cast<const std::byte*>(data), static_cast<std::size_t>(size));
  auto written = open.vfs->disk().pwrite(open.file.fd(), bytes, static_cast<std::uint64_t>(offset));
  return written ? SQLITE_OK : open.vfs->failed(written.error(), SQLITE_IOERR_WRITE);
}

int truncate_file(sqlite3_file* file, sqlite3_int64 size) {
  auto& open = self(file);
  auto truncated = open.vfs->disk().truncate(open.file.fd(), static_cast<std::uint64_t>(size));
  return truncated ? SQLITE_OK : open.vfs->failed(truncated.error(), SQLITE_IOERR_TRUNCATE);
}

int sync_file(sqlite3_file* file, int) {
  auto& open = self(file);
  auto synced = open.vfs->disk().fdatasync(open.file.fd());
  if (!synced) return open.vfs->failed(synced.error(), SQLITE_IOERR_FSYNC);
  if (!open.new_name) return SQLITE_OK;
  auto named = open.vfs->sync_directory_of(open.path);
  if (!named) return open.vfs->failed(named.error(), SQLITE_IOERR_DIR_FSYNC);
  open.new_name = false;
  return SQLITE_OK;
}

int file_size(sqlite3_file* file, sqlite3_int64* size) {
  auto& open = self(file);
  auto attributes = open.vfs->disk().fstat(open.file.fd());
  if (!attributes) return open.vfs->failed(attributes.error(), SQLITE_IOERR_FSTAT);
  *size = attributes->st_size;
  return SQLITE_OK;
}

int lock_file(sqlite3_file*, int) {
  return SQLITE_OK;
}

/// Nobody else can hold the file, so a journal that is there is always one to roll back.
int check_reserved_lock(sqlite3_file*, int* reserved) {
  *reserved = 0;
  return SQLITE_OK;
}

int file_control(sqlite3_file*, int, void*) {
  return SQLITE_NOTFOUND;
}
int sector_size(sqlite3_file*) {
  return kSectorBytes;
}

/// A power loss in the middle of a write does not damage bytes beside it (as SQLite's own unix VFS assumes).
int device_characteristics(sqlite3_file*) {
  return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

const sqlite3_io_methods* io_methods() {
  static const sqlite3_io_methods methods = [] {
    sqlite3_io_methods m{};
    m.iVersion = 1;
    m.xClose = close_file;
    m.xRead = read_file;
    m.xWrite = write_file;
    m.xTruncate = truncate_file;
    m.xSync = sync_file;
    m.xFileSize = file_size;
    m.xLock = lock_file;
    m.xUnlock = lock_file;
    m.xCheckReservedLock = check_reserved_lock;
    m.xFileControl = file_control;
    m.xSectorSize = sector_size;
    m.xDeviceCharacteristics = device_characteristics;
    return m;
  }();
  return &methods;
}

int open_file(sqlite3_vfs* vfs, const char* path, sqlite3_file* file, int flags, int* out_flags) {
  file->pMethods = nullptr;           // SQLite then never closes it
  if (!path) return SQLITE_CANTOPEN;  // temporary files: temp_store=MEMORY keeps SQLite from asking
  auto& owner = self(vfs);
  int open_flags = O_NOFOLLOW | (flags & SQLITE_OPEN_READWRITE ? O_RDWR : O_RDONLY);
  if (flags & SQLITE_OPEN_CREATE) open_flags |= O_CREAT;
  if (flags & SQLITE_OPEN_EXCLUSIVE) open_flags |= O_EXCL;
  auto opened = owner.disk().open(Disk::kNoDir, path, open_flags, 0600);
  if (!opened) return owner.failed(opened.error(), SQLITE_CANTOPEN);
  if (flags & SQLITE_OPEN_MAIN_DB) {
    auto locked = owner.disk().lock_exclusive(opened->fd());
    if (!locked) return owner.failed(locked.error(), SQLITE_CANTOPEN);
  }
  auto* open = new (file) OpenFile();
  open->pMethods = io_methods();
  open->vfs = &owner;
  open->file = *std::move(opened);
  open->path = path;
  open->new_name = (flags & SQLITE_OPEN_CREATE) != 0;
  open->delete_on_close = (flags & SQLITE_OPEN_DELETEONCLOSE) != 0;
  if (out_flags) *out_flags = flags;
  return SQLITE_OK;
}

int delete_file(sqlite3_vfs* vfs, const char* path, int sync_directory) {
  auto& owner = self(vfs);
  auto removed = owner.disk().unlink(Disk::kNoDir, path);
  if (removed.failed_with(ENOENT)) return SQLITE_IOERR_DELETE_NOENT;
  if (!removed) return owner.failed(removed.error(), SQLITE_IOERR_DELETE);
  if (!sync_directory) return SQLITE_OK;
  auto synced = owner.sync_directory_of(path);
  return synced ? SQLITE_OK : owner.failed(synced.error(), SQLITE_IOERR_DIR_FSYNC);
}

/// The owner may do everything with its files, so only existence is a question. An empty journal is none.
int access_file(sqlite3_vfs* vfs, const char* path, int kind, int* out) {
  auto& owner = self(vfs);
  auto attributes = owner.disk().stat(Disk::kNoDir, path);
  if (!attributes && !attributes.failed_with(ENOENT))
    return owner.failed(attributes.error(), SQLITE_IOERR_ACCESS);
  *out = attributes && (kind != SQLITE_ACCESS_EXISTS || attributes->st_size > 0);
  return SQLITE_OK;
}

int full_path(sqlite3_vfs* vfs, const char* path, int size, char* out) {
  std::size_t length = std::strlen(path);
  if (length >= static_cast<std::size_t>(size)) {
    return self(vfs).failed(Error(ENAMETOOLONG), SQLITE_CANTOPEN);
  }
  std::memcpy(out, path, length + 1);
  return SQLITE_OK;
}

int randomness(sqlite3_vfs*, int size, char* out) {
  auto count = ::getrandom(out, static_cast<std::size_t>(size), 0);
  return count < 0 ? 0 : static_cast<int>(count);
}

/// Never called: with one owner nothing is ever busy.
int sleep_micros(sqlite3_vfs*, int) {
  return 0;
}

/// Milliseconds since noon of 24 November 4714 BC. Only for SQL's own date functions, which Polder's
/// statements do not use: times are bound as values.
int current_time(sqlite3_vfs*, sqlite3_int64* now) {
  constexpr sqlite3_int64 kUnixEpochMs = 210866760000000;
  auto since_epoch = std::chrono::system_clock::now().time_since_epoch();
  *now = kUnixEpochMs + std::chrono::duration_cast<std::chrono::milliseconds>(since_epoch).count();
  return SQLITE_OK;
}

int last_error(sqlite3_vfs* vfs, int, char*) {
  return self(vfs).last_errno();
}

}  // namespace

DiskVfs::DiskVfs(Disk& disk) : disk_(disk) {
  static std::atomic<std::uint64_t> next{1};
  name_ = fmt::format("polder-{}", next++);
  vfs_.iVersion = 2;
  vfs_.szOsFile = sizeof(OpenFile);
  vfs_.mxPathname = kMaxPathBytes;
  vfs_.zName = name_.c_str();
  vfs_.pAppData = this;
  vfs_.xOpen = open_file;
  vfs_.xDelete = delete_file;
  vfs_.xAccess = access_file;
  vfs_.xFullPathname = full_path;
  vfs_.xRandomness = randomness;
  vfs_.xSleep = sleep_micros;
  vfs_.xGetLastError = last_error;
  vfs_.xCurrentTimeInt64 = current_time;
  sqlite3_vfs_register(&vfs_, 0);
}

DiskVfs::~DiskVfs() {
  sqlite3_vfs_unregister(&vfs_);
}

int DiskVfs::failed(const Error& error, int code) {
  last_errno_ = error.code();
  return error.is(ENOSPC) || error.is(EDQUOT) ? SQLITE_FULL : code;
}

Result<void> DiskVfs::sync_directory_of(const std::string& path) {
  auto slash = path.rfind('/');
  std::string directory = slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
  TRY(auto file, disk_.open(Disk::kNoDir, directory, O_RDONLY | O_DIRECTORY));
  return disk_.fsync(file.fd());
}

}  // namespace polder
