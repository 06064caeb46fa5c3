/* A host whose timers and handlers interrupt it all the time: no call fails of it, none is cut short,
 * and no handler runs on a thread that is not the host's. */
#define _GNU_SOURCE
#include "every.h"

#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/time.h>

enum { THREADS = 4, ROUNDS = 3 };

static atomic_int working, arrived[65], foreign;
static _Atomic pid_t ours[THREADS + 3];
static struct worker workers[THREADS];
static pid_t process;

static void blocked(int how)
{
    sigset_t all;
    CHECK(sigfillset(&all) == 0 && pthread_sigmask(how, &all, NULL) == 0);
}

/* From here to resign() the handlers may run on this thread. */
static void enrol(int at)
{
    atomic_store(&ours[at], (pid_t)syscall(SYS_gettid));
    blocked(SIG_UNBLOCK);
}

static void resign(int at)
{
    blocked(SIG_BLOCK);
    atomic_store(&ours[at], 0);
}

static pthread_t start(void *(*body)(void *), void *user)
{
    pthread_t thread;
    blocked(SIG_BLOCK);
    CHECK(pthread_create(&thread, NULL, body, user) == 0);
    blocked(SIG_UNBLOCK);
    return thread;
}

static void handler(int signal)
{
    pid_t here = (pid_t)syscall(SYS_gettid);
    int known = 0;
    for (unsigned at = 0; at < sizeof ours / sizeof *ours; at++)
        known |= atomic_load(&ours[at]) == here;
    if (!known)
        atomic_fetch_add(&foreign, 1);
    atomic_fetch_add(&arrived[signal], 1);
}

static void handle(int signal, int flags)
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    CHECK(sigaction(signal, &action, NULL) == 0);
}

static void *works(void *user)
{
    struct worker *me = user;
    enrol(me->number);
    for (int round = 0; round < ROUNDS; round++)
        call_all(me);
    resign(me->number);
    atomic_fetch_sub(&working, 1);
    return NULL;
}

/* What Go's scheduler does to a thread that runs for long, and a handler that restarts nothing. */
static void *disturbs(void *user)
{
    (void)user;
    enrol(THREADS);
    while (atomic_load(&working)) {
        for (int at = 0; at < THREADS; at++) {
            pid_t thread = atomic_load(&ours[at]);
            if (thread) {
                syscall(SYS_tgkill, process, thread, SIGURG);
                syscall(SYS_tgkill, process, thread, SIGUSR1);
            }
        }
        cancel_waiting();
        usleep(200);
    }
    resign(THREADS);
    return NULL;
}

/* Gives the tar in small pieces, slower than it is read. */
static void *drips(void *user)
{
    int fd = *(int *)user;
    enrol(THREADS + 1);
    for (size_t at = 0; at < tar_size;) {
        size_t most = tar_size - at < 512 ? tar_size - at : 512;
        ssize_t wrote = write(fd, tar + at, most);
        if (wrote < 0 && errno == EINTR)
            continue;
        CHECK(wrote > 0);
        at += (size_t)wrote;
        usleep(500);
    }
    CHECK(close(fd) == 0);
    resign(THREADS + 1);
    return NULL;
}

static void *sips(void *user)
{
    int fd = *(int *)user;
    char part[1024];
    ssize_t got;
    enrol(THREADS + 1);
    while ((got = read(fd, part, sizeof part)) != 0) {
        CHECK(got > 0 || errno == EINTR);
        usleep(100);
    }
    CHECK(close(fd) == 0);
    resign(THREADS + 1);
    return NULL;
}

static int64_t take_slowly(void *user, const void *buf, size_t len)
{
    (void)user, (void)buf;
    usleep(1000);
    return len < 1024 ? (int64_t)len : 1024;
}

static void *reads_slowly(void *user)
{
    struct ovl_diff_opts opts = {.write = take_slowly};
    enrol(THREADS + 1);
    IS(0, ovl_diff(user, "writable", "", -1, &opts, sizeof opts, NULL, 0, &err));
    resign(THREADS + 1);
    return NULL;
}

/* Calls that wait: for a reader, for a writer, for a lock. */
static void waits(struct ovl_store *store)
{
    pthread_t other;
    int ends[2];
    CHECK(pipe2(ends, O_CLOEXEC) == 0);
    other = start(drips, &ends[1]);
    IS(0, ovl_apply_layer(store, "dripped", ends[0], NULL, 0, NULL, 0, &err));
    CHECK(pthread_join(other, NULL) == 0 && close(ends[0]) == 0);
    CHECK(pipe2(ends, O_CLOEXEC) == 0 && fcntl(ends[1], F_SETPIPE_SZ, 4096) > 0);
    other = start(sips, &ends[0]);
    IS(0, ovl_diff(store, "dripped", NULL, ends[1], NULL, 0, NULL, 0, &err));
    CHECK(close(ends[1]) == 0 && pthread_join(other, NULL) == 0);

    struct ovl_apply_opts writable = {.flags = OVL_APPLY_WRITABLE};
    int fd = file_of(dir, tar, tar_size);
    IS(0, ovl_apply_layer(store, "writable", fd, &writable, sizeof writable, NULL, 0, &err));
    CHECK(close(fd) == 0);
    other = start(reads_slowly, store);
    usleep(5000);
    IS(0, ovl_commit(store, "writable", NULL, 0, &err));
    CHECK(pthread_join(other, NULL) == 0);
}

int main(int argc, char **argv)
{
    pthread_t other;
    char home[4200];
    CHECK(argc == 2);
    dir = argv[1];
    int failed = enter();
    if (failed)
        return failed;
    process = getpid();
    snprintf(home, sizeof home, "%s/store", dir);
    struct ovl_store *store = open_with_base(home);
    for (int at = 0; at < THREADS; at++) {
        name_worker(&workers[at], at, home);
        workers[at].store = store;
    }
    enrol(THREADS + 2);
    handle(SIGALRM, 0);
    handle(SIGVTALRM, SA_RESTART);
    handle(SIGUSR1, 0);
    handle(SIGURG, SA_RESTART);
    const struct itimerval often = {{0, 1000}, {0, 1000}};
    CHECK(setitimer(ITIMER_REAL, &often, NULL) == 0);
    CHECK(setitimer(ITIMER_VIRTUAL, &often, NULL) == 0);

    waits(store);
    atomic_store(&working, THREADS);
    for (int at = 0; at < THREADS; at++)
        workers[at].thread = start(works, &workers[at]);
    other = start(disturbs, NULL);
    for (int at = 0; at < THREADS; at++)
        CHECK(pthread_join(workers[at].thread, NULL) == 0);
    CHECK(pthread_join(other, NULL) == 0);

    const struct itimerval never = {{0, 0}, {0, 0}};
    struct itimerval was;
    CHECK(setitimer(ITIMER_REAL, &never, &was) == 0 && was.it_interval.tv_usec == 1000);
    CHECK(setitimer(ITIMER_VIRTUAL, &never, &was) == 0 && was.it_interval.tv_usec == 1000);
    CHECK(atomic_load(&foreign) == 0);
    CHECK(arrived[SIGALRM] > 100 && arrived[SIGURG] > 100 && arrived[SIGUSR1] > 100);
    IS(0, ovl_remove(store, "base", NULL, 0, &err));
    ovl_store_free(store);
    free(tar);
    return 0;
}
