// SPDX-License-Identifier: Apache-2.0
// openat2(2): each way to restrict how a path is walked, against links, mounts, .. and /proc's magic links; and what it
// says about structures and flags that it does not know.
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "report.h"

static int root;

static long open_how(int dirfd, const char* path, uint64_t flags, uint64_t resolve) {
  struct open_how how = {.flags = flags, .resolve = resolve};
  return syscall(SYS_openat2, dirfd, path, &how, sizeof how);
}

/// "ok" and the first bytes of what was opened, or the error.
static void try(const char* path, const char* rule, uint64_t resolve) {
  char what[128], text[16] = "";
  snprintf(what, sizeof what, "%s, %s", path, rule);
  const long fd = open_how(root, path, O_RDONLY | O_NONBLOCK, resolve);
  if (fd < 0) {
    result(what, fd);
    return;
  }
  const ssize_t got = read((int)fd, text, sizeof text - 1);
  show(what, "opened '%s'%s", text, got < 0 ? strerrorname_np(errno) : "");
  close((int)fd);
}

static const struct {
  const char* name;
  uint64_t resolve;
} rules[] = {{"free", 0}, {"no links", RESOLVE_NO_SYMLINKS}, {"no magic links", RESOLVE_NO_MAGICLINKS},
             {"no mounts", RESOLVE_NO_XDEV}, {"beneath", RESOLVE_BENEATH}, {"in root", RESOLVE_IN_ROOT},
             {"in root and beneath", RESOLVE_IN_ROOT | RESOLVE_BENEATH}, {"an unknown rule", 1u << 20}};

static void make_tree(void) {
  must(mkdir("root", 0700) == 0 && mkdir("root/inner", 0700) == 0, "mkdir");
  for (const char* const* name = (const char* const[]){"outside", "root/file", "root/inner/file", NULL}; *name; name++) {
    const int fd = open(*name, O_WRONLY | O_CREAT | O_EXCL, 0600);
    must(fd >= 0 && write(fd, *name, strlen(*name)) > 0, "a file");
    close(fd);
  }
  must(symlink("file", "root/link") == 0 && symlink("../outside", "root/out") == 0 &&
           symlink("/file", "root/absolute") == 0 && symlink("inner", "root/folder") == 0 &&
           symlink("loop", "root/loop") == 0,
       "links");
  must((root = open("root", O_PATH | O_DIRECTORY)) >= 0, "root");
}

static void structures(void) {
  struct {
    struct open_how how;
    uint64_t more[2];
  } large = {.how = {.flags = O_RDONLY}};
  result("a larger structure, zeros behind", succeeds("opened", syscall(SYS_openat2, root, "file", &large, sizeof large)) >= 0);
  large.more[1] = 1;
  result("a larger structure, more behind", syscall(SYS_openat2, root, "file", &large, sizeof large));
  result("a smaller one", syscall(SYS_openat2, root, "file", &large, sizeof large.how - 8));
  result("more than a page", syscall(SYS_openat2, root, "file", &large, 8192));
  result("nowhere", syscall(SYS_openat2, root, "file", (void*)8, sizeof large.how));
  result("an unknown flag", open_how(root, "file", 1ull << 40, 0));
  struct open_how how = {.flags = O_RDONLY, .mode = 0600};
  result("a mode without O_CREAT", syscall(SYS_openat2, root, "file", &how, sizeof how));
  how = (struct open_how){.flags = O_CREAT | O_WRONLY, .mode = 010000};
  result("a mode that is none", syscall(SYS_openat2, root, "new", &how, sizeof how));
  how = (struct open_how){.flags = O_CREAT | O_WRONLY | O_CLOEXEC, .mode = 0640};
  const long fd = syscall(SYS_openat2, root, "new", &how, sizeof how);
  struct stat st;
  check(fd >= 0 && fstat((int)fd, &st) == 0 && (st.st_mode & 07777) == 0640, "a new file");
  show("close-on-exec", "%d", fcntl((int)fd, F_GETFD));
  how = (struct open_how){.flags = O_RDONLY, .resolve = RESOLVE_CACHED};
  must(open_how(root, "file", O_RDONLY, 0) >= 0, "warm");
  check(syscall(SYS_openat2, root, "file", &how, sizeof how) >= 0 || errno == EAGAIN || errno == EINVAL, "what is cached");
  how.flags = O_TMPFILE | O_RDWR;
  how.mode = 0600;
  result("cached and a new one", syscall(SYS_openat2, root, ".", &how, sizeof how));
}

int main(void) {
  char folder[] = "resolve-XXXXXX";
  must(mkdtemp(folder) != NULL && chdir(folder) == 0, "mkdtemp");
  umask(0);
  make_tree();
  static const char* const kPaths[] = {"file", "link", "out", "absolute", "folder/file", "loop", "inner/../file", "../outside",
                                       "inner/../../outside", "/file", "", "missing", "file/x", "/proc/self/cmdline",
                                       "/proc/self/fd/0", "/proc/self/cwd/outside", "/proc/self/root/proc/self/comm"};
  for (size_t i = 0; i < sizeof kPaths / sizeof kPaths[0]; i++) {
    if (kPaths[i][0] == '/' && strstr(kPaths[i], "cmdline") != NULL) continue;  // the program's path differs by run
    for (size_t rule = 0; rule < sizeof rules / sizeof rules[0]; rule++) try(kPaths[i], rules[rule].name, rules[rule].resolve);
  }
  structures();
  must(chdir("..") == 0, "chdir");
  char command[64];
  snprintf(command, sizeof command, "rm -rf %s", folder);
  must(system(command) == 0, "rm");
  return finish();
}
