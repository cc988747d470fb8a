# The kinds of target. Each folder is one library; sources are listed, never globbed.
#
#   polder_library(NAME SOURCES ... DEPS ...)
#   polder_test_library(NAME SOURCES ... DEPS ...)      test cases shared by several tests
#   polder_test(NAME SOURCES ... DEPS ... [LABELS fast|sim|slow|fuse|root|vm] [SERIAL])
#   polder_program(NAME SOURCES ... DEPS ...)

find_program(CCACHE ccache)
if(CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # Precompiled headers hide time macros and defines from ccache unless it is told to look past them.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env
      "CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime"
      CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1 ${CCACHE})
endif()

set_property(GLOBAL PROPERTY JOB_POOLS link=1)
set(CMAKE_JOB_POOL_LINK link)

add_library(polder_options INTERFACE)
target_include_directories(polder_options INTERFACE ${CMAKE_SOURCE_DIR})
# -Wundefined-func-template: a template without its definition links as long as some other file has it, and not any
# more where that one is inlined.
target_compile_options(polder_options INTERFACE -Wall -Wextra -Wpedantic -Wundefined-func-template -Werror
  -fno-omit-frame-pointer
  "$<$<CONFIG:Debug>:-O0;-g1>")
target_link_options(polder_options INTERFACE -fuse-ld=lld)
target_link_libraries(polder_options INTERFACE fmt::fmt)
if(POLDER_SANITIZE)
  target_compile_options(polder_options INTERFACE -fsanitize=${POLDER_SANITIZE} -fno-sanitize-recover=undefined)
  target_link_options(polder_options INTERFACE -fsanitize=${POLDER_SANITIZE})
endif()

if(POLDER_PCH)
  add_library(polder_pch OBJECT ${CMAKE_SOURCE_DIR}/cmake/pch.cc)
  target_link_libraries(polder_pch PUBLIC polder_options polder_asio)
  target_compile_options(polder_pch PRIVATE -Xclang -fno-pch-timestamp)
  target_precompile_headers(polder_pch PRIVATE ${CMAKE_SOURCE_DIR}/cmake/pch.h)
endif()

function(polder_use_pch target)
  if(POLDER_PCH)
    target_compile_options(${target} PRIVATE -Xclang -fno-pch-timestamp)
    target_precompile_headers(${target} REUSE_FROM polder_pch)
  endif()
endfunction()

function(polder_library name)
  cmake_parse_arguments(A "" "" "SOURCES;DEPS" ${ARGN})
  add_library(${name} STATIC ${A_SOURCES})
  target_link_libraries(${name} PUBLIC polder_options polder_asio ${A_DEPS})
  polder_use_pch(${name})
endfunction()

# Objects, not an archive: TEST_P registers itself at start, and a linker leaves unreferenced members of an archive out.
function(polder_test_library name)
  cmake_parse_arguments(A "" "" "SOURCES;DEPS" ${ARGN})
  add_library(${name} OBJECT ${A_SOURCES})
  target_link_libraries(${name} PUBLIC polder_options polder_asio ${A_DEPS} GTest::gmock GTest::gtest)
  polder_use_pch(${name})
endfunction()

function(polder_program name)
  cmake_parse_arguments(A "" "" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${A_SOURCES})
  target_link_libraries(${name} PRIVATE polder_options polder_asio ${A_DEPS})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
  polder_use_pch(${name})
endfunction()

include(GoogleTest)
add_custom_target(fast_tests)  # what the sanitizer runs build
function(polder_test name)
  cmake_parse_arguments(A "SERIAL" "" "SOURCES;DEPS;LABELS" ${ARGN})
  if(NOT A_LABELS)
    set(A_LABELS fast)
  endif()
  add_executable(${name} ${A_SOURCES})
  target_link_libraries(${name} PRIVATE polder_options polder_asio ${A_DEPS} GTest::gmock GTest::gtest_main)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  polder_use_pch(${name})
  if("fast" IN_LIST A_LABELS)
    add_dependencies(fast_tests ${name})
  endif()
  gtest_discover_tests(${name} DISCOVERY_MODE PRE_TEST TEST_PREFIX "${name}:")
  # Not by its PROPERTIES: several labels there are torn apart, and take the properties after them along.
  set(properties "${CMAKE_CURRENT_BINARY_DIR}/${name}_properties.cmake")
  file(WRITE "${properties}" "foreach(test IN LISTS ${name}_TESTS)
  set_tests_properties(\"\${test}\" PROPERTIES LABELS \"${A_LABELS}\" TIMEOUT 300 RUN_SERIAL \"${A_SERIAL}\")
endforeach()
")
  set_property(DIRECTORY APPEND PROPERTY TEST_INCLUDE_FILES "${properties}")
endfunction()

# A test that is a script. It finds the programs through POLDER_BIN.
#   polder_script_test(NAME SCRIPT [ARGS ...] LABELS ... [TIMEOUT SECONDS])
function(polder_script_test name script)
  cmake_parse_arguments(A "" "TIMEOUT" "ARGS;LABELS" ${ARGN})
  if(NOT A_TIMEOUT)
    set(A_TIMEOUT 300)
  endif()
  add_test(NAME ${name} COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/${script} ${A_ARGS})
  set_tests_properties(${name} PROPERTIES LABELS "${A_LABELS}" TIMEOUT ${A_TIMEOUT} RUN_SERIAL ON
    ENVIRONMENT "POLDER_BIN=${CMAKE_BINARY_DIR}/bin;POLDER_TESTS=${CMAKE_BINARY_DIR}/tests")
endfunction()
