/* Options: every size, every unknown bit, every reserved member. */
#define _GNU_SOURCE
#include "check.h"

/* A call with options that do nothing when they are the defaults. */
typedef int (*call_fn)(struct ovl_store *, const void *, size_t, struct ovl_error **);

static struct ovl_iter *iter;
static struct ovl_mnt *mnt;
static struct ovl_store *second;
static const char *dir;
static char home[4096];

static void drop_iter(void)
{
    ovl_iter_free(iter);
    iter = NULL;
}

static int c_open(struct ovl_store *s, const void *o, size_t n, struct ovl_error **e)
{
    (void)s;
    int rc = ovl_store_open(home, o, n, &second, e);
    ovl_store_free(second);
    second = NULL;
    return rc;
}
static int c_create(struct ovl_store *s, const void *o, size_t n, struct ovl_error **e)
{
    int rc = ovl_create(s, "c", NULL, o, n, e);
    CHECK(ovl_exists(s, "c", NULL, 0, NULL) == (rc == 0));
    if (rc == 0)
        CHECK(ovl_remove(s, "c", NULL, 0, NULL) == 0);
    return rc;
}
static int c_commit(struct ovl_store *s, const void *o, size_t n, struct ovl_error **e)
{
    CHECK(ovl_create(s, "c", NULL, NULL, 0, NULL) == 0);
    int rc = ovl_commit(s, "c", o, n, e);
    struct ovl_layer_info info;
    CHECK(ovl_stat(s, "c", &info, sizeof info, NULL) == 0);
    CHECK(info.state == (rc == 0 ? OVL_STATE_COMMITTED : OVL_STATE_WRITABLE));
    CHECK(ovl_remove(s, "c", NULL, 0, NULL) == 0);
    return rc;
}
static int c_remove(struct ovl_store *s, const void *o, size_t n, struct ovl_error **e)
{
    CHECK(ovl_create(s, "c", NULL, NULL, 0, NULL) == 0);
    int rc = ovl_remove(s, "c", o, n, e);
    if (rc != 0)
        CHECK(ovl_remove(s, "c", NULL, 0, NULL) == 0);
    CHECK(ovl_exists(s, "c", NULL, 0, NULL) == 0);
    return rc;
}
static int c_apply(struct ovl_store *s, const void *o, size_t n, struct ovl_error **e)
{
    size_t size;
    char *tar = make_tar(1, &size);
    int fd = file_of(dir, tar, size);
    int rc = ovl_apply_layer(s, "c", fd, o, n, NULL, 0, e);
    if (rc == 0)
        CHECK(ovl_remove(s, "c", NULL, 0, NULL) == 0);
    else
        CHECK(lseek(fd, 0, SEEK_CUR) == 0);
    CHECK(ovl_exists(s, "c", NULL, 0, NULL) == 0);
    CHECK(close(fd) == 0);
    free(tar);
    return rc;
}
static int c_exists(struct ovl_store *s, const void *o, size_t n, struct ovl_error **e)
{
    int rc = ovl_exists(s, "base", o, n, e);
    return rc == 1 ? 0 : rc;
}
static int c_list(struct ovl_store *s, const void *o, size_t n, struct ovl_error **e)
{
    int rc = ovl_list(s, o, n, &iter, e);
    drop_iter();
    return rc;
}
static int c_cleanup(struct ovl_store *s, const void *o, size_t n, struct ovl_error **e)
{
    return ovl_cleanup(s, o, n, NULL, 0, e);
}
static int c_check(struct ovl_store *s, const void *o, size_t n, struct ovl_error **e)
{
    int rc = ovl_check(s, o, n, &iter, e);
    drop_iter();
    return rc;
}
static int c_diff(struct ovl_store *s, const void *o, size_t n, struct ovl_error **e)
{
    int fd = file_of(dir, "", 0);
    int rc = ovl_diff(s, "base", NULL, fd, o, n, NULL, 0, e);
    CHECK((lseek(fd, 0, SEEK_END) > 0) == (rc == 0));
    CHECK(close(fd) == 0);
    return rc;
}
static int c_changes(struct ovl_store *s, const void *o, size_t n, struct ovl_error **e)
{
    int rc = ovl_changes(s, "base", NULL, o, n, &iter, e);
    drop_iter();
    return rc;
}
static int c_diff_size(struct ovl_store *s, const void *o, size_t n, struct ovl_error **e)
{
    uint64_t bytes = 1;
    int rc = ovl_diff_size(s, "base", NULL, o, n, &bytes, e);
    CHECK(bytes == (rc == 0 ? 512 : 1));
    return rc;
}
static int c_spec(struct ovl_store *s, const void *o, size_t n, struct ovl_error **e)
{
    int rc = ovl_mount_spec(s, "base", o, n, &iter, e);
    drop_iter();
    return rc;
}
static int c_copy(struct ovl_store *s, const void *o, size_t n, struct ovl_error **e)
{
    (void)s;
    char from[5000], to[5000];
    snprintf(from, sizeof from, "%s/from", dir);
    snprintf(to, sizeof to, "%s/to", dir);
    int rc = ovl_copy_dir(AT_FDCWD, from, AT_FDCWD, to, o, n, NULL, 0, e);
    int error = errno;
    CHECK((rmdir(to) == 0) == (rc == 0));
    errno = error;
    return rc;
}
/* These are refused for their options before all else; with good ones, for what they name. */
static int c_mount(struct ovl_store *s, const void *o, size_t n, struct ovl_error **e)
{
    int rc = ovl_mount(s, "none", o, n, &mnt, e);
    CHECK(rc != 0 && mnt == NULL);
    if (rc == -ENOENT && e) {
        ovl_error_free(*e);
        *e = NULL;
    }
    return rc == -ENOENT ? 0 : rc;
}
static int c_unmount_at(struct ovl_store *s, const void *o, size_t n, struct ovl_error **e)
{
    int rc = ovl_unmount_at(s, "none", o, n, e);
    CHECK(rc != 0);
    if (rc == -ENOENT && e) {
        ovl_error_free(*e);
        *e = NULL;
    }
    return rc == -ENOENT ? 0 : rc;
}
static int c_status(struct ovl_store *s, const void *o, size_t n, struct ovl_error **e)
{
    int rc = ovl_status(s, o, n, &iter, e);
    drop_iter();
    return rc;
}

static int c_usage(struct ovl_store *s, const void *o, size_t n, struct ovl_error **e)
{
    struct ovl_usage_info usage;
    return ovl_usage(s, "base", o, n, &usage, sizeof usage, e);
}

/* An image of no layers, unpacked. */
static char image[5000];

static void make_image(void)
{
    snprintf(image, sizeof image, "%s/image", dir);
    CHECK(mkdir(image, 0755) == 0);
    int at = open(image, O_PATH | O_DIRECTORY);
    const char *const files[][2] = {
        {"manifest.json", "[{\"Config\":\"c\",\"Layers\":[]}]"},
        {"c", "{\"rootfs\":{\"type\":\"layers\"}}"},
    };
    for (size_t i = 0; i < 2; i++) {
        int fd = openat(at, files[i][0], O_WRONLY | O_CREAT, 0644);
        CHECK(write(fd, files[i][1], strlen(files[i][1])) > 0);
        CHECK(close(fd) == 0);
    }
    CHECK(close(at) == 0);
}
static int c_import(struct ovl_store *s, const void *o, size_t n, struct ovl_error **e)
{
    int fd = open(image, O_RDONLY | O_DIRECTORY);
    int rc = ovl_image_import(s, "im/age:1", fd, o, n, NULL, 0, e);
    CHECK(close(fd) == 0);
    return rc;
}
static int c_export(struct ovl_store *s, const void *o, size_t n, struct ovl_error **e)
{
    int fd = file_of(dir, "", 0);
    int rc = ovl_image_export(s, "im/age:1", fd, o, n, NULL, 0, e);
    CHECK((lseek(fd, 0, SEEK_END) > 0) == (rc == 0));
    CHECK(close(fd) == 0);
    return rc;
}
static int c_image_remove(struct ovl_store *s, const void *o, size_t n, struct ovl_error **e)
{
    int rc = ovl_image_remove(s, "im/age:1", o, n, e);
    CHECK((ovl_image_stat(s, "im/age:1", NULL, 0, NULL, 0, NULL) == -ENOENT) == (rc == 0));
    if (rc == 0)
        CHECK(c_import(s, NULL, 0, NULL) == 0);
    return rc;
}
static int c_image_stat(struct ovl_store *s, const void *o, size_t n, struct ovl_error **e)
{
    return ovl_image_stat(s, "im/age:1", o, n, NULL, 0, e);
}
static int c_image_list(struct ovl_store *s, const void *o, size_t n, struct ovl_error **e)
{
    int rc = ovl_image_list(s, o, n, &iter, e);
    drop_iter();
    return rc;
}
static int c_image_config(struct ovl_store *s, const void *o, size_t n, struct ovl_error **e)
{
    int rc = ovl_image_config(s, "im/age:1", o, n, &iter, e);
    drop_iter();
    return rc;
}

#define BITS(known) (~(uint64_t)(known))
static const struct {
    const char *name;
    call_fn call;
    size_t size;
    uint64_t unknown;
    size_t reserved; /* where a reserved member of 4 bytes is; 0 for none */
    size_t choice;   /* where a member is that has choices; 0 for none */
} calls[] = {
    {"store_open", c_open, sizeof(struct ovl_store_opts),
     BITS(OVL_STORE_MUST_EXIST | OVL_STORE_READ_ONLY), 0, offsetof(struct ovl_store_opts, marks)},
    {"create", c_create, sizeof(struct ovl_create_opts),
     BITS(OVL_CREATE_LIVE | OVL_CREATE_FLAT | OVL_CREATE_SYNC), 0, 0},
    {"commit", c_commit, sizeof(struct ovl_commit_opts), BITS(OVL_COMMIT_SALVAGE | OVL_COMMIT_MOUNTED),
     offsetof(struct ovl_commit_opts, reserved), offsetof(struct ovl_commit_opts, durability)},
    {"remove", c_remove, sizeof(struct ovl_remove_opts), BITS(OVL_REMOVE_DEFER), 0, 0},
    {"apply", c_apply, sizeof(struct ovl_apply_opts),
     BITS(OVL_APPLY_WRITABLE | OVL_APPLY_STRICT | OVL_APPLY_NO_DEVICES | OVL_APPLY_EXISTING),
     offsetof(struct ovl_apply_opts, reserved), offsetof(struct ovl_apply_opts, kind)},
    {"apply", c_apply, sizeof(struct ovl_apply_opts), BITS(15), 0,
     offsetof(struct ovl_apply_opts, durability)},
    {"exists", c_exists, sizeof(struct ovl_exists_opts), BITS(0), 0, 0},
    {"list", c_list, sizeof(struct ovl_list_opts), BITS(0), 0, 0},
    {"cleanup", c_cleanup, sizeof(struct ovl_cleanup_opts), BITS(0), 0, 0},
    {"check", c_check, sizeof(struct ovl_check_opts), BITS(OVL_CHECK_REPAIR), 0, 0},
    {"diff", c_diff, sizeof(struct ovl_diff_opts),
     BITS(OVL_DIFF_STRICT | OVL_DIFF_SPARSE | OVL_DIFF_CLAMP),
     offsetof(struct ovl_diff_opts, reserved), 0},
    {"changes", c_changes, sizeof(struct ovl_changes_opts), BITS(0), 0, 0},
    {"diff_size", c_diff_size, sizeof(struct ovl_diff_size_opts), BITS(0), 0, 0},
    {"mount_spec", c_spec, sizeof(struct ovl_spec_opts),
     BITS(OVL_SPEC_READ_ONLY | OVL_SPEC_OCI_JSON | OVL_SPEC_LONG), 0, 0},
    {"copy_dir", c_copy, sizeof(struct ovl_copy_opts),
     BITS(OVL_COPY_HARD_LINK | OVL_COPY_STRICT | OVL_COPY_NO_OVERLAY_XATTRS | OVL_COPY_SYNC),
     offsetof(struct ovl_copy_opts, reserved), offsetof(struct ovl_copy_opts, reflink)},
    {"mount", c_mount, sizeof(struct ovl_mount_opts),
     BITS(OVL_MOUNT_READ_ONLY | OVL_MOUNT_KEEP | OVL_MOUNT_DETACHED | OVL_MOUNT_VOLATILE), 0, 0},
    {"unmount_at", c_unmount_at, sizeof(struct ovl_unmount_opts), BITS(OVL_UNMOUNT_LAZY), 0, 0},
    {"status", c_status, sizeof(struct ovl_status_opts), BITS(0), 0, 0},
    {"usage", c_usage, sizeof(struct ovl_usage_opts), BITS(0), 0, 0},
    {"image_import", c_import, sizeof(struct ovl_image_import_opts),
     BITS(OVL_IMPORT_KEEP_BLOBS | OVL_IMPORT_STRICT | OVL_IMPORT_NO_DEVICES),
     offsetof(struct ovl_image_import_opts, reserved),
     offsetof(struct ovl_image_import_opts, kind)},
    {"image_import", c_import, sizeof(struct ovl_image_import_opts), BITS(7), 0,
     offsetof(struct ovl_image_import_opts, durability)},
    {"image_export", c_export, sizeof(struct ovl_image_export_opts), BITS(0), 0, 0},
    {"image_remove", c_image_remove, sizeof(struct ovl_image_remove_opts), BITS(0), 0, 0},
    {"image_stat", c_image_stat, sizeof(struct ovl_image_stat_opts), BITS(0), 0, 0},
    {"image_list", c_image_list, sizeof(struct ovl_image_list_opts), BITS(0), 0, 0},
    {"image_config", c_image_config, sizeof(struct ovl_image_config_opts), BITS(0), 0, 0},
};

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    dir = argv[1];
    char from[5000];
    snprintf(from, sizeof from, "%s/from", dir);
    CHECK(mkdir(from, 0755) == 0);
    struct ovl_store *store = open_store(dir);
    snprintf(home, sizeof home, "%s/store", dir);
    apply(store, dir, "base", 1);
    make_image();

    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        call_fn call = calls[i].call;
        size_t size = calls[i].size;
        fprintf(stderr, "%s\n", calls[i].name);

        /* At an odd address, with the rest of the page behind it. */
        static unsigned char room[8192];
        unsigned char *opts = room + 1;
        memset(room, 0, sizeof room);

        IS(0, call(store, NULL, 0, &err));
        FAILS(EINVAL, OVL_E_INVALID, call(store, NULL, size, &err));

        /* Shorter, as an older caller has it; exact memory, so that valgrind sees a byte too far. */
        for (size_t n = 0; n <= size; n += n < 8 ? 1 : 4) {
            void *exact = calloc(1, n ? n : 1);
            IS(0, call(store, exact, n, &err));
            free(exact);
        }
        /* Longer, as a newer one has it. */
        IS(0, call(store, opts, size + 8, &err));
        IS(0, call(store, opts, 4096, &err));
        FAILS(E2BIG, OVL_E_INVALID, call(store, opts, 4097, &err));
        FAILS(E2BIG, OVL_E_INVALID, call(store, opts, (size_t)-1, &err));
        opts[size] = 1;
        IS(0, call(store, opts, size, &err));
        FAILS(E2BIG, OVL_E_INVALID, call(store, opts, size + 1, &err));
        opts[size] = 0;
        opts[4095] = 1;
        FAILS(E2BIG, OVL_E_INVALID, call(store, opts, 4096, &err));
        opts[4095] = 0;

        for (int bit = 0; bit < 64; bit++) {
            uint64_t flag = (uint64_t)1 << bit;
            if (calls[i].unknown & flag) {
                memcpy(opts, &flag, 8);
                FAILS(EINVAL, OVL_E_INVALID, call(store, opts, size, &err));
                FAILS(EINVAL, OVL_E_INVALID, call(store, opts, 8, &err));
            }
        }
        memset(opts, 0, 8);
        for (size_t at = calls[i].reserved; at && at < calls[i].reserved + 4; at++) {
            opts[at] = 1;
            FAILS(EINVAL, OVL_E_INVALID, call(store, opts, size, &err));
            opts[at] = 0;
        }
        for (uint32_t number = 4; calls[i].choice && number; number <<= 1) {
            memcpy(opts + calls[i].choice, &number, 4);
            FAILS(EINVAL, OVL_E_INVALID, call(store, opts, size, &err));
            memset(opts + calls[i].choice, 0, 4);
        }
        IS(0, call(store, opts, size, &err));
    }

    /* Members that go together. */
    struct ovl_diff_opts diff = {.clamp_sec = 1};
    IS(-EINVAL, ovl_diff(store, "base", NULL, 1, &diff, sizeof diff, NULL, 0, &err));
    diff = (struct ovl_diff_opts){.flags = OVL_DIFF_CLAMP, .clamp_nsec = 1000000000};
    IS(-EINVAL, ovl_diff(store, "base", NULL, 1, &diff, sizeof diff, NULL, 0, &err));
    struct ovl_spec_opts spec = {.destination = "/x"};
    IS(-EINVAL, ovl_mount_spec(store, "base", &spec, sizeof spec, &iter, &err));
    spec.flags = OVL_SPEC_OCI_JSON;
    IS(0, ovl_mount_spec(store, "base", &spec, sizeof spec, &iter, &err));
    struct ovl_item item;
    IS(1, ovl_iter_next(iter, &item, sizeof item, &err));
    CHECK(item.what == OVL_SPEC_JSON && strstr(item.name, "\"destination\":\"/x\""));
    IS(0, ovl_iter_next(iter, &item, sizeof item, &err));
    drop_iter();
    struct ovl_apply_opts apply = {.diff_id = "sha256:\xff"};
    IS(-EINVAL, ovl_apply_layer(store, "c", 0, &apply, sizeof apply, NULL, 0, &err));
    struct ovl_store_opts open = {.log_level = 5};
    IS(-EINVAL, ovl_store_open(home, &open, sizeof open, &second, &err));

    ovl_store_free(store);
    return 0;
}
