// SPDX-License-Identifier: Apache-2.0
// Descriptors: pipes, files, directories, locks, duplication and limits, as numbers and errors.
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include "report.h"

static char directory[] = "/tmp/km-files-XXXXXX";

static void pipes(void) {
  int fds[2];
  must(pipe2(fds, O_CLOEXEC | O_NONBLOCK) == 0, "pipe2");
  char byte;
  result("read of an empty pipe", read(fds[0], &byte, 1));
  show("flags", "%d %d", fcntl(fds[0], F_GETFD), (fcntl(fds[0], F_GETFL) & O_NONBLOCK) != 0);
  struct iovec parts[3] = {{"ab", 2}, {"", 0}, {"cde", 3}};
  result("writev", writev(fds[1], parts, 3));
  int waiting = 0;
  ioctl(fds[0], FIONREAD, &waiting);
  show("FIONREAD", "%d", waiting);
  char left[3], right[8] = "";
  struct iovec into[2] = {{left, 2}, {right, 8}};
  result("readv", readv(fds[0], into, 2));
  show("pieces", "%.2s %.3s", left, right);
  result("writev, too many", writev(fds[1], hidden(parts), 5000));
  static char block[4096];
  long total = 0, n;
  while ((n = write(fds[1], block, sizeof block)) > 0) total += n;
  show("capacity", "%ld, then %s", total, strerrorname_np(errno));
  int other[2];
  must(pipe(other) == 0, "pipe");
  result("splice", splice(fds[0], NULL, other[1], NULL, 10000, 0));
  result("tee", tee(fds[0], other[1], 100, 0));
  result("pipe size", fcntl(other[0], F_SETPIPE_SZ, 4096) >= 4096 ? 0 : -1);
  close(fds[1]);
  while ((n = read(fds[0], block, sizeof block)) > 0) {
  }
  show("end of file", "%ld", n);
  close(fds[0]);
  signal(SIGPIPE, SIG_IGN);
  close(other[0]);
  result("write without readers", write(other[1], "x", 1));
  close(other[1]);
  result("bad pointer", pipe(hidden((void*)8)));
}

static void files(void) {
  result("open, missing", open("missing", O_RDONLY));
  const int fd = open("file", O_RDWR | O_CREAT | O_EXCL, 0640);
  succeeds("create", fd);
  result("create again", open("file", O_RDWR | O_CREAT | O_EXCL, 0640));
  result("write", write(fd, "0123456789", 10));
  result("pwrite", pwrite(fd, "AB", 2, 20));
  result("lseek to the end", lseek(fd, 0, SEEK_END));
  result("lseek to data", lseek(fd, 0, SEEK_DATA));
  result("lseek to nowhere", lseek(fd, -1, SEEK_SET));
  char text[32] = "";
  result("pread", pread(fd, text, 5, 3));
  show("text", "%s", text);
  struct iovec parts[2] = {{text, 4}, {text + 4, 4}};
  result("preadv", preadv(fd, parts, 2, 0));
  result("preadv2", preadv2(fd, parts, 2, 0, 0));
  result("pwritev", pwritev(fd, parts, 2, 4));
  result("ftruncate", ftruncate(fd, 15));
  result("fallocate", fallocate(fd, 0, 0, 10000));
  result("fsync", fsync(fd));
  struct stat st;
  fstat(fd, &st);
  show("fstat", "size %ld mode %o links %lu", (long)st.st_size, st.st_mode, (unsigned long)st.st_nlink);
  struct statx sx;
  result("statx", statx(AT_FDCWD, "file", 0, STATX_SIZE, &sx));
  show("size", "%llu", sx.stx_size);
  result("link", link("file", "second"));
  result("rename", rename("second", "third"));
  result("renameat2, exists", renameat2(AT_FDCWD, "third", AT_FDCWD, "file", RENAME_NOREPLACE));
  result("symlink", symlink("third", "soft"));
  char target[16] = "";
  result("readlink", readlink("soft", target, sizeof target));
  result("open, no links", open("soft", O_RDONLY | O_NOFOLLOW));
  result("chmod", chmod("file", 0600));
  result("access", access("file", R_OK | W_OK));
  result("access, not there", access("none", F_OK));
  struct timespec times[2] = {{1000000000, 123456789}, {1100000000, 987654321}};
  result("utimensat", utimensat(AT_FDCWD, "file", times, 0));
  stat("file", &st);
  show("times", "%ld.%09ld %ld.%09ld", (long)st.st_atim.tv_sec, st.st_atim.tv_nsec, (long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
  const int copy = open("copy", O_RDWR | O_CREAT, 0600);
  off_t from = 2;
  result("sendfile", sendfile(copy, fd, &from, 5));
  show("offset", "%ld", (long)from);
  off64_t in = 0;
  result("copy_file_range", copy_file_range(fd, &in, copy, NULL, 7, 0));
  result("truncate", truncate("copy", 3));
  result("unlink", unlink("copy"));
  result("unlink again", unlink("copy"));
  close(copy);
  const int unnamed = open(".", O_TMPFILE | O_RDWR, 0600);
  result("O_TMPFILE", unnamed < 0 ? -1 : 0);
  close(unnamed);
  close(fd);
}

static int by_name(const struct dirent** a, const struct dirent** b) { return strcmp((*a)->d_name, (*b)->d_name); }

static void directories(void) {
  result("mkdir", mkdir("sub", 0755));
  result("mkdir again", mkdir("sub", 0755));
  for (int i = 0; i < 200; i++) {
    char name[32];
    snprintf(name, sizeof name, "sub/%03d", i);
    close(open(name, O_CREAT | O_WRONLY, 0600));
  }
  struct dirent** entries;
  const int n = scandir("sub", &entries, NULL, by_name);
  show("entries", "%d, %s .. %s", n, entries[2]->d_name, entries[n - 1]->d_name);
  result("rmdir, not empty", rmdir("sub"));
  const int fd = open("sub", O_RDONLY | O_DIRECTORY);
  for (int i = 0; i < 200; i++) {
    char name[32];
    snprintf(name, sizeof name, "%03d", i);
    if (unlinkat(fd, name, 0) != 0) result("unlinkat", -1);
  }
  result("fchdir", fchdir(fd));
  char where[256] = "";
  must(getcwd(where, sizeof where) != NULL, "getcwd");
  show("where", "%s", strrchr(where, '/'));
  result("chdir", chdir(".."));
  result("read of a directory", read(fd, where, 1));
  close(fd);
  result("rmdir", rmdir("sub"));
  result("open, not a directory", open("file", O_RDONLY | O_DIRECTORY));
  struct statvfs vfs;
  result("statvfs", statvfs(".", &vfs));
  result("umask", umask(022) == umask(022) ? 0 : 0);
}

static void duplicates(void) {
  const int fd = open("file", O_RDONLY);
  const int low = dup(fd);
  check(low > fd, "dup gives a higher one");
  result("dup2", dup2(fd, 100));
  result("dup2 onto itself", dup2(fd, fd) == fd ? 0 : -1);
  result("dup3 onto itself", dup3(fd, fd, 0));
  result("dup3", dup3(fd, 101, O_CLOEXEC));
  show("close-on-exec", "%d %d", fcntl(100, F_GETFD), fcntl(101, F_GETFD));
  result("F_DUPFD", fcntl(fd, F_DUPFD, 100));
  result("F_DUPFD_CLOEXEC", fcntl(fd, F_DUPFD_CLOEXEC, 150));
  result("dup2 to a high number", dup2(fd, 900));
  result("dup2 to -1", dup2(fd, -1));
  result("dup2 beyond the limit", dup2(fd, 1 << 24));
  lseek(fd, 4, SEEK_SET);
  show("they share the position", "%ld", (long)lseek(100, 0, SEEK_CUR));
  result("close_range", close_range(100, 1000, 0));
  result("closed", fcntl(100, F_GETFD));
  result("close twice", close(150));
  close(low);
  close(fd);
  struct rlimit limit, old;
  getrlimit(RLIMIT_NOFILE, &old);
  limit = old;
  limit.rlim_cur = 50;
  result("setrlimit", setrlimit(RLIMIT_NOFILE, &limit));
  getrlimit(RLIMIT_NOFILE, &limit);
  show("RLIMIT_NOFILE reads back", "%lu", (unsigned long)limit.rlim_cur);
  int last = -1, error = 0;
  for (int i = 0; i < 100; i++) {
    const int next = open("file", O_RDONLY);
    if (next < 0) {
      error = errno;
      break;
    }
    last = next;
  }
  show("descriptors until", "%d, then %s", last, strerrorname_np(error));
  close_range(5, 60, 0);
  setrlimit(RLIMIT_NOFILE, &old);
}

static void locks(void) {
  const int fd = open("file", O_RDWR);
  struct flock lock = {.l_type = F_WRLCK, .l_start = 0, .l_len = 10};
  result("F_SETLK", fcntl(fd, F_SETLK, &lock));
  fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    struct flock other = {.l_type = F_WRLCK, .l_start = 5, .l_len = 10};
    const int refused = fcntl(fd, F_SETLK, &other) == -1 && (errno == EAGAIN || errno == EACCES);
    other.l_type = F_WRLCK;
    fcntl(fd, F_GETLK, &other);
    _exit(refused && other.l_pid == getppid() ? 1 : 2);
  }
  int status;
  waitpid(child, &status, 0);
  show("a child is refused and told whose it is", "%d", WEXITSTATUS(status));
  close(fd);
}

static void watching(void) {
  const int fd = inotify_init1(IN_NONBLOCK);
  result("inotify_add_watch", inotify_add_watch(fd, ".", IN_CREATE | IN_DELETE) > 0 ? 0 : -1);
  close(open("watched", O_CREAT | O_WRONLY, 0600));
  unlink("watched");
  char buffer[4096] __attribute__((aligned(8)));
  const long n = read(fd, buffer, sizeof buffer);
  for (long at = 0; at < n;) {
    const struct inotify_event* event = (void*)(buffer + at);
    show("event", "%x %s", event->mask, event->name);
    at += (long)sizeof *event + event->len;
  }
  close(fd);
}

static void bad_pointers(void) {
  const int fd = open("file", O_RDWR);
  result("read into nothing", read(fd, hidden((void*)8), 10));
  result("write from nothing", write(fd, hidden((void*)8), 10));
  result("write from the kernel half", write(fd, (void*)0xffff800000000000, 10));
  result("stat into nothing", stat("file", hidden((void*)8)));
  result("open of nothing", open(hidden((void*)8), O_RDONLY));
  result("open of a null name", syscall(SYS_open, NULL, 0));
  result("bad descriptor", read(77, NULL, 0));
  result("negative descriptor", write(-1, "x", 1));
  result("huge count", syscall(SYS_read, fd, 0x10000000, -1L));
  result("unknown ioctl", ioctl(fd, 0x12345678, 0));
  char long_name[5000];
  memset(long_name, 'x', sizeof long_name - 1);
  long_name[sizeof long_name - 1] = 0;
  result("long name", open(long_name, O_RDONLY));
  close(fd);
}

static void memory_files(void) {
  const int fd = memfd_create("memory", MFD_ALLOW_SEALING | MFD_CLOEXEC);
  succeeds("memfd_create", fd);
  result("write", write(fd, "hello", 5));
  result("seal", fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW));
  result("write to a sealed one", write(fd, "x", 1));
  result("seals", fcntl(fd, F_GET_SEALS));
  close(fd);
}

int main(void) {
  must(mkdtemp(directory) != NULL && chdir(directory) == 0, "mkdtemp");
  pipes();
  files();
  directories();
  duplicates();
  locks();
  watching();
  bad_pointers();
  memory_files();
  static const char* const kLeft[] = {"file", "third", "soft"};
  for (size_t i = 0; i < sizeof kLeft / sizeof kLeft[0]; i++) unlink(kLeft[i]);
  result("everything removed", rmdir(directory));
  return finish();
}
