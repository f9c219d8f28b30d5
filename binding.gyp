# SPDX-License-Identifier: Apache-2.0
# One library (kontain_core) and two doors: the `km` executable and the Node addon. Source lists are globs
# (scripts/sources.mjs), so a new file needs no edit here. Flags: native/flags.gypi; plain.gypi is for what
# must not see node.
{
  "variables": { "openssl_fips": "" },
  "targets": [
    {
      "target_name": "kontain_core",
      "type": "static_library",
      "includes": ["native/flags.gypi", "native/plain.gypi"],
      "sources": ["<!@(node scripts/sources.mjs core)"],
    },
  ],
  "conditions": [
    ["'<!(node scripts/sources.mjs --has km)'=='yes'", {
      "targets": [
        {
          "target_name": "km",
          "type": "executable",
          "includes": ["native/flags.gypi", "native/plain.gypi"],
          "dependencies": ["kontain_core"],
          "defines": [
            "KM_VERSION=\"<!(node scripts/version.mjs version)\"",
            "KM_BRANCH=\"<!(node scripts/version.mjs branch)\"",
            "KM_SHA=\"<!(node scripts/version.mjs sha)\"",
          ],
          "sources": ["<!@(node scripts/sources.mjs km)"],
          # One file without dependencies: it is bind-mounted into containers built FROM scratch. (No -static-libstdc++:
          # g++ answers it with -Bdynamic for what follows, and the static-pie gets a libc.so it has no loader for.)
          "ldflags": [
            "-static-pie",
            "-Wl,--gc-sections", "-Wl,-z,relro,-z,now", "-Wl,-z,noexecstack", "-Wl,--build-id",
          ],
        },
      ],
    }],
    ["'<!(node scripts/sources.mjs --has binding)'=='yes'", {
      "targets": [
        {
          "target_name": "kontain_native",
          "type": "loadable_module",
          "includes": ["native/flags.gypi"],
          "dependencies": ["kontain_core"],
          "sources": ["<!@(node scripts/sources.mjs binding)"],
          "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")"],
          "defines": ["NAPI_VERSION=8", "NAPI_DISABLE_CPP_EXCEPTIONS"],
          # The core's names stay inside: node has its own copies of many.
          "ldflags": ["-Wl,--exclude-libs,ALL", "-Wl,--gc-sections", "-Wl,-z,relro,-z,now"],
        },
      ],
    }],
  ],
}
