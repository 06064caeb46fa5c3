/* Tars in and out: files, pipes, sockets, callbacks; and what goes wrong with each. */
#define _GNU_SOURCE
#include "check.h"

#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>

static struct ovl_store *store;

struct bytes {
    char *at;
    size_t left, chunk;
    int64_t end; /* what is said when nothing is left */
    pthread_t thread;
};

static int64_t give(void *user, void *buf, size_t len)
{
    struct bytes *bytes = user;
    CHECK(pthread_equal(bytes->thread, pthread_self()));
    CHECK(len > 0);
    size_t n = bytes->left < len ? bytes->left : len;
    if (bytes->chunk && n > bytes->chunk)
        n = bytes->chunk;
    if (n == 0)
        return bytes->end;
    memcpy(buf, bytes->at, n);
    bytes->at += n;
    bytes->left -= n;
    return (int64_t)n;
}

static int64_t take(void *user, const void *buf, size_t len)
{
    struct bytes *bytes = user;
    CHECK(pthread_equal(bytes->thread, pthread_self()));
    CHECK(len > 0);
    size_t n = bytes->left < len ? bytes->left : len;
    if (bytes->chunk && n > bytes->chunk)
        n = bytes->chunk;
    if (n == 0)
        return bytes->end;
    memcpy(bytes->at, buf, n);
    bytes->at += n;
    bytes->left -= n;
    return (int64_t)n;
}

static void *feed(void *user)
{
    struct {
        int fd;
        struct bytes *bytes;
    } *job = user;
    while (job->bytes->left) {
        ssize_t n = write(job->fd, job->bytes->at, job->bytes->left);
        CHECK(n > 0 || errno == EAGAIN);
        if (n > 0) {
            job->bytes->at += n;
            job->bytes->left -= (size_t)n;
        }
    }
    close(job->fd);
    return NULL;
}

static void *drain(void *user)
{
    struct {
        int fd;
        struct bytes *bytes;
    } *job = user;
    for (;;) {
        ssize_t n = read(job->fd, job->bytes->at, job->bytes->left);
        if (n < 0 && errno == EAGAIN)
            continue;
        CHECK(n >= 0);
        if (n == 0)
            return NULL;
        job->bytes->at += n;
        job->bytes->left -= (size_t)n;
    }
}

static int pending(int signal)
{
    sigset_t set;
    CHECK(sigpending(&set) == 0);
    return sigismember(&set, signal);
}

/* A reader that goes away is an errno; SIGPIPE, which would kill, never comes. */
static void broken(int write_end)
{
    sigset_t before, after;
    CHECK(pthread_sigmask(SIG_SETMASK, NULL, &before) == 0);
    IS(-EPIPE, ovl_diff(store, "l", "", write_end, NULL, 0, NULL, 0, &err));
    CHECK(!pending(SIGPIPE));
    CHECK(pthread_sigmask(SIG_SETMASK, NULL, &after) == 0);
    for (int signal = 1; signal < 64; signal++)
        CHECK(sigismember(&before, signal) == sigismember(&after, signal));
    CHECK(close(write_end) == 0);
}

static int times;
static void count(int signal)
{
    (void)signal;
    times++;
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    store = open_store(argv[1]);
    CHECK(signal(SIGPIPE, SIG_DFL) != SIG_ERR);
    size_t size;
    char *tar = make_tar(300, &size);
    struct ovl_layer_info of_file, info;

    int fd = file_of(argv[1], tar, size);
    IS(0, ovl_apply_layer(store, "l", fd, NULL, 0, &of_file, sizeof of_file, &err));
    CHECK(fcntl(fd, F_GETFD) >= 0 && of_file.size == 300 * 512);

    /* Every way in gives the same. */
    static const size_t chunks[] = {0, 1, 511, 4096};
    for (int i = 0; i < 4; i++) {
        struct bytes in = {tar, size, chunks[i], 0, pthread_self()};
        struct ovl_apply_opts opts = {.read = give, .read_user = &in};
        IS(0, ovl_apply_layer(store, "m", -1, &opts, sizeof opts, &info, sizeof info, &err));
        CHECK(strcmp(info.diff_id, of_file.diff_id) == 0);
        IS(0, ovl_remove(store, "m", NULL, 0, &err));
    }
    for (int i = 0; i < 4; i++) {
        int ends[2];
        CHECK((i < 2 ? pipe2(ends, O_CLOEXEC | (i ? O_NONBLOCK : 0))
                     : socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | (i > 2 ? SOCK_NONBLOCK : 0),
                                  0, ends)) == 0);
        struct bytes in = {tar, size, 0, 0, 0};
        struct {
            int fd;
            struct bytes *bytes;
        } job = {ends[1], &in};
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, feed, &job) == 0);
        IS(0, ovl_apply_layer(store, "m", ends[0], NULL, 0, &info, sizeof info, &err));
        CHECK(pthread_join(thread, NULL) == 0);
        CHECK(strcmp(info.diff_id, of_file.diff_id) == 0);
        CHECK(close(ends[0]) == 0);
        IS(0, ovl_remove(store, "m", NULL, 0, &err));
    }

    /* Every way out gives the same. */
    size_t room = 2 * size + 4096;
    char *first = malloc(room), *out = malloc(room);
    CHECK(first && out);
    struct bytes to = {first, room, 0, -ENOSPC, pthread_self()};
    struct ovl_diff_opts diff = {.write = take, .write_user = &to};
    IS(0, ovl_diff(store, "l", NULL, -1, &diff, sizeof diff, &info, sizeof info, &err));
    size_t written = room - to.left;
    CHECK(info.tar_size == written && info.diff_id[0]);
    for (int i = 0; i < 6; i++) {
        struct bytes part = {out, room, 1000, -ENOSPC, pthread_self()};
        memset(out, 0, room);
        if (i == 0) {
            diff.write_user = &part;
            IS(0, ovl_diff(store, "l", NULL, -1, &diff, sizeof diff, NULL, 0, &err));
        } else if (i == 1) {
            int file = file_of(argv[1], "", 0);
            IS(0, ovl_diff(store, "l", NULL, file, NULL, 0, NULL, 0, &err));
            CHECK(lseek(file, 0, SEEK_CUR) == (off_t)written);
            CHECK(pread(file, out, written, 0) == (ssize_t)written);
            CHECK(close(file) == 0);
        } else {
            int ends[2];
            CHECK((i < 4 ? pipe2(ends, O_CLOEXEC | (i == 3 ? O_NONBLOCK : 0))
                         : socketpair(AF_UNIX,
                                      SOCK_STREAM | SOCK_CLOEXEC | (i == 5 ? SOCK_NONBLOCK : 0), 0,
                                      ends)) == 0);
            struct {
                int fd;
                struct bytes *bytes;
            } job = {ends[0], &part};
            pthread_t thread;
            CHECK(pthread_create(&thread, NULL, drain, &job) == 0);
            IS(0, ovl_diff(store, "l", NULL, ends[1], NULL, 0, NULL, 0, &err));
            CHECK(close(ends[1]) == 0 && pthread_join(thread, NULL) == 0);
            CHECK(room - part.left == written && close(ends[0]) == 0);
        }
        CHECK(memcmp(first, out, written) == 0);
    }

    /* Neither, both, and what is no descriptor. */
    struct bytes in = {tar, size, 0, 0, pthread_self()};
    struct ovl_apply_opts opts = {.read = give, .read_user = &in};
    IS(-EINVAL, ovl_apply_layer(store, "m", -1, NULL, 0, NULL, 0, &err));
    IS(-EINVAL, ovl_apply_layer(store, "m", fd, &opts, sizeof opts, NULL, 0, &err));
    IS(-EBADF, ovl_apply_layer(store, "m", -2, NULL, 0, NULL, 0, &err));
    IS(-EBADF, ovl_apply_layer(store, "m", 54321, NULL, 0, NULL, 0, &err));
    IS(-EINVAL, ovl_diff(store, "l", NULL, -1, NULL, 0, NULL, 0, &err));
    IS(-EINVAL, ovl_diff(store, "l", NULL, fd, &diff, sizeof diff, NULL, 0, &err));
    IS(-EBADF, ovl_diff(store, "l", NULL, -2, NULL, 0, NULL, 0, &err));
    IS(-EBADF, ovl_diff(store, "l", NULL, 54321, NULL, 0, NULL, 0, &err));
    CHECK(in.left == size);

    /* A callback that fails says how, at once and half-way. */
    for (size_t left = 0; left <= 5000; left += 5000) {
        struct ovl_error *said = NULL;
        in = (struct bytes){tar, left, 0, -ETIMEDOUT, pthread_self()};
        CHECK(ovl_apply_layer(store, "m", -1, &opts, sizeof opts, NULL, 0, &said) == -ETIMEDOUT);
        CHECK(ovl_error_code(said) == OVL_E_CALLBACK);
        CHECK(ovl_error_callback_result(said) == -ETIMEDOUT);
        ovl_error_free(said);
        IS(0, ovl_exists(store, "m", NULL, 0, &err));
        to = (struct bytes){out, left, 0, -ENOSPC, pthread_self()};
        diff.write_user = &to;
        FAILS(ENOSPC, OVL_E_CALLBACK,
              ovl_diff(store, "l", NULL, -1, &diff, sizeof diff, NULL, 0, &err));
    }
    /* One that says more than there is room for is not believed. */
    in = (struct bytes){tar, 0, 0, INT64_MAX, pthread_self()};
    FAILS(EIO, OVL_E_CALLBACK,
          ovl_apply_layer(store, "m", -1, &opts, sizeof opts, NULL, 0, &err));
    /* An end that comes too early. */
    in = (struct bytes){tar, 700, 0, 0, pthread_self()};
    FAILS(EBADMSG, OVL_E_TRUNCATED,
          ovl_apply_layer(store, "m", -1, &opts, sizeof opts, NULL, 0, &err));
    IS(0, ovl_exists(store, "m", NULL, 0, &err));

    /* Readers that are gone. */
    int ends[2];
    CHECK(pipe2(ends, O_CLOEXEC) == 0 && close(ends[0]) == 0);
    broken(ends[1]);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0 && close(ends[0]) == 0);
    broken(ends[1]);

    /* A SIGPIPE that was pending is the host's. */
    sigset_t set;
    CHECK(signal(SIGPIPE, count) != SIG_ERR);
    CHECK(sigemptyset(&set) == 0 && sigaddset(&set, SIGPIPE) == 0);
    CHECK(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0 && raise(SIGPIPE) == 0);
    CHECK(pipe2(ends, O_CLOEXEC) == 0 && close(ends[0]) == 0);
    IS(-EPIPE, ovl_diff(store, "l", "", ends[1], NULL, 0, NULL, 0, &err));
    CHECK(pending(SIGPIPE) && times == 0 && close(ends[1]) == 0);
    CHECK(pthread_sigmask(SIG_UNBLOCK, &set, NULL) == 0 && times == 1);

    CHECK(close(fd) == 0);
    free(tar);
    free(first);
    free(out);
    ovl_store_free(store);
    return 0;
}
