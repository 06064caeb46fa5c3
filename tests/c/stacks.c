/* Threads with little stack, as Go and musl make them: each call is content with what ovl.h says. */
#define _GNU_SOURCE
#include "every.h"

#include <limits.h>
#include <pthread.h>
#include <sys/mman.h>

/* What ovl.h says that a call needs, and what the C library takes for a thread at all. */
enum { PROMISED = 64 << 10, PAGE = 4096 };

static struct ovl_store *store;
static struct ovl_mnt *mnt;
static char *deep;
static size_t deep_size, most;
static const char *hungriest;

static void opens(void)
{
    store = open_store(dir);
}

/* A path of a thousand levels, from a pax header. */
static char *make_deep(size_t *size)
{
    enum { LEVELS = 1000, PATH = LEVELS * 2 - 1 };
    char record[PATH + 32], length[32];
    int all = PATH + 7;
    /* "LENGTH path=...\n" counts its own digits. */
    snprintf(length, sizeof length, "%d", all + 4);
    int used = snprintf(record, sizeof record, "%s path=", length);
    for (int at = 0; at < PATH; at++)
        record[used++] = at % 2 ? '/' : 'd';
    record[used++] = '\n';
    CHECK(atoi(length) == used);
    unsigned blocks = ((unsigned)used + 511) / 512;
    *size = 512 + blocks * 512 + 512 + 1024;
    char *made = calloc(1, *size);
    CHECK(made != NULL);
    tar_header(made, "pax", 'x', (unsigned)used);
    memcpy(made + 512, record, (size_t)used);
    tar_header(made + 512 + blocks * 512, "short", '5', 0);
    return made;
}

static void apply_one(const char *id, const char *bytes, size_t size, struct ovl_apply_opts opts)
{
    int fd = file_of(dir, bytes, size);
    IS(0, ovl_apply_layer(store, id, fd, &opts, sizeof opts, NULL, 0, &err));
    CHECK(close(fd) == 0);
}

static void applies(void)
{
    apply_one("base", tar, tar_size, (struct ovl_apply_opts){0});
    apply_one("over", deep, deep_size,
              (struct ovl_apply_opts){.parent = "base", .kind = OVL_KIND_OVERLAY});
    apply_one("tree", deep, deep_size,
              (struct ovl_apply_opts){.parent = "over", .kind = OVL_KIND_ROOT,
                                      .durability = OVL_DURABILITY_VERIFIED});
}

static void creates(void)
{
    struct ovl_create_opts flat = {.flags = OVL_CREATE_FLAT};
    IS(0, ovl_create(store, "box", "over", NULL, 0, &err));
    IS(0, ovl_create(store, "copy", "box", NULL, 0, &err));
    IS(0, ovl_create(store, "flat", "over", &flat, sizeof flat, &err));
}

static void mounts(void)
{
    IS(0, ovl_mount(store, "box", NULL, 0, &mnt, &err));
    CHECK(unlinkat(ovl_mnt_fd(mnt), "d/0", 0) == 0);
    CHECK(mkdirat(ovl_mnt_fd(mnt), "new", 0755) == 0);
}

static void unmounts(void)
{
    IS(0, ovl_unmount(mnt, NULL, 0, &err));
}

static void lists(void)
{
    struct ovl_iter *iter;
    struct ovl_usage_info usage;
    uint64_t bytes;
    IS(0, ovl_changes(store, "box", NULL, NULL, 0, &iter, &err));
    ovl_iter_free(iter);
    IS(0, ovl_diff_size(store, "tree", "", NULL, 0, &bytes, &err));
    IS(0, ovl_list(store, NULL, 0, &iter, &err));
    ovl_iter_free(iter);
    IS(0, ovl_mount_spec(store, "box", NULL, 0, &iter, &err));
    ovl_iter_free(iter);
    IS(0, ovl_usage(store, NULL, NULL, 0, &usage, sizeof usage, &err));
}

static void diffs(void)
{
    struct ovl_diff_opts sparse = {.flags = OVL_DIFF_SPARSE};
    int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    IS(0, ovl_diff(store, "tree", "", fd, &sparse, sizeof sparse, NULL, 0, &err));
    IS(0, ovl_diff(store, "box", "tree", fd, NULL, 0, NULL, 0, &err));
    CHECK(close(fd) == 0);
}

static void checks(void)
{
    struct ovl_check_opts repair = {.flags = OVL_CHECK_REPAIR};
    struct ovl_iter *iter;
    IS(0, ovl_check(store, &repair, sizeof repair, &iter, &err));
    ovl_iter_free(iter);
    IS(0, ovl_status(store, NULL, 0, &iter, &err));
    ovl_iter_free(iter);
}

static void copies(void)
{
    struct ovl_copy_opts opts = {.flags = OVL_COPY_SYNC};
    char from[4200], to[4200];
    snprintf(from, sizeof from, "%s/store/layer/tree/root", dir);
    snprintf(to, sizeof to, "%s/copy", dir);
    IS(0, ovl_copy_dir(AT_FDCWD, from, AT_FDCWD, to, &opts, sizeof opts, NULL, 0, &err));
}

static void fails(void)
{
    struct ovl_apply_opts parent = {.parent = "base"};
    struct ovl_mnt *none;
    int fd = file_of(dir, tar, tar_size / 2);
    IS(-EBADMSG, ovl_apply_layer(store, "half", fd, &parent, sizeof parent, NULL, 0, &err));
    IS(-EROFS, ovl_mount(store, "base", NULL, 0, &none, &err));
    IS(-EBUSY, ovl_remove(store, "base", NULL, 0, &err));
    CHECK(close(fd) == 0);
}

static void removes(void)
{
    const char *ids[] = {"copy", "flat", "tree", "box", "over", "base"};
    IS(0, ovl_commit(store, "box", NULL, 0, &err));
    for (unsigned at = 0; at < sizeof ids / sizeof *ids; at++)
        IS(0, ovl_remove(store, ids[at], NULL, 0, &err));
    IS(0, ovl_cleanup(store, NULL, 0, NULL, 0, &err));
    ovl_store_free(store);
}

static void *run(void *body)
{
    (*(void (**)(void))body)();
    return NULL;
}

/* On a thread with no more stack than is promised; tells how much of it was written to. */
static void on_little(const char *name, void (*body)(void))
{
    size_t size = (size_t)PTHREAD_STACK_MIN + PROMISED;
    size = (size + PAGE - 1) / PAGE * PAGE;
    /* A page that nobody may touch ends the process before what lies below is overwritten. */
    char *low = mmap(NULL, size + PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(low != MAP_FAILED && mprotect(low + PAGE, size, PROT_READ | PROT_WRITE) == 0);
    memset(low + PAGE, 0xA5, size);
    pthread_attr_t attributes;
    pthread_t thread;
    CHECK(pthread_attr_init(&attributes) == 0);
    CHECK(pthread_attr_setstack(&attributes, low + PAGE, size) == 0);
    CHECK(pthread_create(&thread, &attributes, run, &body) == 0 && pthread_join(thread, NULL) == 0);
    size_t untouched = 0;
    while (untouched < size && (unsigned char)low[PAGE + untouched] == 0xA5)
        untouched++;
    CHECK(pthread_attr_destroy(&attributes) == 0 && munmap(low, size + PAGE) == 0);
    if (size - untouched > most) {
        most = size - untouched;
        hungriest = name;
    }
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    dir = argv[1];
    int failed = enter();
    if (failed)
        return failed;
    if (SANITIZED) {
        /* Its frames are many times as large, and it has stacks of its own making. */
        free(tar);
        return 0;
    }
    deep = make_deep(&deep_size);
#define ON_LITTLE(body) on_little(#body, body)
    ON_LITTLE(opens);
    ON_LITTLE(applies);
    ON_LITTLE(creates);
    ON_LITTLE(mounts);
    ON_LITTLE(unmounts);
    ON_LITTLE(lists);
    ON_LITTLE(diffs);
    ON_LITTLE(copies);
    ON_LITTLE(fails);
    ON_LITTLE(checks);
    ON_LITTLE(removes);
    fprintf(stderr, "%s: %zu bytes of stack at most, in %s\n", argv[0], most, hungriest);
    CHECK(most > PAGE && most <= PROMISED);
    free(deep);
    free(tar);
    return 0;
}
