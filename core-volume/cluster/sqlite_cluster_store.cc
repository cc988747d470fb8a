// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/cluster/sqlite_cluster_store.h"

#include <map>
#include <mutex>

#include "base/concurrency.h"
#include "base/on_worker.h"
#include "base/sqlite.h"

namespace polder {

namespace {

constexpr std::int64_t kSchemaVersion = 1;

Result<void> check_key(const std::string& key) {
  if (key.empty() || key.size() > ClusterStore::kKey_bytes_max) {
    return Error(EINVAL).with("a key of {} bytes (1 to {} are allowed)", key.size(),
                              ClusterStore::kKey_bytes_max);
  }
  return {};
}

Result<void> check(const ClusterTransaction& transaction) {
  for (const auto& condition : transaction.conditions) {
    TRY(check_key(condition.key));
  }
  for (const auto& change : transaction.changes) {
    TRY(check_key(change.key));
    if (change.value && change.value->size() > ClusterStore::kValue_bytes_max) {
      return Error(E2BIG).with("the value of {} has {} bytes", change.key, change.value->size());
    }
  }
  return {};
}

/// The smallest text that is above everything that begins with `prefix`; empty: there is none.
std::string end_of_prefix(std::string prefix) {
  while (!prefix.empty() && prefix.back() == '\xff') prefix.pop_back();
  if (!prefix.empty()) prefix.back() = static_cast<char>(prefix.back() + 1);
  return prefix;
}

/// The blocking half: runs on workers, one at a time.
class Tables {
 public:
  explicit Tables(Database database) : database_(std::move(database)) {}

  Result<void> prepare() {
    TRY(
        database_.script("CREATE TABLE IF NOT EXISTS facts(name TEXT PRIMARY KEY, value INTEGER NOT NULL);"
                         "CREATE TABLE IF NOT EXISTS entries(key TEXT PRIMARY KEY, value BLOB NOT NULL,"
                         " version INTEGER NOT NULL) WITHOUT ROWID;"
                         "INSERT OR IGNORE INTO facts VALUES('schema', 1), ('revision', 0);"));
    TRY(auto schema, fact("schema"));
    if (schema > kSchemaVersion) {
      return Error(EPROTO).with("made by a newer version of Polder (schema {}, this one knows {})", schema,
                                kSchemaVersion);
    }
    return {};
  }

  Result<std::uint64_t> revision() {
    std::lock_guard lock(mutex_);
    TRY(auto value, fact("revision"));
    return static_cast<std::uint64_t>(value);
  }

  Result<std::optional<VersionedValue>> get(const std::string& key) {
    std::lock_guard lock(mutex_);
    std::optional<VersionedValue> found;
    TRY(database_.query("SELECT key, value, version FROM entries WHERE key = ?", {key},
                        [&](const Database::Row& row) {
                          found = from(row);
                          return false;
                        }));
    return found;
  }

  Result<std::vector<VersionedValue>> list(const std::string& prefix) {
    std::lock_guard lock(mutex_);
    std::vector<VersionedValue> out;
    auto each = [&](const Database::Row& row) {
      out.push_back(from(row));
      return true;
    };
    auto end = end_of_prefix(prefix);
    if (end.empty()) {
      TRY(database_.query("SELECT key, value, version FROM entries WHERE key >= ? ORDER BY key", {prefix},
                          each));
    } else {
      TRY(database_.query("SELECT key, value, version FROM entries WHERE key >= ? AND key < ? ORDER BY key",
                          {prefix, end}, each));
    }
    return out;
  }

  Result<std::uint64_t> commit(const ClusterTransaction& transaction) {
    std::lock_guard lock(mutex_);
    std::int64_t revision = 0;
    TRY(database_.transaction([&]() -> Result<void> {
      for (const auto& condition : transaction.conditions) {
        TRY(expect(condition));
      }
      TRY(revision, fact("revision"));
      ++revision;
      TRY(database_.execute("UPDATE facts SET value = ? WHERE name = 'revision'", {revision}));
      for (const auto& change : transaction.changes) {
        TRY(apply(change, revision));
      }
      return {};
    }));
    return static_cast<std::uint64_t>(revision);
  }

 private:
  static VersionedValue from(const Database::Row& row) {
    return {row.text(0), row.text(1), static_cast<std::uint64_t>(row.integer(2))};
  }

  Result<std::int64_t> fact(const std::string& name) {
    std::optional<std::int64_t> value;
    TRY(database_.query("SELECT value FROM facts WHERE name = ?", {name}, [&](const Database::Row& row) {
      value = row.integer(0);
      return false;
    }));
    if (!value) return Error(EUCLEAN).with("the cluster's database lacks the fact '{}'", name);
    return *value;
  }

  Result<void> expect(const ClusterTransaction::Condition& condition) {
    std::int64_t version = 0;
    TRY(database_.query("SELECT version FROM entries WHERE key = ?", {condition.key},
                        [&](const Database::Row& row) {
                          version = row.integer(0);
                          return false;
                        }));
    if (static_cast<std::uint64_t>(version) != condition.version) {
      return Error(EAGAIN).with("{} was changed by somebody else meanwhile", condition.key);
    }
    return {};
  }

  Result<void> apply(const ClusterTransaction::Change& change, std::int64_t revision) {
    if (!change.value) return as_void(database_.execute("DELETE FROM entries WHERE key = ?", {change.key}));
    return as_void(database_.execute("INSERT OR REPLACE INTO entries VALUES(?, ?, ?)",
                                     {change.key, *change.value, revision}));
  }

  static Result<void> as_void(Result<std::int64_t> result) {
    if (!result) return std::move(result).error();
    return {};
  }

  std::mutex mutex_;  // workers come in any order; a Database is one thread's at a time
  Database database_;
};

class SqliteClusterStore final : public ClusterStore {
 public:
  SqliteClusterStore(Seams& seams, std::unique_ptr<Tables> tables, std::uint64_t revision)
      : workers_(seams.workers), tables_(std::move(tables)), revision_(revision), started_at_(revision) {}

  Task<Result<std::optional<VersionedValue>>> get(std::string key) override {
    co_return co_await on_worker(workers_, [&] { return tables_->get(key); });
  }

  Task<Result<std::vector<VersionedValue>>> list(std::string prefix) override {
    co_return co_await on_worker(workers_, [&] { return tables_->list(prefix); });
  }

  Task<Result<std::uint64_t>> revision() override {
    co_return co_await on_worker(workers_, [&] { return tables_->revision(); });
  }

  Task<Result<std::uint64_t>> commit(ClusterTransaction transaction) override {
    CO_TRY(check(transaction));
    CO_TRY(auto revision, co_await on_worker(workers_, [&] { return tables_->commit(transaction); }));
    for (const auto& change : transaction.changes) {
      auto& changed = changed_[change.key];
      changed = std::max(changed, revision);
    }
    revision_ = std::max(revision_, revision);
    changed_event_.notify_all();
    co_return revision;
  }

  Task<Result<std::uint64_t>> watch(std::string prefix, std::uint64_t after) override {
    // Deletions before this process are not remembered, so an older watcher is told to look.
    while (after >= started_at_ && !changed_since(prefix, after)) {
      CO_TRY(co_await changed_event_.wait());
    }
    co_return revision_;
  }

 private:
  bool changed_since(const std::string& prefix, std::uint64_t after) const {
    for (auto it = changed_.lower_bound(prefix); it != changed_.end() && it->first.starts_with(prefix);
         ++it) {
      if (it->second > after) return true;
    }
    return false;
  }

  Workers& workers_;
  std::unique_ptr<Tables> tables_;
  std::uint64_t revision_;
  const std::uint64_t started_at_;
  std::map<std::string, std::uint64_t> changed_;  // by this process: key → revision
  Event changed_event_;
};

}  // namespace

Result<std::unique_ptr<ClusterStore>> open_sqlite_cluster_store(Seams& seams, const std::string& path) {
  TRY(auto database, Database::open(seams.disk, path));
  auto tables = std::make_unique<Tables>(std::move(database));
  if (auto ready = tables->prepare(); !ready) return std::move(ready).with("{}", path).error();
  TRY(auto revision, tables->revision());
  return std::unique_ptr<ClusterStore>(new SqliteClusterStore(seams, std::move(tables), revision));
}

}  // namespace polder
