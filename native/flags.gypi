# SPDX-License-Identifier: Apache-2.0
# What every native target is compiled with. gyp adds these lists to those of node's common.gypi and addon.gypi, which
# are for code linked into node; the `name/` filters take out what does not belong here, and bring back -Werror, which
# common.gypi removes from addons.
{
  # C, C++ and assembler alike. Sections and --gc-sections keep `km` small; -fno-plt saves an indirection per call.
  "cflags": [
    "-fPIC", "-pthread", "-O2", "-g", "-Wall", "-Wextra", "-Werror", "-fno-plt", "-ffunction-sections",
    "-fdata-sections", "-fno-omit-frame-pointer", "-ffile-prefix-map=<(module_root_dir)=.",
    # #include "native/driver/driver.h"
    "-iquote", "<(module_root_dir)",
  ],
  "cflags/": [["exclude", "^-O3$"], ["exclude", "^-Wno-unused-parameter$"], ["include", "^-Werror$"]],
  "cflags_cc": ["-std=c++20", "-fno-exceptions", "-fno-rtti"],
  "cflags_cc/": [["exclude", "^-std=gnu"]],
  "defines": ["_GNU_SOURCE"],
  "ldflags/": [["exclude", "^-rdynamic$"]],
}
