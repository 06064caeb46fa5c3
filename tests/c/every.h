/* Every call there is, on layers of a thread's own in a store that many have open. */
#ifndef EVERY_H
#define EVERY_H

#include "check.h"

#include <dirent.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/mount.h>
#include <time.h>

enum { MOST = 64 };

static const char *dir;
static char *tar;
static size_t tar_size;
/* What waits to be cancelled. */
static _Atomic(struct ovl_cancel *) cancels[MOST];

struct worker {
    int number;
    pthread_t thread;
    struct ovl_store *store;
    char home[4200], a[32], b[32], c[32], w[32], flat[32], target[4200], copy[4200];
};

/* Others look at the layers meanwhile, and what was spawned holds descriptors until it execs. */
#define SETTLED(call)                                                                 \
    do {                                                                              \
        time_t late = time(NULL) + 60;                                                \
        while ((call) == -EBUSY && time(NULL) < late)                                 \
            usleep(2000);                                                             \
        CHECK(time(NULL) < late);                                                     \
    } while (0)

static inline void put(int mount, const char *name)
{
    int fd = openat(mount, name, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
    CHECK(fd >= 0 && write(fd, name, 1) == 1 && close(fd) == 0);
}

static inline int64_t give(void *user, void *buf, size_t len)
{
    return read(*(int *)user, buf, len);
}

static inline int64_t take(void *user, const void *buf, size_t len)
{
    (void)user, (void)buf;
    return (int64_t)len;
}

static inline int look(void *user, const struct ovl_progress *progress, size_t size)
{
    (void)user, (void)progress, (void)size;
    return 0;
}

static inline void apply_all(struct worker *me)
{
    struct ovl_apply_opts root = {.parent = "base", .kind = OVL_KIND_ROOT, .progress = look};
    struct ovl_apply_opts overlay = {.parent = "base", .kind = OVL_KIND_OVERLAY};
    struct ovl_apply_opts called = {.read = give, .durability = OVL_DURABILITY_NONE};
    int ends[2], fd = file_of(dir, tar, tar_size);
    IS(0, ovl_apply_layer(me->store, me->a, fd, &root, sizeof root, NULL, 0, &err));
    CHECK(lseek(fd, 0, SEEK_SET) == 0);
    called.read_user = &fd;
    IS(0, ovl_apply_layer(me->store, me->c, -1, &called, sizeof called, NULL, 0, &err));
    CHECK(close(fd) == 0 && pipe2(ends, O_CLOEXEC) == 0);
    CHECK(write(ends[1], tar, tar_size) == (ssize_t)tar_size && close(ends[1]) == 0);
    IS(0, ovl_apply_layer(me->store, me->b, ends[0], &overlay, sizeof overlay, NULL, 0, &err));
    CHECK(close(ends[0]) == 0);
}

/* A stream that gives nothing, until somebody else gives it up. */
static inline void cancel_one(struct worker *me)
{
    struct ovl_cancel *cancel = ovl_cancel_new();
    struct ovl_apply_opts opts = {.cancel = cancel};
    int ends[2];
    CHECK(cancel != NULL && pipe2(ends, O_CLOEXEC) == 0);
    atomic_store(&cancels[me->number], cancel);
    FAILS(ECANCELED, OVL_E_CANCELLED,
          ovl_apply_layer(me->store, me->w, ends[0], &opts, sizeof opts, NULL, 0, &err));
    while (atomic_load(&cancels[me->number]))
        usleep(100);
    ovl_cancel_free(cancel);
    CHECK(close(ends[0]) == 0 && close(ends[1]) == 0);
}

static inline void mount_all(struct worker *me)
{
    struct ovl_mount_opts opts = {0};
    struct ovl_mnt *mnt, *second;
    SETTLED(ovl_mount(me->store, me->w, NULL, 0, &mnt, NULL));
    put(ovl_mnt_fd(mnt), "held");
    SETTLED(ovl_mount(me->store, me->w, NULL, 0, &second, NULL));
    SETTLED(ovl_unmount(second, NULL, 0, NULL));
    CHECK(faccessat(ovl_mnt_fd(mnt), "d/0", F_OK, 0) == 0);
    SETTLED(ovl_unmount(mnt, NULL, 0, NULL));

    opts.target = me->target;
    SETTLED(ovl_mount(me->store, me->w, &opts, sizeof opts, &mnt, NULL));
    put(ovl_mnt_fd(mnt), "at-a-path");
    SETTLED(ovl_unmount(mnt, NULL, 0, NULL));

    opts = (struct ovl_mount_opts){.flags = OVL_MOUNT_KEEP};
    SETTLED(ovl_mount(me->store, me->w, &opts, sizeof opts, &mnt, NULL));
    ovl_mnt_free(mnt);
    SETTLED(ovl_unmount_at(me->store, me->w, NULL, 0, NULL));

    opts.flags = OVL_MOUNT_DETACHED;
    SETTLED(ovl_mount(me->store, me->w, &opts, sizeof opts, &mnt, NULL));
    put(ovl_mnt_fd(mnt), "detached");
    SETTLED(ovl_unmount(mnt, NULL, 0, NULL));

    opts.flags = OVL_MOUNT_DETACHED | OVL_MOUNT_READ_ONLY;
    for (int at = 0; at < 2; at++) {
        SETTLED(ovl_mount(me->store, at ? me->a : me->b, &opts, sizeof opts, &mnt, NULL));
        CHECK(openat(ovl_mnt_fd(mnt), "no", O_CREAT | O_WRONLY | O_CLOEXEC, 0644) < 0 && errno == EROFS);
        ovl_mnt_free(mnt);
    }
}

static inline void diff_all(struct worker *me)
{
    struct ovl_diff_opts called = {.write = take, .progress = look};
    struct ovl_iter *iter;
    char part[4096];
    uint64_t bytes;
    int ends[2];
    ssize_t got, all = 0;
    CHECK(pipe2(ends, O_CLOEXEC) == 0);
    IS(0, ovl_diff(me->store, me->w, NULL, ends[1], NULL, 0, NULL, 0, &err));
    CHECK(close(ends[1]) == 0);
    while ((got = read(ends[0], part, sizeof part)) > 0)
        all += got;
    CHECK(got == 0 && all > 1024 && close(ends[0]) == 0);
    /* Nobody reads: no signal, whose disposition is to kill. */
    CHECK(pipe2(ends, O_CLOEXEC) == 0 && close(ends[0]) == 0);
    IS(-EPIPE, ovl_diff(me->store, me->w, NULL, ends[1], NULL, 0, NULL, 0, &err));
    CHECK(close(ends[1]) == 0);
    IS(0, ovl_diff(me->store, me->w, "", -1, &called, sizeof called, NULL, 0, &err));
    IS(0, ovl_changes(me->store, me->w, NULL, NULL, 0, &iter, &err));
    ovl_iter_free(iter);
    IS(0, ovl_diff_size(me->store, me->w, me->a, NULL, 0, &bytes, &err));
}

static inline void ask_all(struct worker *me)
{
    struct ovl_layer_info info;
    struct ovl_usage_info usage;
    struct ovl_iter *iter;
    IS(0, ovl_stat(me->store, me->w, &info, sizeof info, &err));
    CHECK(info.state == OVL_STATE_COMMITTED && info.kind == OVL_KIND_OVERLAY);
    IS(1, ovl_exists(me->store, me->w, NULL, 0, &err));
    IS(0, ovl_mount_spec(me->store, me->w, NULL, 0, &iter, &err));
    ovl_iter_free(iter);
    IS(0, ovl_list(me->store, NULL, 0, &iter, &err));
    ovl_iter_free(iter);
    IS(0, ovl_usage(me->store, me->w, NULL, 0, &usage, sizeof usage, &err));
    IS(0, ovl_cleanup(me->store, NULL, 0, NULL, 0, &err));
    /* These take time that grows with the store. */
    if (me->number % 16 == 0) {
        IS(0, ovl_check(me->store, NULL, 0, &iter, &err));
        ovl_iter_free(iter);
        IS(0, ovl_status(me->store, NULL, 0, &iter, &err));
        ovl_iter_free(iter);
    }
}

static inline void copy_all(struct worker *me)
{
    char from[8500];
    snprintf(from, sizeof from, "%s/layer/base/root", me->home);
    IS(0, ovl_copy_dir(AT_FDCWD, from, AT_FDCWD, me->copy, NULL, 0, NULL, 0, &err));
    IS(-ENOTEMPTY, ovl_copy_dir(AT_FDCWD, from, AT_FDCWD, me->copy, NULL, 0, NULL, 0, &err));
    snprintf(from, sizeof from, "%s/d/0", me->copy);
    CHECK(unlink(from) == 0 && rmdir(me->copy) == -1 && errno == ENOTEMPTY);
    snprintf(from, sizeof from, "%s-%d", me->copy, rand());
    CHECK(rename(me->copy, from) == 0);
}

static inline void call_all(struct worker *me)
{
    struct ovl_create_opts flat = {.flags = OVL_CREATE_FLAT};
    struct ovl_commit_opts commit = {
        .durability = me->number % 8 ? OVL_DURABILITY_NONE : OVL_DURABILITY_VERIFIED};
    const char *layers[] = {me->flat, me->w, me->a, me->b, me->c};
    struct ovl_store *own = NULL;
    apply_all(me);
    cancel_one(me);
    IS(0, ovl_create(me->store, me->w, me->b, NULL, 0, &err));
    FAILS(EEXIST, OVL_E_LAYER_EXISTS, ovl_create(me->store, me->w, NULL, NULL, 0, &err));
    mount_all(me);
    SETTLED(ovl_commit(me->store, me->w, &commit, sizeof commit, NULL));
    IS(0, ovl_create(me->store, me->flat, me->w, &flat, sizeof flat, &err));
    diff_all(me);
    ask_all(me);
    copy_all(me);
    /* Another handle on the same store. */
    IS(0, ovl_store_open(me->home, NULL, 0, &own, &err));
    IS(-EBUSY, ovl_remove(own, "base", NULL, 0, &err));
    for (unsigned at = 0; at < sizeof layers / sizeof *layers; at++)
        SETTLED(ovl_remove(at % 2 ? own : me->store, layers[at], NULL, 0, NULL));
    FAILS(ENOENT, OVL_E_NO_LAYER, ovl_remove(own, me->w, NULL, 0, &err));
    ovl_store_free(own);
}

/* Names for thread `number`, which uses the store at `home`. */
static inline void name_worker(struct worker *one, int number, const char *home)
{
    one->number = number;
    snprintf(one->home, sizeof one->home, "%s", home);
    snprintf(one->a, sizeof one->a, "t%d-a", number);
    snprintf(one->b, sizeof one->b, "t%d-b", number);
    snprintf(one->c, sizeof one->c, "t%d-c", number);
    snprintf(one->w, sizeof one->w, "t%d-w", number);
    snprintf(one->flat, sizeof one->flat, "t%d-flat", number);
    snprintf(one->target, sizeof one->target, "%s/target-%d", dir, number);
    snprintf(one->copy, sizeof one->copy, "%s/copy-%d", dir, number);
    CHECK(mkdir(one->target, 0755) == 0);
}

/* Cancels what waits for it; how many there were. */
static inline int cancel_waiting(void)
{
    int count = 0;
    for (int at = 0; at < MOST; at++) {
        struct ovl_cancel *cancel = atomic_load(&cancels[at]);
        if (!cancel)
            continue;
        ovl_cancel_trigger(cancel);
        atomic_store(&cancels[at], NULL);
        count++;
    }
    return count;
}

/* The store at `home`, with the committed layer `base`. */
static inline struct ovl_store *open_with_base(const char *home)
{
    struct ovl_store *store = NULL;
    IS(0, ovl_store_open(home, NULL, 0, &store, &err));
    apply(store, dir, "base", 20);
    return store;
}

/* A mount namespace of one's own, with an empty tmpfs at `dir`, where overlays can be mounted: 0, or
 * what to exit with, after saying why. */
static inline int enter(void)
{
    struct ovl_mount_opts opts = {.flags = OVL_MOUNT_DETACHED};
    struct ovl_error *said = NULL;
    struct ovl_mnt *mnt;
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) {
        fprintf(stderr, "SKIP root: %s\n", strerror(errno));
        return 77;
    }
    CHECK(mount("none", dir, "tmpfs", 0, "mode=755") == 0);
    struct ovl_store *store = open_store(dir);
    apply(store, dir, "base", 1);
    IS(0, ovl_create(store, "child", "base", NULL, 0, &err));
    int got = ovl_mount(store, "child", &opts, sizeof opts, &mnt, &said);
    if (got == 0)
        ovl_mnt_free(mnt);
    else
        fprintf(stderr, "SKIP overlay: %s\n", ovl_error_message(said));
    ovl_error_free(said);
    ovl_store_free(store);
    CHECK(umount2(dir, MNT_DETACH) == 0 && mount("none", dir, "tmpfs", 0, "mode=755") == 0);
    tar = make_tar(40, &tar_size);
    return got == 0 ? 0 : got == -EPERM || got == -ENODEV ? 77 : 1;
}

#endif
