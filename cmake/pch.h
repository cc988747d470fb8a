// The one precompiled header: standard headers that nearly every file needs. Nothing of Polder's
// own, nothing heavy. The nopch preset proves that files include what they use.
#pragma once
#include <fmt/core.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <expected>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>
