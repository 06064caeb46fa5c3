/* fork and exec in the caller, while other threads are inside the library: an exec'd program inherits
 * no descriptor, a forked child is told that the handles are not its own, and what it does or how it
 * ends changes nothing of the parent's; while it lives it keeps what it inherited in use. */
#define _GNU_SOURCE
#include "check.h"

#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mount.h>
#include <sys/prctl.h>

static struct ovl_store *store;
static const char *dir;
static char given[4096];
static atomic_int stop, inside, rounds;

/* The descriptors of this process that an exec'd program gets, as " 0 1 2 ". */
static void inherited(char *list, size_t size, int all)
{
    DIR *fds = opendir("/proc/self/fd");
    CHECK(fds != NULL);
    size_t used = (size_t)snprintf(list, size, " ");
    for (struct dirent *one; (one = readdir(fds));) {
        int fd = atoi(one->d_name);
        if (one->d_name[0] == '.' || fd == dirfd(fds))
            continue;
        if (all || !(fcntl(fd, F_GETFD) & FD_CLOEXEC))
            used += (size_t)snprintf(list + used, size - used, "%d ", fd);
    }
    closedir(fds);
}

/* The exec'd program: has it anything that the test was not started with? */
static int exec_looks(const char *expected)
{
    char now[4096];
    inherited(now, sizeof now, 1);
    for (char *at = strtok(now, " "); at; at = strtok(NULL, " ")) {
        char word[32];
        snprintf(word, sizeof word, " %s ", at);
        if (!strstr(expected, word)) {
            char path[64], to[4096] = "";
            snprintf(path, sizeof path, "/proc/self/fd/%s", at);
            if (readlink(path, to, sizeof to - 1) < 0)
                to[0] = 0;
            fprintf(stderr, "inherited: %s, %s\n", at, to);
            return 1;
        }
    }
    return 0;
}

static void must_succeed(pid_t child)
{
    int status;
    CHECK(child > 0);
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void exec_one(void)
{
    pid_t child = fork();
    if (child == 0) {
        execl("/proc/self/exe", "children", "--descriptors", given, (char *)NULL);
        _exit(2);
    }
    must_succeed(child);
}

#define DEAD(call) FAILS(EOWNERDEAD, OVL_E_FORKED, call)

static void fork_one(void)
{
    pid_t child = fork();
    if (child == 0) {
#ifdef __SANITIZE_ADDRESS__
        /* Its allocator, unlike the C library's, is not made usable in a forked child: a lock that
         * another thread held stays taken for ever. forks.c asks the same of a single thread. */
        _exit(0);
#endif
        struct ovl_iter *iter = NULL;
        struct ovl_mnt *mnt = NULL;
        DEAD(ovl_create(store, "forked", NULL, NULL, 0, &err));
        DEAD(ovl_mount(store, "base", NULL, 0, &mnt, &err));
        DEAD(ovl_list(store, NULL, 0, &iter, &err));
        DEAD(ovl_cleanup(store, NULL, 0, NULL, 0, &err));
        DEAD(ovl_remove(store, "base", NULL, 0, &err));
        ovl_store_free(store);
        _exit(0);
    }
    must_succeed(child);
}

/* Other threads' children hold what this one just closed until they exec or end. */
#define SETTLED(call)                                                                 \
    do {                                                                              \
        int tries = 0;                                                                \
        while ((call) == -EBUSY && tries++ < 2000)                                    \
            usleep(5000);                                                             \
        CHECK(tries < 2000);                                                          \
    } while (0)

static int64_t give(void *user, void *buf, size_t len)
{
    if (atomic_fetch_add(&inside, 1) % 8 == 0)
        exec_one();
    return read(*(int *)user, buf, len);
}

static int64_t take(void *user, const void *buf, size_t len)
{
    (void)user, (void)buf;
    if (atomic_fetch_add(&inside, 1) % 8 == 0)
        exec_one();
    return (int64_t)len;
}

static int look(void *user, const struct ovl_progress *progress, size_t size)
{
    (void)user, (void)progress, (void)size;
    exec_one();
    return 0;
}

/* Every call, one after the other, on layers of this thread's own. */
static void *work(void *user)
{
    const char *name = user;
    char top[64], box[64], flat[64], from[5000], copy[5000];
    size_t size;
    char *tar = make_tar(80, &size);
    snprintf(top, sizeof top, "top-%s", name);
    snprintf(box, sizeof box, "box-%s", name);
    snprintf(flat, sizeof flat, "flat-%s", name);
    snprintf(from, sizeof from, "%s/store/layer/base/root", dir);
    for (int round = 0; !atomic_load(&stop); round++) {
        struct ovl_iter *iter = NULL;
        struct ovl_mnt *mnt = NULL;
        struct ovl_layer_info info;
        uint64_t bytes;
        int fd = file_of(dir, tar, size);
        struct ovl_apply_opts apply_opts = {
            .parent = "base", .read = give, .read_user = &fd, .progress = look};
        struct ovl_diff_opts diff_opts = {.write = take, .progress = look};
        struct ovl_mount_opts detached = {.flags = OVL_MOUNT_DETACHED | OVL_MOUNT_READ_ONLY};
        struct ovl_create_opts flat_opts = {.flags = OVL_CREATE_FLAT};
        IS(0, ovl_apply_layer(store, top, -1, &apply_opts, sizeof apply_opts, NULL, 0, &err));
        CHECK(close(fd) == 0);
        IS(0, ovl_create(store, box, top, NULL, 0, &err));
        IS(0, ovl_create(store, flat, top, &flat_opts, sizeof flat_opts, &err));
        IS(0, ovl_mount(store, box, NULL, 0, &mnt, &err));
        fd = openat(ovl_mnt_fd(mnt), "new", O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
        CHECK(fd >= 0 && close(fd) == 0);
        SETTLED(ovl_unmount(mnt, NULL, 0, NULL));
        IS(0, ovl_mount(store, top, &detached, sizeof detached, &mnt, &err));
        IS(0, ovl_unmount(mnt, NULL, 0, &err));
        SETTLED(ovl_commit(store, box, NULL, 0, NULL));
        IS(0, ovl_diff(store, box, "", -1, &diff_opts, sizeof diff_opts, NULL, 0, &err));
        IS(0, ovl_changes(store, box, NULL, NULL, 0, &iter, &err));
        ovl_iter_free(iter);
        IS(0, ovl_diff_size(store, box, "", NULL, 0, &bytes, &err));
        IS(0, ovl_stat(store, box, &info, sizeof info, &err));
        IS(1, ovl_exists(store, box, NULL, 0, &err));
        IS(0, ovl_list(store, NULL, 0, &iter, &err));
        ovl_iter_free(iter);
        IS(0, ovl_mount_spec(store, box, NULL, 0, &iter, &err));
        ovl_iter_free(iter);
        IS(0, ovl_status(store, NULL, 0, &iter, &err));
        ovl_iter_free(iter);
        IS(0, ovl_cleanup(store, NULL, 0, NULL, 0, &err));
        IS(0, ovl_check(store, NULL, 0, &iter, &err));
        ovl_iter_free(iter);
        snprintf(copy, sizeof copy, "%s/copy-%s-%d", dir, name, round);
        IS(0, ovl_copy_dir(AT_FDCWD, from, AT_FDCWD, copy, NULL, 0, NULL, 0, &err));
        for (int at = 0; at < 3; at++)
            SETTLED(ovl_remove(store, at == 0 ? flat : at == 1 ? box : top, NULL, 0, NULL));
        atomic_fetch_add(&rounds, 1);
    }
    free(tar);
    return NULL;
}

static pid_t sleeping_child(void)
{
    fflush(NULL);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        /* A check that fails in the parent must not leave it behind. */
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;)
            pause();
    }
    return child;
}

static void end(pid_t child)
{
    CHECK(kill(child, SIGKILL) == 0 && waitpid(child, NULL, 0) == child);
}

/* What a forked child keeps, as long as it neither execs nor ends. */
static void what_a_child_keeps(void)
{
    struct ovl_mnt *mnt;
    struct ovl_layer_info info;
    struct ovl_mount_opts detached = {.flags = OVL_MOUNT_DETACHED};
    IS(0, ovl_create(store, "kept", "base", NULL, 0, &err));

    /* A held mount is busy: it has the root of it open. */
    IS(0, ovl_mount(store, "kept", NULL, 0, &mnt, &err));
    pid_t child = sleeping_child();
    FAILS(EBUSY, OVL_E_MOUNTED, ovl_unmount(mnt, NULL, 0, &err));
    CHECK(faccessat(ovl_mnt_fd(mnt), "d", F_OK, 0) == 0);
    end(child);
    /* Its end took nothing away. */
    IS(0, ovl_stat(store, "kept", &info, sizeof info, &err));
    CHECK(info.mounted == 1);
    FAILS(EBUSY, OVL_E_MOUNTED, ovl_remove(store, "kept", NULL, 0, &err));
    IS(0, ovl_unmount(mnt, NULL, 0, &err));

    /* A detached mount lives on in it, though every handle is gone. */
    IS(0, ovl_mount(store, "kept", &detached, sizeof detached, &mnt, &err));
    child = sleeping_child();
    IS(0, ovl_unmount(mnt, NULL, 0, &err));
    FAILS(EBUSY, OVL_E_MOUNTED, ovl_remove(store, "kept", NULL, 0, &err));
    FAILS(EBUSY, OVL_E_MOUNTED, ovl_mount(store, "kept", NULL, 0, &mnt, &err));
    end(child);
    SETTLED(ovl_remove(store, "kept", NULL, 0, NULL));
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--descriptors") == 0)
        return exec_looks(argv[2]);
    CHECK(argc == 2);
    dir = argv[1];
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) {
        fprintf(stderr, "SKIP root: %s\n", strerror(errno));
        return 77;
    }
    CHECK(mount("none", dir, "tmpfs", 0, "mode=755") == 0);
    inherited(given, sizeof given, 0);
    store = open_store(dir);
    apply(store, dir, "base", 4);
    struct ovl_mnt *mnt = NULL;
    struct ovl_error *said = NULL;
    IS(0, ovl_create(store, "try", "base", NULL, 0, &err));
    if (ovl_mount(store, "try", NULL, 0, &mnt, &said) != 0) {
        fprintf(stderr, "SKIP overlay: %s\n", ovl_error_message(said));
        return ovl_error_errno(said) == EPERM || ovl_error_errno(said) == ENODEV ? 77 : 1;
    }
    IS(0, ovl_unmount(mnt, NULL, 0, &err));
    IS(0, ovl_remove(store, "try", NULL, 0, &err));
    what_a_child_keeps();

    pthread_t threads[2];
    CHECK(pthread_create(&threads[0], NULL, work, "one") == 0);
    CHECK(pthread_create(&threads[1], NULL, work, "two") == 0);
    for (int at = 0; at < 60 || (atomic_load(&rounds) < 4 && at < 6000); at++) {
        if (at % 2)
            fork_one();
        else
            exec_one();
    }
    atomic_store(&stop, 1);
    CHECK(pthread_join(threads[0], NULL) == 0 && pthread_join(threads[1], NULL) == 0);
    CHECK(atomic_load(&rounds) >= 4 && atomic_load(&inside) > 0);
    SETTLED(ovl_remove(store, "base", NULL, 0, NULL));
    struct ovl_iter *iter;
    IS(0, ovl_check(store, NULL, 0, &iter, &err));
    struct ovl_item item;
    IS(0, ovl_iter_next(iter, &item, sizeof item, &err));
    ovl_iter_free(iter);
    ovl_store_free(store);
    return 0;
}
