/* A guest in somebody's process: nothing of the host's is other than before, and every descriptor is
 * close-on-exec while a call runs. */
#define _GNU_SOURCE
#include "check.h"

#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>

static struct ovl_store *store;
static const char *dir;

struct host {
    char cwd[4096], root[4096], mnt[256], user[256];
    mode_t mask;
    uid_t uid, euid;
    struct sigaction actions[65];
    sigset_t blocked;
    int fds, threads;
};

static int entries(const char *path)
{
    int count = 0;
    DIR *list = opendir(path);
    CHECK(list != NULL);
    while (readdir(list))
        count++;
    closedir(list);
    return count;
}

static void observe(struct host *host)
{
    memset(host, 0, sizeof *host);
    CHECK(getcwd(host->cwd, sizeof host->cwd) != NULL);
    CHECK(readlink("/proc/self/root", host->root, sizeof host->root - 1) > 0);
    CHECK(readlink("/proc/thread-self/ns/mnt", host->mnt, sizeof host->mnt - 1) > 0);
    CHECK(readlink("/proc/thread-self/ns/user", host->user, sizeof host->user - 1) > 0);
    host->mask = umask(0);
    umask(host->mask);
    host->uid = getuid();
    host->euid = geteuid();
    for (int signal = 1; signal < 65; signal++)
        sigaction(signal, NULL, &host->actions[signal]);
    CHECK(pthread_sigmask(SIG_SETMASK, NULL, &host->blocked) == 0);
    host->fds = entries("/proc/self/fd");
    host->threads = entries("/proc/self/task");
}

static void same(const struct host *before, const struct host *after)
{
    CHECK(strcmp(before->cwd, after->cwd) == 0 && strcmp(before->root, after->root) == 0);
    CHECK(strcmp(before->mnt, after->mnt) == 0 && strcmp(before->user, after->user) == 0);
    CHECK(before->mask == after->mask);
    CHECK(before->uid == after->uid && before->euid == after->euid);
    for (int signal = 1; signal < 65; signal++) {
        CHECK(before->actions[signal].sa_handler == after->actions[signal].sa_handler);
        CHECK(before->actions[signal].sa_flags == after->actions[signal].sa_flags);
        CHECK(sigismember(&before->blocked, signal) == sigismember(&after->blocked, signal));
    }
    CHECK(before->fds == after->fds);
    CHECK(before->threads == after->threads);
}

/* Every descriptor but those that the test was started with is close-on-exec. */
static int inherited[1024];
static void all_cloexec(void)
{
    for (int fd = 0; fd < 1024; fd++) {
        int flags = fcntl(fd, F_GETFD);
        CHECK(inherited[fd] || flags < 0 || flags & FD_CLOEXEC);
    }
}

static int look(void *user, const struct ovl_progress *progress, size_t size)
{
    (void)user, (void)progress, (void)size;
    all_cloexec();
    return 0;
}

static int64_t give(void *user, void *buf, size_t len)
{
    all_cloexec();
    return read(*(int *)user, buf, len);
}

static int64_t take(void *user, const void *buf, size_t len)
{
    (void)user, (void)buf;
    all_cloexec();
    return (int64_t)len;
}

static void work(const char *id, int fd)
{
    struct ovl_apply_opts opts = {.read = give, .read_user = &fd, .progress = look};
    struct ovl_diff_opts diff = {.write = take, .progress = look};
    struct ovl_iter *iter;
    struct ovl_mnt *mnt;
    char child[64], copy[5000], from[5000];
    CHECK(lseek(fd, 0, SEEK_SET) == 0);
    IS(0, ovl_apply_layer(store, id, -1, &opts, sizeof opts, NULL, 0, &err));
    IS(0, ovl_diff(store, id, NULL, -1, &diff, sizeof diff, NULL, 0, &err));
    IS(0, ovl_changes(store, id, "", NULL, 0, &iter, &err));
    ovl_iter_free(iter);
    snprintf(child, sizeof child, "%s-w", id);
    IS(0, ovl_create(store, child, NULL, NULL, 0, &err));
    IS(0, ovl_mount(store, child, NULL, 0, &mnt, &err));
    all_cloexec();
    CHECK(openat(ovl_mnt_fd(mnt), "none", O_RDONLY) < 0 && errno == ENOENT);
    CHECK(strlen(ovl_mnt_path(mnt)) > 1 && access(ovl_mnt_path(mnt), F_OK) == 0);
    IS(0, ovl_unmount(mnt, NULL, 0, &err));
    IS(0, ovl_remove(store, child, NULL, 0, &err));
    snprintf(from, sizeof from, "%s/store/layer/%s/root", dir, id);
    snprintf(copy, sizeof copy, "%s/%s-copy", dir, id);
    IS(0, ovl_copy_dir(AT_FDCWD, from, AT_FDCWD, copy, NULL, 0, NULL, 0, &err));
    IS(-EEXIST, ovl_create(store, id, NULL, NULL, 0, &err));
    IS(0, ovl_remove(store, id, NULL, 0, &err));
    IS(0, ovl_list(store, NULL, 0, &iter, &err));
    ovl_iter_free(iter);
    IS(0, ovl_cleanup(store, NULL, 0, NULL, 0, &err));
    IS(0, ovl_status(store, NULL, 0, &iter, &err));
    ovl_iter_free(iter);
}

static void *in_thread(void *user)
{
    char id[32], *tar;
    size_t size;
    snprintf(id, sizeof id, "t%d", *(int *)user);
    tar = make_tar(100, &size);
    int fd = file_of(dir, tar, size);
    work(id, fd);
    CHECK(close(fd) == 0);
    free(tar);
    return NULL;
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    dir = argv[1];
    for (int one = 0; one < 1024; one++)
        inherited[one] = fcntl(one, F_GETFD) >= 0;
    umask(077);
    signal(SIGUSR2, SIG_IGN);
    size_t size;
    char *tar = make_tar(2000, &size);
    int fd = file_of(dir, tar, size);
    struct host before, after;

    observe(&before);
    store = open_store(dir);
    work("one", fd);
    /* The kernel refuses it to a process of more than one thread, and does nothing. */
    CHECK(unshare(CLONE_THREAD) == 0);
    ovl_store_free(store);
    observe(&after);
    same(&before, &after);

    /* Threads that share a store. */
    store = open_store(dir);
    pthread_t threads[8];
    int numbers[8];
    for (int i = 0; i < 8; i++) {
        numbers[i] = i;
        CHECK(pthread_create(&threads[i], NULL, in_thread, &numbers[i]) == 0);
    }
    for (int i = 0; i < 8; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    ovl_store_free(store);
    observe(&after);
    same(&before, &after);

    /* Files of a layer have its modes, whatever the umask: it is not the host's umask that made them. */
    store = open_store(dir);
    apply(store, dir, "modes", 1);
    char path[5000];
    struct stat st;
    snprintf(path, sizeof path, "%s/store/layer/modes/root/d/0", dir);
    CHECK(stat(path, &st) == 0 && (st.st_mode & 07777) == 0644);
    ovl_store_free(store);
    CHECK(close(fd) == 0);
    free(tar);
    return 0;
}
