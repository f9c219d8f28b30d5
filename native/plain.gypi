# SPDX-License-Identifier: Apache-2.0
# For targets that know nothing of node: neither its include folders (which hold a zlib.h, a uv.h...) nor its macros.
{
  "include_dirs/": [["exclude", "."]],
  "defines/": [["exclude", "NODE|V8|UV_|OPENSSL"]],
}
