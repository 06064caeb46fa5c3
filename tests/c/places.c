/* Hosts that are not where one would think: with a root of their own, in a directory that is gone,
 * with any umask, with threads that share less than threads do, or without the thread they began
 * with. */
#define _GNU_SOURCE
#include "every.h"

#include <pthread.h>

static struct worker me;

/* Every call, in a store of its own at `home`. */
static void everything(const char *home)
{
    char all[4100];
    struct ovl_iter *iter;
    struct ovl_item item;
    snprintf(all, sizeof all, "%s", home);
    me.store = open_with_base(all);
    name_worker(&me, 0, all);
    call_all(&me);
    IS(0, ovl_remove(me.store, "base", NULL, 0, &err));
    IS(0, ovl_check(me.store, NULL, 0, &iter, &err));
    IS(0, ovl_iter_next(iter, &item, sizeof item, &err));
    ovl_iter_free(iter);
    ovl_store_free(me.store);
}

static void *cancels_for_ever(void *user)
{
    (void)user;
    for (;;) {
        cancel_waiting();
        usleep(1000);
    }
    return NULL;
}

/* In a process of its own, on a tmpfs of its own. */
static void in_child(void (*body)(void))
{
    int status;
    fflush(NULL);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        pthread_t other;
        alarm(120);
        CHECK(unshare(CLONE_NEWNS) == 0 && mount("none", dir, "tmpfs", 0, "mode=755") == 0);
        CHECK(pthread_create(&other, NULL, cancels_for_ever, NULL) == 0);
        body();
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        fprintf(stderr, "status %x\n", status);
        exit(1);
    }
}

static const char *home(void)
{
    static char path[4200];
    snprintf(path, sizeof path, "%s/store", dir);
    return path;
}

static void root_of_its_own(void)
{
    char path[4200];
    snprintf(path, sizeof path, "%s/proc", dir);
    CHECK(mkdir(path, 0755) == 0 && mount("proc", path, "proc", 0, NULL) == 0);
    CHECK(chroot(dir) == 0 && chdir("/") == 0);
    dir = "";
    CHECK(mkdir("/tmp", 0700) == 0);
    everything("/store");
}

#define NEEDS_PROCFS(call)                                                            \
    do {                                                                              \
        struct ovl_error *said = NULL;                                                \
        CHECK((call) == -ENOENT);                                                     \
        CHECK(strstr(ovl_error_message(said), "procfs") != NULL);                     \
        ovl_error_free(said);                                                         \
    } while (0)

/* What cannot be done without procfs says so, and does no harm; the rest is done. */
static void no_procfs(void)
{
    struct ovl_mount_opts detached = {.flags = OVL_MOUNT_DETACHED};
    struct ovl_iter *iter;
    struct ovl_item item;
    struct ovl_mnt *mnt;
    int fd;
    CHECK(chroot(dir) == 0 && chdir("/") == 0);
    dir = "";
    struct ovl_store *store = open_with_base("/store");
    fd = file_of(dir, "", 0);
    IS(0, ovl_create(store, "box", "base", NULL, 0, &err));
    IS(0, ovl_mount(store, "box", &detached, sizeof detached, &mnt, &err));
    CHECK(faccessat(ovl_mnt_fd(mnt), "d/0", F_OK, 0) == 0);
    CHECK(symlinkat("d", ovl_mnt_fd(mnt), "link") == 0);
    IS(0, ovl_unmount(mnt, NULL, 0, &err));
    NEEDS_PROCFS(ovl_mount(store, "box", NULL, 0, &mnt, &said));
    /* The attributes of what cannot be opened are found through it. */
    NEEDS_PROCFS(ovl_diff(store, "box", NULL, fd, NULL, 0, NULL, 0, &said));
    NEEDS_PROCFS(ovl_commit(store, "box", NULL, 0, &said));
    IS(0, ovl_changes(store, "base", NULL, NULL, 0, &iter, &err));
    ovl_iter_free(iter);
    IS(0, ovl_diff(store, "base", NULL, fd, NULL, 0, NULL, 0, &err));
    CHECK(close(fd) == 0);
    IS(0, ovl_remove(store, "box", NULL, 0, &err));
    IS(0, ovl_remove(store, "base", NULL, 0, &err));
    IS(0, ovl_check(store, NULL, 0, &iter, &err));
    while (ovl_iter_next(iter, &item, sizeof item, NULL) > 0)
        CHECK(item.what == OVL_CHECK_NOTE);
    ovl_iter_free(iter);
    ovl_store_free(store);
}

static void directory_gone(void)
{
    char path[4200], now[64];
    snprintf(path, sizeof path, "%s/gone", dir);
    CHECK(mkdir(path, 0755) == 0 && chdir(path) == 0 && rmdir(path) == 0);
    CHECK(getcwd(now, sizeof now) == NULL && errno == ENOENT);
    everything(home());
    /* A relative home leads nowhere, and that is what is told. */
    IS(-ENOENT, ovl_store_open("store", NULL, 0, &me.store, &err));
}

static void mode_is(const char *name, unsigned mode)
{
    char path[8500];
    struct stat st;
    snprintf(path, sizeof path, "%s/%s", home(), name);
    CHECK(lstat(path, &st) == 0);
    if ((st.st_mode & 07777) != mode)
        fprintf(stderr, "%s: %o\n", path, st.st_mode & 07777);
    CHECK((st.st_mode & 07777) == mode);
}

/* The image's modes are the image's, and the store's are the owner's alone. */
static void with_umask(mode_t mask)
{
    umask(mask);
    everything(home());
    struct ovl_store *store = open_with_base(home());
    struct ovl_mnt *mnt;
    IS(0, ovl_create(store, "box", "base", NULL, 0, &err));
    IS(0, ovl_mount(store, "box", NULL, 0, &mnt, &err));
    mode_is(".", 0700);
    mode_is("ovl-store", 0600);
    for (const char *const *name = (const char *const[]){"layer", "stage", "trash", "layer/base", "layer/box",
             "layer/box/work", "layer/box/pin", "layer/box/child", NULL}; *name; name++)
        mode_is(*name, 0700);
    mode_is("layer/base/meta", 0600);
    mode_is("layer/base/root", 0755);
    mode_is("layer/base/root/d", 0755);
    mode_is("layer/base/root/d/0", 0644);
    mode_is("layer/box/upper", 0755);
    IS(0, ovl_unmount(mnt, NULL, 0, &err));
    ovl_store_free(store);
    CHECK(umask(0) == mask);
}

static void umask_of_all(void) { with_umask(0); }
static void umask_of_one(void) { with_umask(077); }
static void umask_of_none(void) { with_umask(0777); }

/* A thread whose descriptors, directory and mounts are its own: what /proc/self tells is not of it. */
static void *shares_little(void *user)
{
    CHECK(unshare(CLONE_FILES | CLONE_FS | CLONE_NEWNS) == 0);
    CHECK(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    /* Other descriptors, at the numbers that the library is going to get. */
    closefrom(3);
    CHECK(chdir("/") == 0);
    everything(home());
    return user;
}

static void thread_of_its_own(void)
{
    pthread_t thread;
    int fds[32];
    for (int at = 0; at < 32; at++)
        CHECK((fds[at] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0);
    CHECK(pthread_create(&thread, NULL, shares_little, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    for (int at = 0; at < 32; at++)
        CHECK(close(fds[at]) == 0);
}

static void *goes_on(void *user)
{
    /* Until the first thread has ended. */
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/fd", getpid());
    for (int at = 0; at < 5000 && access(path, R_OK) == 0; at++) {
        DIR *list = opendir(path);
        if (!list || !readdir(list)) {
            if (list)
                closedir(list);
            break;
        }
        closedir(list);
        usleep(1000);
    }
    CHECK(readlink("/proc/self/fd/0", path, sizeof path) < 0);
    everything(home());
    _exit(0);
    return user;
}

/* The process lives on in another thread than that it began with. */
static void leader_gone(void)
{
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, goes_on, NULL) == 0);
    pthread_exit(NULL);
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    dir = argv[1];
    int failed = enter();
    if (failed)
        return failed;
    if (!SANITIZED) {
        /* The sanitizer itself needs procfs, and its first thread. */
        in_child(no_procfs);
        in_child(leader_gone);
    }
    in_child(root_of_its_own);
    in_child(directory_gone);
    in_child(umask_of_all);
    in_child(umask_of_one);
    in_child(umask_of_none);
    in_child(thread_of_its_own);
    free(tar);
    return 0;
}
