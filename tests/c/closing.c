/* A host that has no standard descriptors: the library does not take their numbers. And one that
 * closes the library's own under it: calls are errors, and what has the numbers now is left alone. */
#define _GNU_SOURCE
#include "every.h"

#include <dirent.h>

/* Nothing is open at 0 to 2, for what a host writes there to be lost in. */
static void none_standard(void)
{
    for (int fd = 0; fd < 3; fd++)
        CHECK(fcntl(fd, F_GETFD) < 0 && errno == EBADF);
}

/* What one thread opens has such a number for a moment: there must be no other one. */
static void no_threads(void)
{
    int count = 0;
    DIR *list = opendir("/proc/self/task");
    CHECK(list != NULL);
    while (readdir(list))
        count++;
    CHECK(closedir(list) == 0);
    CHECK(count == 3);
}

static int64_t give_looking(void *user, void *buf, size_t len)
{
    none_standard();
    return read(*(int *)user, buf, len);
}

static int64_t take_looking(void *user, const void *buf, size_t len)
{
    (void)user, (void)buf;
    none_standard();
    return (int64_t)len;
}

static int looks;

static int look_looking(void *user, const struct ovl_progress *progress, size_t size)
{
    (void)user, (void)progress, (void)size;
    looks++;
    no_threads();
    none_standard();
    return 0;
}

/* The test's own descriptors stay above them. */
static int above(int fd)
{
    int higher = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    CHECK(higher >= 3 && close(fd) == 0);
    return higher;
}

static void without_standard(void)
{
    struct ovl_apply_opts opts = {.read = give_looking, .progress = look_looking};
    struct ovl_diff_opts diff = {.write = take_looking, .progress = look_looking};
    struct ovl_mount_opts mounts[] = {
        {0}, {.flags = OVL_MOUNT_KEEP}, {.flags = OVL_MOUNT_DETACHED}, {.flags = OVL_MOUNT_READ_ONLY}};
    struct ovl_iter *iter;
    struct ovl_mnt *mnt;
    char copy[4200], from[4200];
    for (int fd = 0; fd < 3; fd++)
        CHECK(close(fd) == 0);
    struct ovl_store *store = open_store(dir);
    none_standard();
    int fd = above(file_of(dir, tar, tar_size));
    opts.read_user = &fd;
    IS(0, ovl_apply_layer(store, "base", -1, &opts, sizeof opts, NULL, 0, &err));
    /* One that is long enough for threads. */
    size_t size;
    char *large = make_tar(2000, &size);
    int long_fd = above(file_of(dir, large, size));
    opts.read_user = &long_fd;
    looks = 0;
    IS(0, ovl_apply_layer(store, "long", -1, &opts, sizeof opts, NULL, 0, &err));
    CHECK(looks > 0 && close(long_fd) == 0);
    free(large);
    IS(0, ovl_remove(store, "long", NULL, 0, &err));
    IS(0, ovl_create(store, "box", "base", NULL, 0, &err));
    for (unsigned at = 0; at < sizeof mounts / sizeof *mounts; at++) {
        IS(0, ovl_mount(store, "box", &mounts[at], sizeof *mounts, &mnt, &err));
        CHECK(ovl_mnt_fd(mnt) > 2);
        none_standard();
        IS(0, ovl_unmount(mnt, NULL, 0, &err));
    }
    IS(0, ovl_diff(store, "box", "", -1, &diff, sizeof diff, NULL, 0, &err));
    IS(0, ovl_changes(store, "box", "", NULL, 0, &iter, &err));
    ovl_iter_free(iter);
    IS(0, ovl_commit(store, "box", NULL, 0, &err));
    IS(0, ovl_status(store, NULL, 0, &iter, &err));
    ovl_iter_free(iter);
    IS(0, ovl_check(store, NULL, 0, &iter, &err));
    ovl_iter_free(iter);
    snprintf(from, sizeof from, "%s/store/layer/base/root", dir);
    snprintf(copy, sizeof copy, "%s/copy", dir);
    IS(0, ovl_copy_dir(AT_FDCWD, from, AT_FDCWD, copy, NULL, 0, NULL, 0, &err));
    none_standard();
    IS(0, ovl_remove(store, "box", NULL, 0, &err));
    IS(0, ovl_remove(store, "base", NULL, 0, &err));
    IS(0, ovl_cleanup(store, NULL, 0, NULL, 0, &err));
    ovl_store_free(store);
    none_standard();
}

/* What the library's descriptors are called, without the standard ones and `keep`. */
static int numbers(int *list, int most, int keep)
{
    int count = 0;
    for (int fd = 3; fd < 256; fd++) {
        if (fd != keep && fcntl(fd, F_GETFD) >= 0) {
            CHECK(count < most);
            list[count++] = fd;
        }
    }
    return count;
}

#define GONE(call) FAILS(EBADF, OVL_E_SYSTEM, call)

static void all_are_errors(struct ovl_store *store, struct ovl_mnt *held, struct ovl_mnt *detached)
{
    struct ovl_iter *iter = NULL;
    struct ovl_mnt *mnt = NULL;
    uint64_t bytes;
    int fd = file_of(dir, tar, tar_size);
    GONE(ovl_create(store, "new", NULL, NULL, 0, &err));
    GONE(ovl_apply_layer(store, "new", fd, NULL, 0, NULL, 0, &err));
    GONE(ovl_commit(store, "box", NULL, 0, &err));
    GONE(ovl_mount(store, "box", NULL, 0, &mnt, &err));
    GONE(ovl_unmount_at(store, "box", NULL, 0, &err));
    GONE(ovl_remove(store, "box", NULL, 0, &err));
    GONE(ovl_stat(store, "box", NULL, 0, &err));
    GONE(ovl_exists(store, "box", NULL, 0, &err));
    GONE(ovl_list(store, NULL, 0, &iter, &err));
    GONE(ovl_diff(store, "box", NULL, fd, NULL, 0, NULL, 0, &err));
    GONE(ovl_changes(store, "box", NULL, NULL, 0, &iter, &err));
    GONE(ovl_diff_size(store, "box", NULL, NULL, 0, &bytes, &err));
    GONE(ovl_usage(store, "box", NULL, 0, NULL, 0, &err));
    GONE(ovl_status(store, NULL, 0, &iter, &err));
    GONE(ovl_cleanup(store, NULL, 0, NULL, 0, &err));
    GONE(ovl_check(store, NULL, 0, &iter, &err));
    GONE(ovl_mount_spec(store, "box", NULL, 0, &iter, &err));
    GONE(ovl_unmount(held, NULL, 0, &err));
    GONE(ovl_unmount(detached, NULL, 0, &err));
    CHECK(ovl_mnt_fd(held) == -EBADF && ovl_mnt_fd(detached) == -EBADF);
    CHECK(iter == NULL && mnt == NULL && close(fd) == 0);
}

/* Closes the handles' descriptors, and gives their numbers to something else, or to nothing. */
static void closed_under(int reuse)
{
    struct ovl_mount_opts opts = {.flags = OVL_MOUNT_DETACHED | OVL_MOUNT_READ_ONLY};
    struct ovl_mnt *held, *detached;
    struct ovl_iter *iter;
    struct ovl_item item;
    struct stat before, after;
    int list[64];
    char path[4200];
    struct ovl_store *store = open_store(dir);
    apply(store, dir, "base", 4);
    IS(0, ovl_create(store, "box", "base", NULL, 0, &err));
    IS(0, ovl_mount(store, "box", NULL, 0, &held, &err));
    IS(0, ovl_mount(store, "base", &opts, sizeof opts, &detached, &err));
    IS(0, ovl_list(store, NULL, 0, &iter, &err));
    int other = file_of(dir, "x", 1);
    int count = numbers(list, 64, other);
    CHECK(count >= 4 + 4 + 2);
    for (int at = 0; at < count; at++)
        CHECK(close(list[at]) == 0);
    snprintf(path, sizeof path, "%s/theirs", dir);
    CHECK(mkdir(path, 0755) == 0 || errno == EEXIST);
    int theirs = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(theirs >= 0 && fstat(theirs, &before) == 0);
    for (int at = 0; reuse && at < count; at++)
        CHECK(list[at] == theirs || dup3(theirs, list[at], O_CLOEXEC) == list[at]);

    all_are_errors(store, held, detached);
    /* Memory is memory. */
    IS(1, ovl_iter_next(iter, &item, sizeof item, &err));
    CHECK(strcmp(item.name, "base") == 0);
    ovl_iter_free(iter);
    ovl_mnt_free(held);
    ovl_mnt_free(detached);
    ovl_store_free(store);
    for (int at = 0; at < count; at++) {
        if (reuse)
            CHECK(fstat(list[at], &after) == 0 && after.st_ino == before.st_ino && close(list[at]) == 0);
        else
            CHECK(list[at] == theirs || fcntl(list[at], F_GETFD) < 0);
    }
    DIR *empty = opendir(path);
    CHECK(empty != NULL);
    for (struct dirent *one; (one = readdir(empty));)
        CHECK(one->d_name[0] == '.');
    CHECK(closedir(empty) == 0 && close(other) == 0);
    if (fcntl(theirs, F_GETFD) >= 0)
        CHECK(close(theirs) == 0);

    /* The store itself has come to no harm. */
    store = open_store(dir);
    IS(0, ovl_remove(store, "box", NULL, 0, &err));
    IS(0, ovl_remove(store, "base", NULL, 0, &err));
    IS(0, ovl_check(store, NULL, 0, &iter, &err));
    IS(0, ovl_iter_next(iter, &item, sizeof item, &err));
    ovl_iter_free(iter);
    ovl_store_free(store);
}

/* One of them is enough. */
static void one_of_a_store(void)
{
    struct ovl_iter *iter;
    int list[64], again[64];
    int first = numbers(list, 64, -1);
    ovl_store_free(open_store(dir));
    CHECK(numbers(list, 64, -1) == first);
    for (int which = 0, count = 1; which < count; which++) {
        struct ovl_store *store = open_store(dir);
        count = numbers(list, 64, -1);
        CHECK(count == first + 4 && close(list[which]) == 0);
        GONE(ovl_list(store, NULL, 0, &iter, &err));
        ovl_store_free(store);
        CHECK(numbers(again, 64, -1) == first);
    }
}

static void one_of_a_mount(uint64_t flags, int descriptors)
{
    struct ovl_mount_opts opts = {.flags = flags};
    struct ovl_mnt *mnt;
    struct ovl_store *store = open_store(dir);
    int before[64], list[64];
    int first = numbers(before, 64, -1);
    IS(0, ovl_create(store, "box", "base", NULL, 0, &err));
    for (int which = 0; which < descriptors; which++) {
        int at = 0, seen = 0;
        IS(0, ovl_mount(store, "box", &opts, sizeof opts, &mnt, &err));
        CHECK(numbers(list, 64, -1) == first + descriptors);
        for (int known = 0; at < first + descriptors; at++) {
            if (known < first && before[known] == list[at])
                known++;
            else if (seen++ == which)
                break;
        }
        CHECK(close(list[at]) == 0);
        GONE(ovl_unmount(mnt, NULL, 0, &err));
        CHECK(ovl_mnt_fd(mnt) == -EBADF && ovl_mnt_path(mnt) == NULL);
        ovl_mnt_free(mnt);
        CHECK(numbers(list, 64, -1) == first);
    }
    /* What such a handle held, the next call ends. */
    IS(0, ovl_remove(store, "box", NULL, 0, &err));
    ovl_store_free(store);
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    dir = argv[1];
    int failed = enter();
    if (failed)
        return failed;
    closed_under(0);
    closed_under(1);
    struct ovl_store *store = open_store(dir);
    apply(store, dir, "base", 4);
    ovl_store_free(store);
    one_of_a_store();
    one_of_a_mount(0, 4);
    one_of_a_mount(OVL_MOUNT_DETACHED, 2);
    store = open_store(dir);
    IS(0, ovl_remove(store, "base", NULL, 0, &err));
    ovl_store_free(store);
    fflush(NULL);
    /* In a child, whose checks tell by its status. */
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        without_standard();
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    free(tar);
    return 0;
}
