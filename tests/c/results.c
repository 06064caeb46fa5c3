/* Results: every size, on success alone. */
#define _GNU_SOURCE
#include "check.h"

static const char *of_empty_tar =
    "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef";

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    struct ovl_store *store = open_store(argv[1]);
    static const char empty[1024];
    struct ovl_layer_info info;

    /* What an apply tells. */
    int fd = file_of(argv[1], empty, sizeof empty);
    struct ovl_apply_opts opts = {.diff_id = of_empty_tar};
    memset(&info, 0xee, sizeof info);
    IS(0, ovl_apply_layer(store, "e", fd, &opts, sizeof opts, &info, sizeof info, &err));
    CHECK(strcmp(info.id, "e") == 0 && strcmp(info.parent, "") == 0);
    CHECK(strcmp(info.diff_id, of_empty_tar) == 0);
    CHECK(strcmp(info.blob_digest, of_empty_tar) == 0);
    CHECK(strcmp(info.copied_from, "") == 0);
    CHECK(info.kind == OVL_KIND_ROOT && info.state == OVL_STATE_COMMITTED);
    CHECK(info.tar_size == 1024 && info.blob_size == 1024 && info.size == 0);
    CHECK(info.created_sec > 1000000000 && info.created_nsec < 1000000000);
    CHECK(info.mounted == 0 && info.unclean == 0 && info.lowers == 0);
    CHECK(info.skipped_devices == 0 && info.skipped_names == 0);

    /* A failure leaves it alone. */
    opts.diff_id = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
    CHECK(lseek(fd, 0, SEEK_SET) == 0);
    struct ovl_layer_info before;
    memset(&info, 0xee, sizeof info);
    before = info;
    FAILS(EBADMSG, OVL_E_DIGEST,
          ovl_apply_layer(store, "f", fd, &opts, sizeof opts, &info, sizeof info, &err));
    CHECK(memcmp(&info, &before, sizeof info) == 0);
    IS(0, ovl_exists(store, "f", NULL, 0, &err));
    CHECK(close(fd) == 0);

    /* The longest id. */
    char id[130];
    memset(id, 'i', 128);
    id[128] = 0;
    IS(0, ovl_create(store, id, "e", NULL, 0, &err));
    IS(0, ovl_stat(store, id, &info, sizeof info, &err));
    CHECK(strcmp(info.id, id) == 0 && strcmp(info.parent, "e") == 0);
    CHECK(info.state == OVL_STATE_WRITABLE && info.kind == OVL_KIND_OVERLAY && info.lowers == 1);
    id[128] = 'i';
    id[129] = 0;
    IS(-EINVAL, ovl_create(store, id, "e", NULL, 0, &err));

    /* Every size: what both know, then zeroes, and no byte beyond. */
    struct ovl_layer_info whole;
    IS(0, ovl_stat(store, "e", &whole, sizeof whole, &err));
    for (size_t n = 0; n < sizeof info + 64; n += n % 128 < 8 ? 1 : 8) {
        unsigned char *room = malloc(n + 16);
        CHECK(room != NULL);
        memset(room, 0xee, n + 16);
        IS(0, ovl_stat(store, "e", (void *)(room + 1), n, &err));
        size_t both = n < sizeof whole ? n : sizeof whole;
        CHECK(room[0] == 0xee && memcmp(room + 1, &whole, both) == 0);
        for (size_t at = both; at < n; at++)
            CHECK(room[1 + at] == 0);
        for (size_t at = n; at < n + 15; at++)
            CHECK(room[1 + at] == 0xee);
        free(room);
    }
    IS(0, ovl_stat(store, "e", NULL, sizeof info, &err));

    struct {
        struct ovl_cleanup_stats stats;
        uint64_t more, beyond;
    } longer;
    memset(&longer, 0xee, sizeof longer);
    IS(0, ovl_cleanup(store, NULL, 0, &longer.stats, sizeof longer - 8, &err));
    CHECK(longer.more == 0 && longer.beyond == 0xeeeeeeeeeeeeeeee);

    /* What differs, item by item; the iterator outlives its store. */
    apply(store, argv[1], "full", 2);
    struct ovl_iter *iter;
    IS(0, ovl_changes(store, "full", "e", NULL, 0, &iter, &err));
    ovl_store_free(store);
    static const char *paths[] = {"/d", "/d/0", "/d/1"};
    struct ovl_item item;
    for (int i = 0; i < 3; i++) {
        IS(1, ovl_iter_next(iter, &item, sizeof item, &err));
        CHECK(item.what == OVL_CHANGE_ADD && item.what == 'A');
        CHECK(strcmp(item.name, paths[i]) == 0 && item.name_len == strlen(paths[i]));
    }
    memset(&item, 0xee, sizeof item);
    IS(0, ovl_iter_next(iter, &item, sizeof item, &err));
    CHECK(item.reserved == 0xeeeeeeee);
    ovl_iter_free(iter);

    /* What a copy tells. */
    char from[5000], to[5000];
    snprintf(from, sizeof from, "%s/store/layer/full/root", argv[1]);
    snprintf(to, sizeof to, "%s/copy", argv[1]);
    struct ovl_copy_stats stats;
    IS(0, ovl_copy_dir(AT_FDCWD, from, AT_FDCWD, to, NULL, 0, &stats, sizeof stats, &err));
    CHECK(stats.entries == 4 && stats.directories == 2 && stats.bytes == 1024);
    CHECK(stats.copied + stats.reflinked == 2 && stats.linked == 0);
    int src = open(from, O_DIRECTORY | O_CLOEXEC), dst = open(argv[1], O_DIRECTORY | O_CLOEXEC);
    IS(0, ovl_copy_dir(src, "d", dst, "again", NULL, 0, NULL, 0, &err));
    IS(-EBADF, ovl_copy_dir(-1, "d", dst, "more", NULL, 0, NULL, 0, &err));
    IS(-EBADF, ovl_copy_dir(src, "d", -2, "more", NULL, 0, NULL, 0, &err));
    IS(-EBADF, ovl_copy_dir(12345, "d", dst, "more", NULL, 0, NULL, 0, &err));
    FAILS(ENOTEMPTY, OVL_E_NOT_EMPTY, ovl_copy_dir(src, "d", dst, "again", NULL, 0, NULL, 0, &err));
    CHECK(close(src) == 0 && close(dst) == 0);
    return 0;
}
