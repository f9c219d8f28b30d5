// SPDX-License-Identifier: Apache-2.0
// Shared memory, semaphores, message queues, futexes, keys, asynchronous I/O.
#include <linux/aio_abi.h>
#include <linux/futex.h>
#include <linux/keyctl.h>
#include <mqueue.h>
#include <pthread.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <time.h>

#include "newer.h"
#include "say.h"

static void shared_memory(void) {
  struct shmid_ds info;
  int id = OK(shmget, IPC_PRIVATE, 8192, IPC_CREAT | 0600);
  char *p = (char *)RAW(shmat, id, 0, 0);
  line("shmat %s", p == (char *)-1 ? strerrorname_np(errno) : "ok");
  strcpy(p, "shared");
  char *q = (char *)RAW(shmat, id, 0, SHM_RDONLY);
  line("second view '%s' elsewhere %d", q, p != q);
  pid_t pid = fork();
  if (pid == 0) {
    strcpy(p + 4096, "child was here");
    _exit(0);
  }
  wait_for(pid);
  line("'%s'", q + 4096);
  DO(shmctl, id, IPC_STAT, &info);
  line("size %zu attached %d", info.shm_segsz, (int)info.shm_nattch);
  DO(shmdt, q);
  DO(shmdt, q);
  DO(shmdt, p + 16);
  DO(shmctl, id, IPC_STAT, &info);
  line("attached %d", (int)info.shm_nattch);
  DO(shmctl, id, IPC_RMID, NULL);
  DO(shmdt, p);
  DO(shmat, 99999999, 0, 0);
}

static void semaphores(void) {
  struct sembuf up = {0, 2, 0}, down = {0, -1, IPC_NOWAIT};
  struct timespec soon = {0, 1000000};
  unsigned short all[3] = {9, 9, 9};
  struct semid_ds info;
  int id = OK(semget, IPC_PRIVATE, 3, IPC_CREAT | 0600);
  DO(semop, id, &up, 1);
  DO(semop, id, &down, 1);
  DO(semctl, id, 0, GETVAL, 0);
  DO(semctl, id, 1, SETVAL, 5);
  DO(semctl, id, 0, GETALL, all);
  line("values %d %d %d", all[0], all[1], all[2]);
  DO(semctl, id, 0, IPC_STAT, &info);
  line("count %d", (int)info.sem_nsems);
  down.sem_flg = 0;
  down.sem_num = 2;
  DO(semtimedop, id, &down, 1, &soon);
  DO(semop, id, (void *)8, 1);
  DO(semctl, id, 0, IPC_RMID, 0);
}

static void messages(void) {
  struct { long type; char text[16]; } message = {3, "hello"};
  struct msqid_ds info;
  int id = OK(msgget, IPC_PRIVATE, IPC_CREAT | 0600);
  DO(msgsnd, id, &message, 6, 0);
  message.type = 4;
  DO(msgsnd, id, &message, 6, 0);
  DO(msgctl, id, IPC_STAT, &info);
  line("queued %d", (int)info.msg_qnum);
  DO(msgrcv, id, &message, 16, 4, 0);
  line("type %ld '%s'", message.type, message.text);
  DO(msgrcv, id, &message, 16, 4, IPC_NOWAIT);
  DO(msgctl, id, IPC_RMID, NULL);
}

static void posix_queues(void) {
  char name[32], text[8192];
  unsigned priority = 0;
  struct mq_attr attr = {.mq_maxmsg = 4, .mq_msgsize = 64}, old;
  struct timespec past = {1, 0};
  snprintf(name, sizeof name, "kontain-%d", getpid());
  int fd = OK(mq_open, name, O_RDWR | O_CREAT | O_EXCL, 0600, &attr);
  DO(mq_notify, fd, NULL);
  struct { uint64_t value; int signo, notify; char rest[48]; } event = {.signo = SIGUSR1, .notify = SIGEV_NONE};
  DO(mq_notify, fd, &event);
  DO(mq_timedsend, fd, "message", 7, 5, NULL);
  DO(mq_timedreceive, fd, text, sizeof text, &priority, NULL);
  line("'%.7s' priority %u", text, priority);
  DO(mq_timedreceive, fd, text, sizeof text, &priority, &past);
  DO(mq_getsetattr, fd, NULL, &old);
  line("most %ld size %ld", old.mq_maxmsg, old.mq_msgsize);
  DO(mq_unlink, name);
  DO(mq_unlink, name);
  close(fd);
}

static void futexes(void) {
  uint32_t word = 5, other = 0;
  struct timespec soon = {0, 1000000};
  DO(futex, &word, FUTEX_WAIT, 4, NULL, NULL, 0);
  DO(futex, &word, FUTEX_WAIT, 5, &soon, NULL, 0);
  DO(futex, &word, FUTEX_WAKE, 1, NULL, NULL, 0);
  DO(futex, &word, FUTEX_CMP_REQUEUE, 1, 1, &other, 5);
  DO(futex, &word, FUTEX_WAIT, 5, (void *)8, NULL, 0);
  DO(futex, (void *)8, FUTEX_WAKE, 1, NULL, NULL, 0);
  struct { uint64_t value, address; uint32_t flags, reserved; } waiters[2] = {
      {5, (uint64_t)&word, 2, 0}, {1, (uint64_t)&other, 2, 0}};
  DO(futex_waitv, waiters, 2, 0, NULL, CLOCK_MONOTONIC);
  DO(futex_waitv, waiters, 0, 0, NULL, CLOCK_MONOTONIC);
  DO(futex_wake, &word, 0xfffffffful, 1, 2);
  DO(futex_wait, &word, 4ul, 0xfffffffful, 2, NULL, CLOCK_MONOTONIC);
  DO(futex_requeue, waiters, 0, 1, 1);
}

static pthread_mutex_t robust;

static void *dies_with_lock(void *unused) {
  pthread_mutex_lock(&robust);
  return unused;
}

static void *waits_for_lock(void *unused) {
  line("waiter: %s", strerrorname_np(pthread_mutex_lock(&robust)));
  pthread_mutex_consistent(&robust);
  pthread_mutex_unlock(&robust);
  return unused;
}

static void *dies_watched(void *unused) {
  pthread_mutex_lock(&robust);
  usleep(200000);
  return unused;
}

/// A lock whose owner ends without giving it back: set_robust_list(2).
static void robust_locks(void) {
  pthread_t thread, waiter;
  pthread_mutexattr_t attr;
  pthread_mutexattr_init(&attr);
  pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
  pthread_mutex_init(&robust, &attr);
  pthread_create(&thread, NULL, dies_with_lock, NULL);
  pthread_join(thread, NULL);
  line("after: %s", strerrorname_np(pthread_mutex_lock(&robust)));
  line("again: %d", pthread_mutex_consistent(&robust));
  pthread_mutex_unlock(&robust);
  pthread_create(&thread, NULL, dies_watched, NULL);
  usleep(50000);
  pthread_create(&waiter, NULL, waits_for_lock, NULL);
  pthread_join(thread, NULL);
  pthread_join(waiter, NULL);
}

static void keys(void) {
  char text[64] = "";
  OK(keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL, 0, 0, 0);
  int id = OK(add_key, "user", "kontain:test", "secret", 6, KEY_SPEC_SESSION_KEYRING);
  OK(request_key, "user", "kontain:test", NULL, 0);
  if (id > 0) {
    DO(keyctl, KEYCTL_READ, id, text, sizeof text, 0);
    line("'%s'", text);
    DO(keyctl, KEYCTL_REVOKE, id, 0, 0, 0);
  }
  DO(keyctl, 9999, 0, 0, 0, 0);
}

static void asynchronous(void) {
  aio_context_t context = 0;
  char out[16] = "asynchronously", in[16] = "";
  struct iocb write_cb = {.aio_data = 11, .aio_lio_opcode = IOCB_CMD_PWRITE, .aio_buf = (uint64_t)out, .aio_nbytes = 14};
  struct iocb read_cb = {.aio_data = 22, .aio_lio_opcode = IOCB_CMD_PREAD, .aio_buf = (uint64_t)in, .aio_nbytes = 14};
  struct iocb *list[2] = {&write_cb, NULL};
  struct io_event events[4];
  struct timespec soon = {2, 0}, now = {0, 0};
  int fd = open("async", O_RDWR | O_CREAT, 0600);
  write_cb.aio_fildes = read_cb.aio_fildes = fd;
  DO(io_setup, 8, &context);
  line("context %d", context != 0);
  DO(io_submit, context, 1, list);
  DO(io_getevents, context, 1, 4, events, &soon);
  line("data %d result %d own iocb %d", (int)events[0].data, (int)events[0].res, events[0].obj == (uint64_t)&write_cb);
  list[0] = &read_cb;
  DO(io_submit, context, 1, list);
  DO(io_pgetevents, context, 1, 4, events, &soon, NULL);
  line("data %d result %d '%s'", (int)events[0].data, (int)events[0].res, in);
  DO(io_getevents, context, 0, 4, events, &now);
  read_cb.aio_buf = 8;
  DO(io_submit, context, 1, list);
  if (RAW(io_getevents, context, 0, 4, events, &now) == 1) line("result %d", (int)events[0].res);
  read_cb.aio_fildes = 99;
  DO(io_submit, context, 1, list);
  DO(io_submit, context, 1, (void *)8);
  DO(io_cancel, context, &write_cb, events);
  int ends[2];
  pipe(ends);
  struct iocb poll_cb = {.aio_data = 33, .aio_lio_opcode = 5 /* POLL */, .aio_fildes = ends[0], .aio_buf = 1 /* POLLIN */};
  list[0] = &poll_cb;
  DO(io_submit, context, 1, list);
  DO(io_cancel, context, &poll_cb, events);
  DO(io_getevents, context, 1, 4, events, &soon);
  line("data %d", (int)events[0].data);
  close(ends[0]);
  close(ends[1]);
  DO(io_setup, 8, &context);
  DO(io_destroy, context);
  DO(io_destroy, context);
  close(fd);
}

int main(void) {
  shared_memory();
  semaphores();
  messages();
  posix_queues();
  futexes();
  robust_locks();
  keys();
  asynchronous();
  return 0;
}
