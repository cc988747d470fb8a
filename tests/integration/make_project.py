#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes a C project of so many parts, with a Makefile: make_project.py DIR PARTS. The same every time."""
import os
import random
import sys


def main(top, parts):
    chance = random.Random(parts)
    os.makedirs(f"{top}/src")
    os.makedirs(f"{top}/doc")
    for i in range(parts):
        with open(f"{top}/src/part{i}.h", "w") as file:
            file.write(f"#pragma once\nunsigned part{i}(unsigned x);\n")
        with open(f"{top}/src/part{i}.c", "w") as file:
            file.write(f'#include "part{i}.h"\n#include "part{(i + 1) % parts}.h"\n')
            for j in range(12):
                numbers = ", ".join(str(chance.randrange(1 << 30)) for _ in range(8))
                file.write(f"static const unsigned table{j}[] = {{{numbers}}};\n")
            file.write(f"unsigned part{i}(unsigned x) {{\n")
            for j in range(12):
                file.write(f"  x = x * 31 + table{j}[x % 8];\n")
            file.write(f"  return x;\n}}\n")
        with open(f"{top}/doc/part{i}.txt", "w") as file:
            file.write(" ".join(chance.choice(("set", "brick", "log", "mark")) for _ in range(chance.randrange(2000))) + "\n")
    with open(f"{top}/src/main.c", "w") as file:
        file.write("#include <stdio.h>\n" + "".join(f'#include "part{i}.h"\n' for i in range(parts) if i % 50 == 0))
        file.write("int main(void) {\n  unsigned x = 1;\n" + "".join(f"  x = part{i}(x);\n" for i in range(parts) if i % 50 == 0))
        file.write('  printf("%u\\n", x);\n  return 0;\n}\n')
    with open(f"{top}/Makefile", "w") as file:
        file.write("objects := $(patsubst src/%.c,obj/%.o,$(wildcard src/*.c))\n"
                   "program: $(objects)\n\tcc -o $@ $^\n"
                   "obj/%.o: src/%.c\n\t@mkdir -p obj\n\tcc -MMD -c -o $@ $<\n"
                   "clean:\n\trm -rf obj program\n"
                   "-include $(objects:.o=.d)\n")


main(sys.argv[1], int(sys.argv[2]))
