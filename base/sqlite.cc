// SPDX-License-Identifier: GPL-3.0-or-later
#include "base/sqlite.h"

#include <sqlite3.h>

#include <map>

#include "base/sqlite_vfs.h"

namespace polder {
namespace {

/// Statements are written in the source, so there are few; a caller that composes SQL must not fill memory.
constexpr std::size_t kMaxCachedStatements = 256;

struct Finalizer {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using Statement = std::unique_ptr<sqlite3_stmt, Finalizer>;

/// errno for an extended result code; `disk_errno` is that of the last failed call of the Disk, or 0.
int errno_of(int code, int disk_errno) {
  switch (code) {
    case SQLITE_CONSTRAINT_UNIQUE:
    case SQLITE_CONSTRAINT_PRIMARYKEY:
    case SQLITE_CONSTRAINT_ROWID:
      return EEXIST;
    default:
      break;
  }
  switch (code & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return EUCLEAN;
    case SQLITE_FULL:
      return ENOSPC;
    case SQLITE_CANTOPEN:
    case SQLITE_IOERR:
      return disk_errno != 0 ? disk_errno : EIO;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return EBUSY;
    case SQLITE_NOMEM:
      return ENOMEM;
    case SQLITE_READONLY:
      return EROFS;
    case SQLITE_TOOBIG:
      return EFBIG;
    default:
      return EINVAL;  // wrong SQL, wrong arguments, a constraint of the schema
  }
}

}  // namespace

struct Database::Impl {
  Impl(Disk& disk, std::string path) : vfs(disk), path(std::move(path)) {}
  ~Impl() {
    statements.clear();
    sqlite3_close(db);
  }

  /// The error of the last call, with the path and SQLite's own words.
  Error error() const {
    int code = db ? sqlite3_extended_errcode(db) : SQLITE_NOMEM;
    return Error(errno_of(code, vfs.last_errno()))
        .with("database {}: {}", path, db ? sqlite3_errmsg(db) : "out of memory");
  }
  Error misuse(std::string_view what, std::string_view sql) const {
    return Error(EINVAL).with("database {}: {}: {}", path, what, sql);
  }

  Result<Statement> prepare(std::string_view sql);
  Result<void> bind(sqlite3_stmt* statement, const std::vector<Value>& arguments, std::string_view sql);
  Result<void> bind_one(sqlite3_stmt* statement, int index, const Value& value);
  Result<void> run(std::string_view sql, const std::vector<Value>& arguments,
                   const std::function<bool(sqlite3_stmt*)>& each);
  void keep(std::string_view sql, Statement statement);
  Result<void> configure();

  DiskVfs vfs;
  std::string path;
  sqlite3* db = nullptr;
  // Those not in use: a statement is taken out while it runs, so that a row's callback may run others.
  std::map<std::string, Statement, std::less<>> statements;
};

Result<Statement> Database::Impl::prepare(std::string_view sql) {
  if (auto found = statements.find(sql); found != statements.end())
    return std::move(statements.extract(found).mapped());
  sqlite3_stmt* raw = nullptr;
  const char* tail = nullptr;
  int code = sqlite3_prepare_v3(db, sql.data(), static_cast<int>(sql.size()), SQLITE_PREPARE_PERSISTENT, &raw,
                                &tail);
  Statement statement(raw);
  if (code != SQLITE_OK) return error().with("{}", sql);
  if (!statement) return misuse("no statement", sql);
  std::string_view rest(tail, static_cast<std::size_t>(sql.data() + sql.size() - tail));
  if (rest.find_first_not_of(" \t\r\n;") != rest.npos) return misuse("more than one statement", sql);
  return statement;
}

Result<void> Database::Impl::bind_one(sqlite3_stmt* statement, int index, const Value& value) {
  int code = SQLITE_OK;
  if (const auto* integer = std::get_if<std::int64_t>(&value)) {
    code = sqlite3_bind_int64(statement, index, *integer);
  } else if (const auto* text = std::get_if<std::string>(&value)) {
    // Always as TEXT, whatever the bytes: SQLite never finds a TEXT equal to a BLOB, so there must be one
    // rule.
    code = sqlite3_bind_text64(statement, index, text->data(), text->size(), SQLITE_STATIC, SQLITE_UTF8);
  } else {
    code = sqlite3_bind_null(statement, index);
  }
  if (code != SQLITE_OK) return error();
  return {};
}

Result<void> Database::Impl::bind(sqlite3_stmt* statement, const std::vector<Value>& arguments,
                                  std::string_view sql) {
  auto wanted = static_cast<std::size_t>(sqlite3_bind_parameter_count(statement));
  if (wanted != arguments.size())
    return misuse(fmt::format("{} arguments for {} parameters", arguments.size(), wanted), sql);
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    TRY(bind_one(statement, static_cast<int>(i + 1), arguments[i]));
  }
  return {};
}

Result<void> Database::Impl::run(std::string_view sql, const std::vector<Value>& arguments,
                                 const std::function<bool(sqlite3_stmt*)>& each) {
  vfs.clear_error();
  TRY(auto statement, prepare(sql));
  TRY(bind(statement.get(), arguments, sql));
  int code = sqlite3_step(statement.get());
  while (code == SQLITE_ROW && each(statement.get())) code = sqlite3_step(statement.get());
  if (code != SQLITE_DONE && code != SQLITE_ROW) return error();
  keep(sql, std::move(statement));
  return {};
}

void Database::Impl::keep(std::string_view sql, Statement statement) {
  sqlite3_reset(statement.get());
  sqlite3_clear_bindings(statement.get());
  if (statements.size() < kMaxCachedStatements)
    statements.try_emplace(std::string(sql), std::move(statement));
}

Result<void> Database::Impl::configure() {
  auto ignore = [](sqlite3_stmt*) { return true; };
  // Exclusive before WAL: the index of the WAL is then kept on the heap.
  TRY(run("PRAGMA locking_mode=EXCLUSIVE", {}, ignore));
  std::string mode;
  TRY(run("PRAGMA journal_mode=WAL", {}, [&](sqlite3_stmt* row) {
    mode = reinterpret_cast<const char*>(sqlite3_column_text(row, 0));
    return true;
  }));
  if (mode != "wal") return Error(EINVAL).with("database {}: journal mode stays {}", path, mode);
  for (auto pragma : {"PRAGMA synchronous=FULL", "PRAGMA temp_store=MEMORY", "PRAGMA foreign_keys=ON",
                      "PRAGMA trusted_schema=OFF", "PRAGMA cell_size_check=ON"}) {
    TRY(run(pragma, {}, ignore));
  }
  // Reads and parses the schema now: a damaged file is found at the start rather than by the first user.
  TRY(run("SELECT count(*) FROM sqlite_schema", {}, ignore));
  // What a killed process left in the WAL may be in the page cache only, if a sync of its had failed (see
  // page_cache.h), and what is committed behind a gap is lost with it: so nothing is. A full disk must not
  // keep anybody from starting.
  auto emptied = run("PRAGMA wal_checkpoint(TRUNCATE)", {}, ignore);
  return emptied.failed_with(ENOSPC) || emptied.failed_with(EDQUOT) ? Result<void>() : emptied;
}

Database::Database(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Database::Database(Database&&) noexcept = default;
Database& Database::operator=(Database&&) noexcept = default;
Database::~Database() = default;

Result<Database> Database::open(Disk& disk, const std::string& path) {
  auto impl = std::make_unique<Impl>(disk, path);
  constexpr int kFlags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
  int code = sqlite3_open_v2(path.c_str(), &impl->db, kFlags, impl->vfs.name());
  if (impl->db) sqlite3_extended_result_codes(impl->db, 1);
  if (code != SQLITE_OK) {
    if (impl->vfs.last_errno() == EWOULDBLOCK)
      return Error(EWOULDBLOCK).with("database {}: another process has it open", path);
    return impl->error();
  }
  TRY(impl->configure());
  return Database(std::move(impl));
}

Result<std::int64_t> Database::execute(std::string_view sql, const std::vector<Value>& arguments) {
  auto before = sqlite3_total_changes64(impl_->db);
  TRY(impl_->run(sql, arguments, [](sqlite3_stmt*) { return true; }));
  // What is no INSERT, UPDATE or DELETE leaves the count of the one before it in place.
  if (sqlite3_total_changes64(impl_->db) == before) return 0;
  return sqlite3_changes64(impl_->db);
}

Result<void> Database::query(std::string_view sql, const std::vector<Value>& arguments,
                             const std::function<bool(const Row&)>& each) {
  return impl_->run(sql, arguments, [&](sqlite3_stmt* row) { return each(Row(row)); });
}

Result<void> Database::script(const std::string& sql) {
  impl_->vfs.clear_error();
  if (sqlite3_exec(impl_->db, sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) return impl_->error();
  return {};
}

Result<void> Database::transaction(const std::function<Result<void>()>& body) {
  TRY(execute("BEGIN IMMEDIATE"));
  auto result = body();
  if (result) {
    auto committed = execute("COMMIT");
    if (committed) return {};
    result = std::move(committed).error();
  }
  // After a full disk or an I/O error SQLite may have rolled back by itself.
  if (!sqlite3_get_autocommit(impl_->db)) {
    TRY(execute("ROLLBACK").with("after {}", result.error().message()));
  }
  return result;
}

std::int64_t Database::Row::integer(int column) const {
  return sqlite3_column_int64(statement_, column);
}

std::string Database::Row::text(int column) const {
  // The order matters: the size is that of the last conversion.
  const void* data = sqlite3_column_blob(statement_, column);
  auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement_, column));
  return data ? std::string(static_cast<const char*>(data), size) : std::string();
}

bool Database::Row::is_null(int column) const {
  return sqlite3_column_type(statement_, column) == SQLITE_NULL;
}

}  // namespace polder
