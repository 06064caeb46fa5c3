/* A handle that came through a fork is good for nothing but to be freed, which the parent does not
 * notice. */
#define _GNU_SOURCE
#include "check.h"

static struct ovl_store *store;
static struct ovl_iter *iter;
static struct ovl_mnt *mnt;
static struct ovl_error *old;
static struct ovl_cancel *cancel;
static const char *dir;

static int count_fds(void)
{
    int count = 0;
    for (int fd = 0; fd < 1024; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

#define DEAD(call) FAILS(EOWNERDEAD, OVL_E_FORKED, call)

static void in_child(int fds_at_first)
{
    uint64_t number = 7;
    struct ovl_iter *out = NULL;
    struct ovl_mnt *other = NULL;
    struct ovl_item item;
    DEAD(ovl_create(store, "x", NULL, NULL, 0, &err));
    DEAD(ovl_apply_layer(store, "x", 0, NULL, 0, NULL, 0, &err));
    DEAD(ovl_commit(store, "w", NULL, 0, &err));
    DEAD(ovl_mount(store, "w", NULL, 0, &other, &err));
    DEAD(ovl_unmount_at(store, "w", NULL, 0, &err));
    DEAD(ovl_remove(store, "w", NULL, 0, &err));
    DEAD(ovl_stat(store, "w", NULL, 0, &err));
    DEAD(ovl_exists(store, "w", NULL, 0, &err));
    DEAD(ovl_list(store, NULL, 0, &out, &err));
    DEAD(ovl_diff(store, "w", NULL, 1, NULL, 0, NULL, 0, &err));
    DEAD(ovl_changes(store, "w", NULL, NULL, 0, &out, &err));
    DEAD(ovl_diff_size(store, "w", NULL, NULL, 0, &number, &err));
    DEAD(ovl_status(store, NULL, 0, &out, &err));
    DEAD(ovl_cleanup(store, NULL, 0, NULL, 0, &err));
    DEAD(ovl_check(store, NULL, 0, &out, &err));
    DEAD(ovl_mount_spec(store, "w", NULL, 0, &out, &err));
    DEAD(ovl_iter_next(iter, &item, sizeof item, &err));
    DEAD(ovl_unmount(mnt, NULL, 0, &err));
    CHECK(ovl_mnt_fd(mnt) == -EOWNERDEAD);
    errno = 0;
    CHECK(ovl_mnt_path(mnt) == NULL && errno == EOWNERDEAD);
    CHECK(out == NULL && other == NULL && number == 7);

    /* Plain memory works. */
    CHECK(ovl_error_errno(old) == ENOENT && ovl_error_message(old)[0]);
    ovl_cancel_trigger(cancel);
    ovl_cancel_free(cancel);
    ovl_error_free(old);

    ovl_mnt_free(mnt);
    ovl_iter_free(iter);
    ovl_store_free(store);
    CHECK(count_fds() == fds_at_first);

    /* A store of one's own. */
    store = open_store(dir);
    IS(1, ovl_exists(store, "w", NULL, 0, &err));
    struct ovl_layer_info info;
    IS(0, ovl_stat(store, "w", &info, sizeof info, &err));
    CHECK(info.mounted == 1);
    FAILS(EBUSY, OVL_E_MOUNTED, ovl_remove(store, "w", NULL, 0, &err));
    ovl_store_free(store);
    exit(0);
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    dir = argv[1];
    int fds_at_first = count_fds();
    store = open_store(dir);
    IS(0, ovl_create(store, "w", NULL, NULL, 0, &err));
    IS(0, ovl_list(store, NULL, 0, &iter, &err));
    /* A writable root is mounted as itself, which takes no privilege. */
    IS(0, ovl_mount(store, "w", NULL, 0, &mnt, &err));
    CHECK(ovl_stat(store, "none", NULL, 0, &old) == -ENOENT);
    cancel = ovl_cancel_new();

    fflush(NULL);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0)
        in_child(fds_at_first);
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);

    /* The parent's handles are as they were, and so are the locks. */
    struct ovl_item item;
    IS(1, ovl_iter_next(iter, &item, sizeof item, &err));
    CHECK(strcmp(item.name, "w") == 0);
    CHECK(fcntl(ovl_mnt_fd(mnt), F_GETFD) == FD_CLOEXEC);
    FAILS(EBUSY, OVL_E_MOUNTED, ovl_remove(store, "w", NULL, 0, &err));
    IS(0, ovl_unmount(mnt, NULL, 0, &err));
    IS(0, ovl_remove(store, "w", NULL, 0, &err));
    ovl_cancel_free(cancel);
    ovl_error_free(old);
    ovl_iter_free(iter);
    ovl_store_free(store);
    CHECK(count_fds() == fds_at_first);
    return 0;
}
