// SPDX-License-Identifier: GPL-3.0-or-later
// The grammar: what each command line asks of the daemon, and what comes out for people and for scripts.
#include "tools/polder/cli.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "tools/polder/table.h"
#include "tools/polder/volume_words.h"

namespace polder {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

struct CliTest : testing::Test {
  std::ostringstream out, err;
  std::vector<std::string> calls;
  std::map<std::string, Result<json::value>> answers;

  int run(const std::vector<std::string>& words) {
    out.str("");
    err.str("");
    calls.clear();
    auto api = [this](const std::string& method, const std::string& path, const json::object& body,
                      const std::function<void(const json::value&)>&) -> Result<json::value> {
      auto call = method + " " + path;
      calls.push_back(body.empty() ? call : call + " " + json::text(body));
      auto found = answers.find(call);
      if (found == answers.end()) return Error(ENOSYS).with("the test has no answer for {}", call);
      return found->second;
    };
    return Cli(out, err, api).run(words);
  }
};

TEST_F(CliTest, WrongUsageIsTwo) {
  EXPECT_EQ(run({}), kUsage);
  EXPECT_EQ(run({"nonsense"}), kUsage);
  EXPECT_EQ(run({"volume"}), kUsage);
  EXPECT_EQ(run({"volume", "create", "data"}), kUsage);
  EXPECT_EQ(run({"volume", "status", "data", "everything"}), kUsage);
  EXPECT_EQ(run({"volume", "set", "data", "key"}), kUsage);
  EXPECT_EQ(run({"--mode", "whatever", "volume", "list"}), kUsage);
  EXPECT_THAT(calls, testing::IsEmpty());
}

TEST_F(CliTest, HelpIsNoErrorAndHasAnExample) {
  EXPECT_EQ(run({"--help"}), kDone);
  EXPECT_THAT(out.str(), HasSubstr("volume"));
  EXPECT_EQ(run({"volume", "create", "--help"}), kDone);
  EXPECT_THAT(out.str(), HasSubstr("Example: polder volume create data"));
  EXPECT_EQ(run({"--version"}), kDone);
}

TEST_F(CliTest, CreateTakesBricksAndForce) {
  answers.insert_or_assign("POST /v1/volumes",
                           json::value(json::object{{"notes", json::array{"mind this"}}}));
  EXPECT_EQ(run({"volume", "create", "data", "alpha:/bricks/data", "force"}), kDone);
  EXPECT_THAT(
      calls, ElementsAre(R"(POST /v1/volumes {"name":"data","bricks":["alpha:/bricks/data"],"force":true})"));
  EXPECT_THAT(out.str(), HasSubstr("note: mind this"));
  EXPECT_THAT(out.str(), HasSubstr("next: polder volume start data"));
}

TEST_F(CliTest, RefusalsAreOneAndSayWhy) {
  answers.insert_or_assign("POST /v1/volumes/data/start", Error(ENOENT).with("there is no volume 'data'"));
  EXPECT_EQ(run({"volume", "start", "data"}), kFailed);
  EXPECT_EQ(err.str(), "polder: there is no volume 'data'\n");
  EXPECT_EQ(run({"volume", "start", "data", "--json"}), kFailed);
  EXPECT_THAT(err.str(), HasSubstr(R"({"error":)"));
  EXPECT_EQ(run({"volume", "start", "../x"}), kFailed);
  EXPECT_THAT(calls, testing::IsEmpty());
}

TEST_F(CliTest, DeletingNeedsAYes) {
  json::object volume{{"name", "data"}, {"bricks", json::array{json::object{{"node", "a"}, {"path", "/b"}}}}};
  answers.insert_or_assign("GET /v1/volumes/data", json::value(volume));
  answers.insert_or_assign("DELETE /v1/volumes/data", json::value(volume));
  EXPECT_EQ(run({"volume", "delete", "data", "--mode=script"}), kFailed);
  EXPECT_THAT(err.str(), HasSubstr("add --yes"));
  EXPECT_THAT(calls, ElementsAre("GET /v1/volumes/data"));
  EXPECT_EQ(run({"volume", "delete", "data", "--dry-run"}), kDone);
  EXPECT_THAT(out.str(), HasSubstr("keeps the data"));
  EXPECT_THAT(calls, ElementsAre("GET /v1/volumes/data"));
  EXPECT_EQ(run({"--yes", "volume", "delete", "data"}), kDone);
  EXPECT_THAT(calls, ElementsAre("GET /v1/volumes/data", "DELETE /v1/volumes/data"));
}

TEST_F(CliTest, DegradedIsThree) {
  json::object status{{"name", "data"},
                      {"state", "Started"},
                      {"running", false},
                      {"read_only", false},
                      {"role", "plain"},
                      {"clients", json::array{}},
                      {"failure", "the disk is gone"},
                      {"brick_status", json::array{json::object{{"brick", "a:/b"}, {"online", false}}}}};
  answers.insert_or_assign("GET /v1/volumes/data/status", json::value(status));
  EXPECT_EQ(run({"volume", "status", "data"}), kDegraded);
  EXPECT_THAT(out.str(), HasSubstr("degraded: the disk is gone"));
  EXPECT_EQ(run({"volume", "status", "data", "clients"}), kDegraded);
  EXPECT_EQ(run({"--json", "volume", "status", "data"}), kDegraded);
  EXPECT_EQ(json::parse(out.str()).value(), json::value(status));
}

TEST_F(CliTest, StatusDetailSaysWhatDoesNotApply) {
  json::object online{{"brick", "a:/b"},       {"online", true},         {"pid", 7},
                      {"port", 24117},         {"multiplexed", true},    {"bricks_in_process", 3},
                      {"uptime_s", 3600},      {"file_system", "btrfs"}, {"device", "/dev/x"},
                      {"inode_size", nullptr}, {"total_bytes", 4096},    {"available_bytes", 1024},
                      {"inodes", 0},           {"inodes_free", 0}};
  json::object status{
      {"name", "data"},
      {"state", "Started"},
      {"running", true},
      {"read_only", false},
      {"role", "plain"},
      {"clients", json::array{}},
      {"failure", ""},
      {"brick_status", json::array{online, json::object{{"brick", "c:/d"}, {"online", false}}}}};
  answers.insert_or_assign("GET /v1/volumes/data/status", json::value(status));
  EXPECT_EQ(run({"volume", "status", "data", "detail"}), kDegraded);
  for (const auto* line : {"TCP Port:           24117", "Online:             Y", "Online:             N",
                           "File System:        btrfs", "Inode Size:         N/A", "Inode Count:        N/A",
                           "Uptime:             1h"}) {
    EXPECT_THAT(out.str(), HasSubstr(line));
  }
  EXPECT_EQ(run({"volume", "status", "data"}), kDegraded);
  EXPECT_THAT(out.str(), HasSubstr("this node's 3 running bricks share pid 7 and port 24117"));
  EXPECT_EQ(run({"volume", "status", "data", "c:/d", "detail"}), kDegraded);
  EXPECT_THAT(out.str(), testing::Not(HasSubstr("a:/b")));
  EXPECT_EQ(run({"volume", "status", "data", "x:/y"}), kFailed);
  EXPECT_EQ(run({"volume", "status", "data", "detail", "clients"}), kUsage);
}

TEST_F(CliTest, StatusSectionsAreTables) {
  json::object status{
      {"name", "data"},  {"state", "Started"}, {"running", true},          {"read_only", false},
      {"role", "plain"}, {"failure", ""},      {"clients", json::array{}}, {"brick_status", json::array{}}};
  status["section"] = json::object{
      {"bricks",
       json::array{json::object{{"count", 2},
                                {"left_out", 0},
                                {"calls", json::array{json::object{{"op", "write"}, {"age_s", 0.5}},
                                                      json::object{{"op", "read"}, {"age_s", 1}}}}}}}};
  answers.insert_or_assign("GET /v1/volumes/data/status?section=callpool", json::value(status));
  EXPECT_EQ(run({"volume", "status", "data", "callpool"}), kDone);
  EXPECT_THAT(out.str(), HasSubstr("OP     AGE S"));
  EXPECT_THAT(out.str(), HasSubstr("read   1"));
  status.erase("section");
  answers.insert_or_assign("GET /v1/volumes/data/status?section=callpool", json::value(status));
  EXPECT_EQ(run({"volume", "status", "data", "callpool"}), kDone);
  EXPECT_THAT(out.str(), HasSubstr("N/A"));
}

TEST_F(CliTest, TopHasGlusterFSsWords) {
  json::object file{{"gfid", std::string(32, '1')},
                    {"path", "/a"},
                    {"count", 3},
                    {"bytes", 4096},
                    {"best_bytes_per_s", 1048576},
                    {"best_bytes", 4096},
                    {"best_at", "2026-11-21T06:40:00Z"}};
  json::object unnamed{{"gfid", std::string(32, '2')}, {"path", nullptr}, {"count", 1}, {"bytes", 0}};
  json::object answer{
      {"what", "write"},
      {"bricks", json::array{json::object{
                     {"brick", "a:/b"}, {"open_handles", 1}, {"files", json::array{file, unnamed}}}}}};
  answers.insert_or_assign("GET /v1/volumes/data/top?what=write&brick=a:/b&count=5", json::value(answer));
  EXPECT_EQ(run({"volume", "top", "data", "write", "brick", "a:/b", "list-cnt", "5"}), kDone);
  EXPECT_THAT(out.str(), HasSubstr("3      4096   /a\n"));
  EXPECT_THAT(out.str(), HasSubstr("<gfid:22222222222222222222222222222222>"));
  answer["what"] = "write-perf";
  answers.insert_or_assign("GET /v1/volumes/data/top?what=write-perf", json::value(answer));
  EXPECT_EQ(run({"volume", "top", "data", "write-perf"}), kDone);
  EXPECT_THAT(out.str(), HasSubstr("1.00   4096   /a"));
  answers.insert_or_assign("POST /v1/volumes/data/top/clear", json::value(json::object{}));
  EXPECT_EQ(run({"volume", "top", "data", "clear"}), kDone);
  EXPECT_EQ(run({"volume", "top", "data"}), kUsage);
  EXPECT_EQ(run({"volume", "top", "data", "open", "list-cnt", "101"}), kUsage);
  EXPECT_EQ(run({"volume", "top", "data", "open", "brick"}), kUsage);
  EXPECT_EQ(run({"volume", "top", "data", "read-perf", "bs", "4096", "count", "1"}), kUsage);
  EXPECT_THAT(err.str(), HasSubstr("writes no test files"));
  EXPECT_THAT(calls, testing::IsEmpty());
}

TEST_F(CliTest, ProfileShowsBothOrOneOfTheTwo) {
  auto stats = [](int calls) {
    return json::object{{"duration_s", 5},
                        {"read_bytes", 0},
                        {"written_bytes", calls},
                        {"read_sizes", json::array{}},
                        {"write_sizes", json::array{json::object{{"below", 512}, {"count", calls}}}},
                        {"number", 2},
                        {"ops", json::array{json::object{{"op", "write"},
                                                         {"count", calls},
                                                         {"errors", 0},
                                                         {"latency_share", 1.0},
                                                         {"average_us", 3.25},
                                                         {"p50_us", 4.1},
                                                         {"p99_us", 8.2},
                                                         {"max_us", 8.2}}}}};
  };
  json::value answer = json::object{
      {"bricks",
       json::array{json::object{{"brick", "a:/b"}, {"cumulative", stats(70)}, {"interval", stats(9)}}}}};
  answers.insert_or_assign("GET /v1/volumes/data/profile", answer);
  answers.insert_or_assign("GET /v1/volumes/data/profile?peek=yes", answer);
  EXPECT_EQ(run({"volume", "profile", "data", "info"}), kDone);
  EXPECT_THAT(out.str(), HasSubstr("100.00     3.2 us  <4.1 us  <8.2 us  <8.2 us  70"));
  EXPECT_THAT(out.str(), HasSubstr("Interval 2 Stats (5 seconds)"));
  EXPECT_THAT(out.str(), HasSubstr("below 512                 70"));
  EXPECT_EQ(run({"volume", "profile", "data", "info", "incremental", "peek"}), kDone);
  EXPECT_THAT(calls, ElementsAre("GET /v1/volumes/data/profile?peek=yes"));
  EXPECT_THAT(out.str(), testing::Not(HasSubstr("Cumulative")));
  EXPECT_EQ(run({"volume", "profile", "data", "info", "cumulative"}), kDone);
  EXPECT_THAT(out.str(), testing::Not(HasSubstr("Interval")));
  for (const auto* verb : {"start", "stop", "clear"}) {
    answers.insert_or_assign(std::string("POST /v1/volumes/data/profile/") + verb,
                             json::value(json::object{}));
  }
  EXPECT_EQ(run({"volume", "profile", "data", "start"}), kDone);
  EXPECT_EQ(run({"volume", "profile", "data", "stop"}), kDone);
  EXPECT_EQ(run({"volume", "profile", "data", "info", "clear"}), kDone);
  EXPECT_EQ(run({"volume", "profile", "data", "begin"}), kUsage);
  EXPECT_EQ(run({"volume", "profile", "data", "start", "now"}), kUsage);
  EXPECT_EQ(run({"volume", "profile", "data", "info", "peek", "incremental"}), kUsage);
}

TEST_F(CliTest, StatedumpPrintsWhereItIs) {
  answers.insert_or_assign("POST /v1/volumes/data/statedump",
                           json::value(json::object{{"path", "/run/x"}, {"dump", json::object{}}}));
  EXPECT_EQ(run({"volume", "statedump", "data", "locks", "fd"}), kDone) << err.str();
  EXPECT_THAT(calls, ElementsAre(R"(POST /v1/volumes/data/statedump {"sections":["locks","fd"]})"));
  EXPECT_EQ(out.str(), "/run/x\n");
  EXPECT_EQ(run({"volume", "statedump", "data", "locks", "fd", "--json"}), kDone);
  EXPECT_TRUE(json::parse(out.str()));
}

TEST_F(CliTest, OptionsAreSetGotAndReset) {
  json::object changed{{"option", "a.b"}, {"value", "8GiB"}, {"restart_needed", true}};
  answers.insert_or_assign("POST /v1/volumes/data/options", json::value(changed));
  answers.insert_or_assign("DELETE /v1/volumes/data/options", json::value(changed));
  answers.insert_or_assign("GET /v1/volume-options", json::value(json::array{}));
  EXPECT_EQ(run({"volume", "set", "data", "a.b", "8GiB"}), kDone);
  EXPECT_THAT(calls, ElementsAre(R"(POST /v1/volumes/data/options {"key":"a.b","value":"8GiB"})"));
  EXPECT_THAT(out.str(), HasSubstr("next start"));
  EXPECT_EQ(run({"volume", "reset", "data", "a.b"}), kDone);
  EXPECT_THAT(calls, ElementsAre(R"(DELETE /v1/volumes/data/options {"key":"a.b"})"));
  EXPECT_EQ(run({"volume", "set", "help"}), kDone);
  EXPECT_EQ(run({"volume", "get", "data", "a&b=c"}), kUsage);
}

TEST(CliUnreachable, NoDaemonIsFourAndSaysWhatToType) {
  std::ostringstream out, err;
  EXPECT_EQ(Cli(out, err).run({"--socket", "/var/tmp/polder-no-such.sock", "volume", "list"}), kUnreachable);
  EXPECT_THAT(err.str(), HasSubstr("polderd is not running: systemctl start polderd"));
}

TEST(VolumeWords, LayoutsOfLaterVersionsAreNamed) {
  EXPECT_TRUE(parse_create_words({"replica", "2", "a:/x", "b:/y"}).failed_with(EOPNOTSUPP));
  EXPECT_TRUE(parse_create_words({"disperse", "6", "a:/x"}).failed_with(EOPNOTSUPP));
  EXPECT_TRUE(parse_create_words({"a"}).failed_with(EINVAL));
  EXPECT_TRUE(parse_create_words({":/x"}).failed_with(EINVAL));
  EXPECT_TRUE(parse_create_words({"force"}).failed_with(EINVAL));
  EXPECT_THAT(parse_create_words({"[fd00::1]:/x", "force"})->bricks, ElementsAre("[fd00::1]:/x"));
}

TEST(TableText, FitsAHundredColumnsOrBecomesBlocks) {
  Table small({"A", "LONGER"});
  small.add({"one", "two"});
  EXPECT_EQ(small.text(), "A    LONGER\none  two\n");
  Table wide({"NAME", "PATH"});
  wide.add({"x", "/" + std::string(120, 'p')});
  EXPECT_EQ(wide.text(), "NAME: x\nPATH: /" + std::string(120, 'p') + "\n");
}

TEST_F(CliTest, CompletionKnowsEveryCommand) {
  EXPECT_EQ(run({"completion", "bash"}), kDone);
  for (const auto* word :
       {"'volume') words=", "create", "'cluster token') words=", "--role", "complete ", "detail clients mem",
        "read-perf write-perf", "start stop info peek", "callpool fd inode locks"}) {
    EXPECT_THAT(out.str(), HasSubstr(word));
  }
}

}  // namespace
}  // namespace polder
