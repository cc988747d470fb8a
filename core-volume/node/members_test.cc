// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/node/members.h"

#include <gtest/gtest.h>

#include "core-volume/cluster/json_fields.h"
#include "core-volume/node/volumes_test_support.h"

namespace polder {
namespace {

/// Who has joined comes back at once, over another connection: the store's word of the commit may be later.
TEST_F(VolumesTest, AMemberIsKnownOnceItWasRefreshed) {
  auto& members = node->volumes->members();
  const json::object member{
      {"format", 1}, {"role", "client"}, {"name", "web1"}, {"volume", "data"}, {"joined_s", 1}};
  auto put = [&](std::string key) -> Task<Result<std::optional<std::string>>> {
    CO_TRY(co_await node->store->commit(ClusterTransaction().put("member/" + key, json::text(member))));
    CO_TRY(co_await members.refresh());
    co_return members.bound_volume(key);
  };
  for (int i = 0; i < 50; ++i) {
    auto volume = node->run(put("client:web" + std::to_string(i)));
    ASSERT_TRUE(volume);
    ASSERT_EQ(*volume, "data");
  }
}

}  // namespace
}  // namespace polder
