/* Mounts through C: the handle, its path and descriptor, and who ends what. In a mount namespace of
 * its own, so that nothing stays behind. */
#define _GNU_SOURCE
#include "check.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/syscall.h>

static struct ovl_store *store;

static void put(int dir, const char *name)
{
    int fd = openat(dir, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
    CHECK(fd >= 0 && write(fd, "x", 1) == 1 && close(fd) == 0);
}

static int has(const char *dir, const char *name)
{
    char path[5000];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return access(path, F_OK) == 0;
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) {
        fprintf(stderr, "SKIP root: %s\n", strerror(errno));
        return 77;
    }
    /* A file system that can hold an upper, whatever the directory is on. */
    CHECK(mount("none", argv[1], "tmpfs", 0, "mode=755") == 0);
    store = open_store(argv[1]);
    apply(store, argv[1], "base", 2);
    IS(0, ovl_create(store, "w", "base", NULL, 0, &err));

    struct ovl_mnt *mnt = NULL, *second = NULL;
    struct ovl_mount_opts opts = {0};
    struct ovl_layer_info info;
    struct ovl_error *said = NULL;
    if (ovl_mount(store, "w", NULL, 0, &mnt, &said) != 0) {
        fprintf(stderr, "SKIP overlay: %s\n", ovl_error_message(said));
        return ovl_error_errno(said) == EPERM || ovl_error_errno(said) == ENODEV ? 77 : 1;
    }
    char path[5000];
    snprintf(path, sizeof path, "%s", ovl_mnt_path(mnt));
    CHECK(path[0] == '/' && has(path, "d/0") && has(path, "d/1"));
    CHECK(fcntl(ovl_mnt_fd(mnt), F_GETFD) == FD_CLOEXEC);
    put(ovl_mnt_fd(mnt), "new");
    CHECK(unlinkat(ovl_mnt_fd(mnt), "d/0", 0) == 0);

    /* The same mount, twice; the last handle ends it. */
    IS(0, ovl_mount(store, "w", NULL, 0, &second, &err));
    CHECK(strcmp(ovl_mnt_path(second), path) == 0);
    IS(0, ovl_stat(store, "w", &info, sizeof info, &err));
    CHECK(info.mounted == 1 && info.kind == OVL_KIND_OVERLAY);
    FAILS(EBUSY, OVL_E_MOUNTED, ovl_commit(store, "w", NULL, 0, &err));
    IS(0, ovl_unmount(second, NULL, 0, &err));
    CHECK(has(path, "new"));

    /* A failure leaves the handle to the caller. */
    int busy = openat(ovl_mnt_fd(mnt), "new", O_RDONLY | O_CLOEXEC);
    IS(-EBUSY, ovl_unmount(mnt, NULL, 0, &err));
    CHECK(has(path, "new") && fcntl(ovl_mnt_fd(mnt), F_GETFD) == FD_CLOEXEC);
    CHECK(close(busy) == 0);
    IS(0, ovl_unmount(mnt, NULL, 0, &err));
    CHECK(!has(path, "new"));

    /* What was changed. */
    struct ovl_iter *iter;
    struct ovl_item item;
    static const struct {
        unsigned what;
        const char *path;
    } changes[] = {{'C', "/d"}, {'D', "/d/0"}, {'A', "/new"}};
    IS(0, ovl_changes(store, "w", NULL, NULL, 0, &iter, &err));
    for (int i = 0; i < 3; i++) {
        IS(1, ovl_iter_next(iter, &item, sizeof item, &err));
        CHECK(item.what == changes[i].what && strcmp(item.name, changes[i].path) == 0);
    }
    IS(0, ovl_iter_next(iter, &item, sizeof item, &err));
    ovl_iter_free(iter);

    /* A kept mount outlives its handle, and ends by its layer's name. */
    opts.flags = OVL_MOUNT_KEEP;
    IS(0, ovl_mount(store, "w", &opts, sizeof opts, &mnt, &err));
    ovl_mnt_free(mnt);
    CHECK(has(path, "new"));
    IS(0, ovl_unmount_at(store, "w", NULL, 0, &err));
    CHECK(!has(path, "new"));
    IS(-EINVAL, ovl_unmount_at(store, "w", NULL, 0, &err));

    /* A kept one at a place of the caller's, by its path. */
    char target[5000];
    snprintf(target, sizeof target, "%s/a,b:c d", argv[1]);
    CHECK(mkdir(target, 0755) == 0);
    opts.target = target;
    IS(0, ovl_mount(store, "w", &opts, sizeof opts, &mnt, &err));
    CHECK(strcmp(ovl_mnt_path(mnt), target) == 0 && has(target, "new"));
    FAILS(EBUSY, OVL_E_MOUNTED, ovl_unmount_at(store, target, NULL, 0, &err));
    ovl_mnt_free(mnt);
    IS(0, ovl_unmount_at(store, target, NULL, 0, &err));
    CHECK(!has(target, "new"));

    /* Lazily, with a file open on it. */
    opts = (struct ovl_mount_opts){0};
    IS(0, ovl_mount(store, "w", &opts, sizeof opts, &mnt, &err));
    busy = openat(ovl_mnt_fd(mnt), "new", O_RDONLY | O_CLOEXEC);
    struct ovl_unmount_opts lazy = {.flags = OVL_UNMOUNT_LAZY};
    IS(0, ovl_unmount(mnt, &lazy, sizeof lazy, &err));
    CHECK(!has(path, "new") && read(busy, target, 1) == 1 && close(busy) == 0);

    /* A descriptor alone. */
    opts.flags = OVL_MOUNT_DETACHED;
    IS(0, ovl_mount(store, "w", &opts, sizeof opts, &mnt, &err));
    CHECK(strcmp(ovl_mnt_path(mnt), "") == 0);
    CHECK(faccessat(ovl_mnt_fd(mnt), "new", F_OK, 0) == 0);
    CHECK(fcntl(ovl_mnt_fd(mnt), F_GETFD) == FD_CLOEXEC);
    FAILS(EBUSY, OVL_E_MOUNTED, ovl_commit(store, "w", NULL, 0, &err));
    ovl_mnt_free(mnt);
    IS(0, ovl_commit(store, "w", NULL, 0, &err));

    /* A committed layer is read-only. */
    FAILS(EROFS, OVL_E_COMMITTED, ovl_mount(store, "w", NULL, 0, &mnt, &err));
    opts.flags = OVL_MOUNT_READ_ONLY;
    IS(0, ovl_mount(store, "w", &opts, sizeof opts, &mnt, &err));
    CHECK(openat(ovl_mnt_fd(mnt), "more", O_CREAT | O_WRONLY, 0644) < 0 && errno == EROFS);
    IS(0, ovl_unmount(mnt, NULL, 0, &err));

    ovl_store_free(store);
    return 0;
}
