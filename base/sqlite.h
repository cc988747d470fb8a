// SPDX-License-Identifier: GPL-3.0-or-later
// SQLite through the Disk seam: a VFS over Disk, and the few calls Polder makes of it. Blocks: call on a
// worker.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/disk.h"
#include "base/result.h"

struct sqlite3;
struct sqlite3_stmt;

namespace polder {

/// One database connection; one thread at a time (the owner sees to it). Journal mode WAL with an exclusive
/// lock (no shared memory file is needed), synchronous=FULL: a returned commit survives a power loss.
class Database {
 public:
  using Value =
      std::variant<std::nullptr_t, std::int64_t, std::string>;  // std::string binds and reads TEXT and BLOB

  class Row {
   public:
    std::int64_t integer(int column) const;
    std::string text(int column) const;
    bool is_null(int column) const;

   private:
    friend class Database;
    explicit Row(sqlite3_stmt* statement) : statement_(statement) {}
    sqlite3_stmt* statement_;
  };

  /// Creates the file when absent. Errors name the path; a damaged file is EUCLEAN.
  static Result<Database> open(Disk& disk, const std::string& path);
  Database(Database&&) noexcept;
  Database& operator=(Database&&) noexcept;
  ~Database();

  /// Runs one statement; statements are prepared once and kept. Returns the number of rows changed.
  Result<std::int64_t> execute(std::string_view sql, const std::vector<Value>& arguments = {});
  /// Calls `each` per row until it returns false.
  Result<void> query(std::string_view sql, const std::vector<Value>& arguments,
                     const std::function<bool(const Row&)>& each);
  /// Several statements separated by semicolons, for schemas.
  Result<void> script(const std::string& sql);
  /// BEGIN IMMEDIATE … COMMIT; an error from `body` rolls back and is returned.
  Result<void> transaction(const std::function<Result<void>()>& body);

 private:
  struct Impl;
  explicit Database(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace polder
