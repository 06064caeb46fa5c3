/* NULL is an errno wherever it is a mistake, and nothing where it is allowed. */
#define _GNU_SOURCE
#include "check.h"

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    char home[4096];
    snprintf(home, sizeof home, "%s/store", argv[1]);
    struct ovl_store *store = NULL;
    struct ovl_iter *iter = NULL;
    struct ovl_mnt *mnt = NULL;
    uint64_t number = 7;

    IS(-EINVAL, ovl_store_open(NULL, NULL, 0, &store, &err));
    IS(-EINVAL, ovl_store_open(home, NULL, 0, NULL, &err));
    CHECK(access(home, F_OK) != 0);
    IS(-EINVAL, ovl_store_open("", NULL, 0, &store, &err));
    CHECK(store == NULL);

    IS(-EINVAL, ovl_create(NULL, "a", NULL, NULL, 0, &err));
    IS(-EINVAL, ovl_apply_layer(NULL, "a", 0, NULL, 0, NULL, 0, &err));
    IS(-EINVAL, ovl_commit(NULL, "a", NULL, 0, &err));
    IS(-EINVAL, ovl_mount(NULL, "a", NULL, 0, &mnt, &err));
    IS(-EINVAL, ovl_unmount(NULL, NULL, 0, &err));
    IS(-EINVAL, ovl_unmount_at(NULL, "a", NULL, 0, &err));
    IS(-EINVAL, ovl_remove(NULL, "a", NULL, 0, &err));
    IS(-EINVAL, ovl_stat(NULL, "a", NULL, 0, &err));
    IS(-EINVAL, ovl_exists(NULL, "a", NULL, 0, &err));
    IS(-EINVAL, ovl_list(NULL, NULL, 0, &iter, &err));
    IS(-EINVAL, ovl_diff(NULL, "a", NULL, 1, NULL, 0, NULL, 0, &err));
    IS(-EINVAL, ovl_changes(NULL, "a", NULL, NULL, 0, &iter, &err));
    IS(-EINVAL, ovl_diff_size(NULL, "a", NULL, NULL, 0, &number, &err));
    IS(-EINVAL, ovl_status(NULL, NULL, 0, &iter, &err));
    IS(-EINVAL, ovl_cleanup(NULL, NULL, 0, NULL, 0, &err));
    IS(-EINVAL, ovl_check(NULL, NULL, 0, &iter, &err));
    IS(-EINVAL, ovl_mount_spec(NULL, "a", NULL, 0, &iter, &err));
    IS(-EINVAL, ovl_image_import(NULL, "a", 0, NULL, 0, NULL, 0, &err));
    IS(-EINVAL, ovl_image_export(NULL, "a", 1, NULL, 0, NULL, 0, &err));
    IS(-EINVAL, ovl_image_remove(NULL, "a", NULL, 0, &err));
    IS(-EINVAL, ovl_image_stat(NULL, "a", NULL, 0, NULL, 0, &err));
    IS(-EINVAL, ovl_image_list(NULL, NULL, 0, &iter, &err));
    IS(-EINVAL, ovl_image_config(NULL, "a", NULL, 0, &iter, &err));
    IS(-EINVAL, ovl_iter_next(NULL, NULL, 0, &err));
    IS(-EINVAL, ovl_copy_dir(AT_FDCWD, NULL, AT_FDCWD, "x", NULL, 0, NULL, 0, &err));
    IS(-EINVAL, ovl_copy_dir(AT_FDCWD, "x", AT_FDCWD, NULL, NULL, 0, NULL, 0, &err));
    CHECK(iter == NULL && mnt == NULL && number == 7);

    /* err may be NULL. */
    CHECK(ovl_create(NULL, "a", NULL, NULL, 0, NULL) == -EINVAL);

    store = open_store(argv[1]);
    IS(-EINVAL, ovl_create(store, NULL, NULL, NULL, 0, &err));
    IS(-EINVAL, ovl_apply_layer(store, NULL, 0, NULL, 0, NULL, 0, &err));
    IS(-EINVAL, ovl_commit(store, NULL, NULL, 0, &err));
    IS(-EINVAL, ovl_mount(store, NULL, NULL, 0, &mnt, &err));
    IS(-EINVAL, ovl_mount(store, "a", NULL, 0, NULL, &err));
    IS(-EINVAL, ovl_unmount_at(store, NULL, NULL, 0, &err));
    IS(-EINVAL, ovl_remove(store, NULL, NULL, 0, &err));
    IS(-EINVAL, ovl_stat(store, NULL, NULL, 0, &err));
    IS(-EINVAL, ovl_exists(store, NULL, NULL, 0, &err));
    IS(-EINVAL, ovl_list(store, NULL, 0, NULL, &err));
    IS(-EINVAL, ovl_diff(store, NULL, NULL, 1, NULL, 0, NULL, 0, &err));
    IS(-EINVAL, ovl_changes(store, NULL, NULL, NULL, 0, &iter, &err));
    IS(-EINVAL, ovl_changes(store, "a", NULL, NULL, 0, NULL, &err));
    IS(-EINVAL, ovl_diff_size(store, NULL, NULL, NULL, 0, &number, &err));
    IS(-EINVAL, ovl_diff_size(store, "a", NULL, NULL, 0, NULL, &err));
    IS(-EINVAL, ovl_status(store, NULL, 0, NULL, &err));
    IS(-EINVAL, ovl_check(store, NULL, 0, NULL, &err));
    IS(-EINVAL, ovl_mount_spec(store, NULL, NULL, 0, &iter, &err));
    IS(-EINVAL, ovl_mount_spec(store, "a", NULL, 0, NULL, &err));
    IS(-EINVAL, ovl_image_import(store, NULL, 0, NULL, 0, NULL, 0, &err));
    IS(-EINVAL, ovl_image_import(store, "a", -1, NULL, 0, NULL, 0, &err));
    FAILS(EBADF, OVL_E_SYSTEM, ovl_image_import(store, "a", 9999, NULL, 0, NULL, 0, &err));
    IS(-EINVAL, ovl_image_export(store, NULL, 1, NULL, 0, NULL, 0, &err));
    IS(-EINVAL, ovl_image_export(store, "a", -1, NULL, 0, NULL, 0, &err));
    IS(-EINVAL, ovl_image_remove(store, NULL, NULL, 0, &err));
    IS(-EINVAL, ovl_image_stat(store, NULL, NULL, 0, NULL, 0, &err));
    IS(-EINVAL, ovl_image_list(store, NULL, 0, NULL, &err));
    IS(-EINVAL, ovl_image_config(store, NULL, NULL, 0, &iter, &err));
    IS(-EINVAL, ovl_image_config(store, "a", NULL, 0, NULL, &err));
    FAILS(ENOENT, OVL_E_NO_IMAGE, ovl_image_stat(store, "a", NULL, 0, NULL, 0, &err));

    /* Ids are checked, and are bytes. */
    IS(-EINVAL, ovl_create(store, "", NULL, NULL, 0, &err));
    IS(-EINVAL, ovl_create(store, "../a", NULL, NULL, 0, &err));
    IS(-EINVAL, ovl_create(store, "a\xff", NULL, NULL, 0, &err));
    IS(-EINVAL, ovl_exists(store, "a/b", NULL, 0, &err));
    FAILS(ENOENT, OVL_E_NO_LAYER, ovl_stat(store, "a", NULL, 0, &err));

    /* An error is written on failure alone, whatever was there. */
    struct ovl_error *before = (struct ovl_error *)(uintptr_t)0x10;
    CHECK(ovl_exists(store, "a", NULL, 0, &before) == 0);
    CHECK(before == (struct ovl_error *)(uintptr_t)0x10);

    IS(0, ovl_create(store, "a", NULL, NULL, 0, &err));
    IS(1, ovl_exists(store, "a", NULL, 0, &err));
    IS(0, ovl_stat(store, "a", NULL, 0, &err));
    IS(0, ovl_list(store, NULL, 0, &iter, &err));
    IS(-EINVAL, ovl_iter_next(iter, NULL, 0, &err));
    struct ovl_item item;
    IS(1, ovl_iter_next(iter, &item, sizeof item, &err));
    CHECK(strcmp(item.name, "a") == 0 && item.name_len == 1);
    CHECK(item.detail != NULL && item.detail_len == 0);
    IS(0, ovl_iter_next(iter, &item, sizeof item, &err));
    IS(0, ovl_iter_next(iter, &item, sizeof item, &err));

    errno = 0;
    CHECK(ovl_mnt_path(NULL) == NULL && errno == EINVAL);
    CHECK(ovl_mnt_fd(NULL) == -EINVAL);
    CHECK(ovl_error_errno(NULL) == 0 && ovl_error_code(NULL) == 0);
    CHECK(strcmp(ovl_error_message(NULL), "") == 0);
    ovl_cancel_trigger(NULL);

    errno = 99;
    ovl_store_free(NULL);
    ovl_mnt_free(NULL);
    ovl_iter_free(NULL);
    ovl_cancel_free(NULL);
    ovl_error_free(NULL);
    ovl_iter_free(iter);
    ovl_store_free(store);
    CHECK(errno == 99);
    return 0;
}
