# Every third-party library, once. All are Debian 12 packages, installed by tools/dev/setup.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(Boost 1.81 REQUIRED COMPONENTS json)
find_package(OpenSSL REQUIRED)
find_package(Protobuf REQUIRED)
find_package(GTest REQUIRED)
find_package(benchmark REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(CLI11 REQUIRED)
pkg_check_modules(sqlite3 REQUIRED IMPORTED_TARGET sqlite3)
pkg_check_modules(zstd REQUIRED IMPORTED_TARGET libzstd)
pkg_check_modules(fuse3 REQUIRED IMPORTED_TARGET fuse3)
pkg_check_modules(isal REQUIRED IMPORTED_TARGET libisal)
pkg_check_modules(xxhash REQUIRED IMPORTED_TARGET libxxhash)
find_package(prometheus-cpp REQUIRED COMPONENTS core)
find_library(RSYNC_LIBRARY rsync REQUIRED)
find_path(RSYNC_INCLUDE librsync.h REQUIRED)
add_library(librsync INTERFACE)
target_link_libraries(librsync INTERFACE ${RSYNC_LIBRARY})
target_include_directories(librsync SYSTEM INTERFACE ${RSYNC_INCLUDE})

# Asio and Beast are compiled once (base/asio_impl.cc) instead of in every file that uses them.
add_library(polder_asio INTERFACE)
target_compile_definitions(polder_asio INTERFACE
  BOOST_ASIO_SEPARATE_COMPILATION BOOST_BEAST_SEPARATE_COMPILATION
  BOOST_ASIO_NO_DEPRECATED BOOST_ASIO_DISABLE_BOOST_DATE_TIME)
target_link_libraries(polder_asio INTERFACE Boost::headers OpenSSL::SSL OpenSSL::Crypto Threads::Threads)
