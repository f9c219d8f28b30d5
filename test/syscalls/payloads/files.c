// SPDX-License-Identifier: Apache-2.0
// Calls that name files.
#include <dirent.h>
#include <sys/inotify.h>
#include <sys/statfs.h>
#include <sys/time.h>
#include <sys/xattr.h>
#include <utime.h>

#include "newer.h"
#include "say.h"

static void show_stat(const char *what, const struct stat *st) {
  line("%s mode %o size %ld links %ld", what, st->st_mode, (long)st->st_size, (long)st->st_nlink);
}

static void open_and_stat(void) {
  struct stat st;
  struct statx sx;
  struct statfs fs;
  DO(creat, "a", 0640);
  DO(write, 3, "hello", 5);
  DO(close, 3);
  DO(open, "a", O_RDWR | O_APPEND, 0);
  DO(write, 3, " world", 6);
  DO(fstat, 3, &st);
  show_stat("fstat", &st);
  DO(close, 3);
  DO(openat, AT_FDCWD, "missing", O_RDONLY);
  DO(openat, AT_FDCWD, "a", O_CREAT | O_EXCL | O_WRONLY, 0600);
  DO(openat, AT_FDCWD, "a", O_DIRECTORY);
  DO(openat, 77, "a", O_RDONLY);
  DO(openat, AT_FDCWD, NULL, O_RDONLY);
  DOR("flags openat2 would refuse", openat, AT_FDCWD, "a", O_RDONLY | 0x40000000, 0);
  DO(close, 3);
  struct { uint64_t flags, mode, resolve; } how = {O_RDONLY, 0, 0};
  DO(openat2, AT_FDCWD, "a", &how, sizeof how);
  DO(close, 3);
  how.mode = 0600;
  DOR("mode without O_CREAT", openat2, AT_FDCWD, "a", &how, sizeof how);
  DOR("short", openat2, AT_FDCWD, "a", &how, 8);
  DO(stat, "a", &st);
  show_stat("stat", &st);
  DO(symlink, "a", "link");
  DO(lstat, "link", &st);
  show_stat("lstat", &st);
  DO(newfstatat, AT_FDCWD, "link", &st, 0);
  show_stat("newfstatat", &st);
  DO(newfstatat, AT_FDCWD, "link", &st, AT_SYMLINK_NOFOLLOW);
  show_stat("newfstatat", &st);
  DO(statx, AT_FDCWD, "a", 0, STATX_BASIC_STATS, &sx);
  line("statx mode %o size %ld", sx.stx_mode, (long)sx.stx_size);
  DO(statfs, ".", &fs);
  DO(open, "a", O_RDONLY);
  DO(fstatfs, 3, &fs);
  line("fstatfs bsize %ld", (long)fs.f_bsize);
  DO(close, 3);
  OK(ustat, st.st_dev, (char[32]){0});
}

static void links_and_names(void) {
  char text[64] = "";
  DO(link, "a", "b");
  DO(linkat, AT_FDCWD, "a", AT_FDCWD, "c", 0);
  DO(symlinkat, "b", AT_FDCWD, "link2");
  long n = DO(readlink, "link2", text, sizeof text);
  line("readlink '%.*s'", (int)n, text);
  n = DO(readlinkat, AT_FDCWD, "link", text, sizeof text);
  line("readlinkat '%.*s'", (int)n, text);
  DOR("size 0", readlinkat, AT_FDCWD, "link", text, 0);
  DOR("not a link", readlink, "a", text, sizeof text);
  DO(rename, "b", "b2");
  DO(renameat, AT_FDCWD, "b2", AT_FDCWD, "b3");
  DO(renameat2, AT_FDCWD, "b3", AT_FDCWD, "a", 1 /* RENAME_NOREPLACE */);
  DO(renameat2, AT_FDCWD, "b3", AT_FDCWD, "c", 2 /* RENAME_EXCHANGE */);
  DO(unlink, "b3");
  DO(unlinkat, AT_FDCWD, "c", 0);
  DO(unlinkat, AT_FDCWD, "c", 0);
  DO(mkdir, "d", 0755);
  DO(mkdirat, AT_FDCWD, "d/e", 0700);
  DO(rmdir, "d");
  DO(unlinkat, AT_FDCWD, "d/e", AT_REMOVEDIR);
  DO(rmdir, "d");
  DO(mknod, "fifo", S_IFIFO | 0600, 0);
  DO(mknodat, AT_FDCWD, "fifo2", S_IFIFO | 0600, 0);
  DO(mknodat, AT_FDCWD, "fifo2", S_IFIFO | 0600, 0);
}

static void rights_and_times(void) {
  struct stat st;
  DO(chmod, "a", 0600);
  DO(fchmodat, AT_FDCWD, "a", 0644);
  DO(fchmodat2, AT_FDCWD, "a", 0640, 0);
  DO(open, "a", O_RDWR);
  DO(fchmod, 3, 0666);
  DO(fchown, 3, -1, -1);
  DO(chown, "a", -1, -1);
  DO(lchown, "link", -1, -1);
  DO(fchownat, AT_FDCWD, "a", -1, -1, AT_SYMLINK_NOFOLLOW);
  DO(umask, 022);
  DO(umask, 077);
  DO(umask, 022);
  DO(access, "a", R_OK);
  DO(access, "nothing", F_OK);
  DO(faccessat, AT_FDCWD, "a", W_OK);
  DO(faccessat2, AT_FDCWD, "a", R_OK | W_OK, AT_EACCESS);
  DO(truncate, "a", 100);
  DO(ftruncate, 3, 20);
  DO(fallocate, 3, 0, 0, 8192);
  DO(fstat, 3, &st);
  show_stat("fstat", &st);
  struct utimbuf ub = {1000, 2000};
  DO(utime, "a", &ub);
  DO(stat, "a", &st);
  line("mtime %ld", (long)st.st_mtime);
  struct timeval tv[2] = {{3000, 0}, {4000, 5}};
  DO(utimes, "a", tv);
  DO(futimesat, AT_FDCWD, "a", tv);
  struct timespec ts[2] = {{5000, 1}, {6000, 7}};
  DO(utimensat, AT_FDCWD, "a", ts, 0);
  DO(stat, "a", &st);
  line("mtime %ld.%09ld", (long)st.st_mtime, (long)st.st_mtim.tv_nsec);
  DO(close, 3);
}

static void attributes(void) {
  char value[32] = "";
  DO(setxattr, "a", "user.one", "1", 1, 0);
  DO(lsetxattr, "a", "user.two", "22", 2, 0);
  DO(open, "a", O_RDWR);
  DO(fsetxattr, 3, "user.three", "333", 3, 0);
  DO(getxattr, "a", "user.three", value, sizeof value);
  DO(lgetxattr, "a", "user.one", value, sizeof value);
  DO(fgetxattr, 3, "user.two", value, sizeof value);
  line("value '%.2s'", value);
  DOR("too short", fgetxattr, 3, "user.three", value, 1);
  OK(listxattr, "a", NULL, 0);
  OK(llistxattr, "a", NULL, 0);
  OK(flistxattr, 3, value, sizeof value);
  DO(removexattr, "a", "user.one");
  DO(lremovexattr, "a", "user.two");
  DO(fremovexattr, 3, "user.three");
  DO(fremovexattr, 3, "user.three");
  struct { uint64_t value; uint32_t size, flags; } at = {(uint64_t) "at", 2, 0};
  DO(setxattrat, AT_FDCWD, "a", 0, "user.at", &at, sizeof at);
  at.value = (uint64_t)value;
  at.size = sizeof value;
  DO(getxattrat, AT_FDCWD, "a", 0, "user.at", &at, sizeof at);
  OK(listxattrat, AT_FDCWD, "a", 0, value, sizeof value);
  DO(removexattrat, AT_FDCWD, "a", 0, "user.at");
  char attr[24] = "";
  DO(file_getattr, AT_FDCWD, "a", attr, sizeof attr, 0);
  DO(file_setattr, AT_FDCWD, "a", attr, sizeof attr, 0);
  DO(close, 3);
}

static int name_order(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/// Prints the names of one getdents call in order; `offset`: of the name in a record.
static void show_entries(const char *bytes, long length, int offset) {
  char *names[64];
  int count = 0;
  for (long at = 0; at < length && count < 64; at += *(const uint16_t *)(bytes + at + 16))
    names[count++] = (char *)bytes + at + offset;
  qsort(names, count, sizeof *names, name_order);
  for (int i = 0; i < count; i++) line("entry %s", names[i]);
}

static void directories(void) {
  static char bytes[8192];
  char cwd[512];
  long n;
  DO(mkdir, "list", 0755);
  close(creat("list/x", 0600));
  close(creat("list/y", 0600));
  DO(open, "list", O_RDONLY | O_DIRECTORY);
  n = OK(getdents64, 3, bytes, sizeof bytes);
  show_entries(bytes, n, 19);
  DO(getdents64, 3, bytes, sizeof bytes);
  DO(lseek, 3, 0, SEEK_SET);
  n = OK(getdents, 3, bytes, sizeof bytes);
  show_entries(bytes, n, 18);
  DO(close, 3);
  OK(open, ".", O_RDONLY);
  DO(chdir, "list");
  OK(getcwd, cwd, sizeof cwd);
  line("cwd ends with %s", strrchr(cwd, '/'));
  DO(fchdir, 3);
  DO(close, 3);
  DO(chdir, "no such place");
  DOR("too short", getcwd, cwd, 1);
}

static void notifications(void) {
  char events[512];
  DO(inotify_init);
  DO(close, 3);
  DO(inotify_init1, IN_NONBLOCK);
  DO(inotify_add_watch, 3, "list", IN_CREATE | IN_DELETE);
  DO(unlink, "list/x");
  DO(read, 3, events, sizeof events);
  DO(inotify_rm_watch, 3, 1);
  DO(inotify_rm_watch, 3, 1);
  DO(close, 3);
  if (OK(fanotify_init, 0x0 /* FAN_CLASS_NOTIF */, O_RDONLY) >= 0) {
    OK(fanotify_mark, 3, 1 /* FAN_MARK_ADD */, 0x20ull /* FAN_OPEN */, AT_FDCWD, "list");
    close(3);
  } else {
    OK(fanotify_mark, 3, 1, 0x20ull, AT_FDCWD, "list");
  }
  struct { unsigned bytes; int type; unsigned char handle[128]; } handle = {128, 0, {0}};
  uint64_t mount = 0;
  OK(name_to_handle_at, AT_FDCWD, "list", &handle, &mount, 0);
  OK(open_by_handle_at, AT_FDCWD, &handle, O_RDONLY);
  close(3);
}

int main(void) {
  umask(022);
  open_and_stat();
  links_and_names();
  rights_and_times();
  attributes();
  directories();
  notifications();
  return 0;
}
