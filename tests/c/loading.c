/* The library comes and goes while the process runs, and the process ends while calls run. */
#define _GNU_SOURCE
#include "check.h"

#include <dlfcn.h>
#include <pthread.h>

static const char *dir;

/* What is used of it. The program is not linked to the library: it has these from dlsym() alone. */
static struct {
    void *library;
    __typeof__(&ovl_store_open) store_open;
    __typeof__(&ovl_store_free) store_free;
    __typeof__(&ovl_create) create;
    __typeof__(&ovl_remove) remove;
    __typeof__(&ovl_apply_layer) apply_layer;
    __typeof__(&ovl_list) list;
    __typeof__(&ovl_iter_next) iter_next;
    __typeof__(&ovl_iter_free) iter_free;
    __typeof__(&ovl_version) version;
} lib;

static void load(void)
{
    lib.library = dlopen("libovl.so.0", RTLD_NOW | RTLD_LOCAL);
    if (!lib.library)
        fprintf(stderr, "%s\n", dlerror());
    CHECK(lib.library != NULL);
#define GET(name) CHECK((*(void **)&lib.name = dlsym(lib.library, "ovl_" #name)) != NULL)
    GET(store_open);
    GET(store_free);
    GET(create);
    GET(remove);
    GET(apply_layer);
    GET(list);
    GET(iter_next);
    GET(iter_free);
    GET(version);
}

static struct ovl_store *opened(void)
{
    struct ovl_store *store = NULL;
    char home[4200];
    snprintf(home, sizeof home, "%s/store", dir);
    CHECK(lib.store_open(home, NULL, 0, &store, NULL) == 0);
    return store;
}

static void use(void)
{
    struct ovl_store *store = opened();
    struct ovl_iter *iter = NULL;
    struct ovl_item item;
    CHECK(lib.create(store, "layer", NULL, NULL, 0, NULL) == 0);
    CHECK(lib.list(store, NULL, 0, &iter, NULL) == 0);
    CHECK(lib.iter_next(iter, &item, sizeof item, NULL) == 1 && strcmp(item.name, "layer") == 0);
    lib.iter_free(iter);
    CHECK(lib.remove(store, "layer", NULL, 0, NULL) == 0);
    lib.store_free(store);
}

static pthread_barrier_t unloaded;

/* Uses the library, and ends when it is gone: what it left for the end of the thread must be there. */
static void *outlives(void *user)
{
    (void)user;
    struct ovl_store *store = opened();
    lib.store_free(store);
    pthread_barrier_wait(&unloaded);
    pthread_barrier_wait(&unloaded);
    return NULL;
}

static void comes_and_goes(void)
{
    CHECK(pthread_barrier_init(&unloaded, NULL, 2) == 0);
    for (int round = 0; round < 3; round++) {
        pthread_t thread;
        load();
        use();
        CHECK(pthread_create(&thread, NULL, outlives, NULL) == 0);
        pthread_barrier_wait(&unloaded);
        CHECK(dlclose(lib.library) == 0);
        pthread_barrier_wait(&unloaded);
        CHECK(pthread_join(thread, NULL) == 0);
        /* It stays, so that a call which is on its way out returns to what is there. */
        CHECK(lib.version()[0] != 0);
    }
}

static pthread_barrier_t inside;

/* A call that nothing ends: it waits in a system call, or in the caller's own code. */
static int64_t stalls(void *user, void *buf, size_t len)
{
    (void)user, (void)buf, (void)len;
    pthread_barrier_wait(&inside);
    while (pause())
        continue;
    return 0;
}

static void *waits_in_callback(void *user)
{
    struct ovl_apply_opts opts = {.read = stalls};
    lib.apply_layer(user, "never", -1, &opts, sizeof opts, NULL, 0, NULL);
    return NULL;
}

static void *waits_in_read(void *user)
{
    int ends[2];
    CHECK(pipe2(ends, O_CLOEXEC) == 0);
    pthread_barrier_wait(&inside);
    lib.apply_layer(user, "never", ends[0], NULL, 0, NULL, 0, NULL);
    return NULL;
}

static void *works(void *user)
{
    pthread_barrier_wait(&inside);
    for (;;) {
        lib.create(user, "again", NULL, NULL, 0, NULL);
        lib.remove(user, "again", NULL, 0, NULL);
    }
    return NULL;
}

/* In a process of its own, which exits after so long. */
static void exits_inside(void *(*call)(void *), unsigned microseconds)
{
    fflush(NULL);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        pthread_t thread;
        alarm(60);
        struct ovl_store *store = opened();
        CHECK(pthread_barrier_init(&inside, NULL, 2) == 0);
        CHECK(pthread_create(&thread, NULL, call, store) == 0);
        pthread_barrier_wait(&inside);
        usleep(microseconds);
        exit(7);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7);
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    dir = argv[1];
    comes_and_goes();
    load();
    for (unsigned at = 0; at < 20; at++) {
        exits_inside(waits_in_callback, at * 100);
        exits_inside(waits_in_read, at * 100);
        exits_inside(works, at * 211);
    }
    /* What they left is no layer, or one that is whole. */
    struct ovl_store *store = opened();
    int got = lib.remove(store, "again", NULL, 0, NULL);
    CHECK(got == 0 || got == -ENOENT);
    CHECK(lib.remove(store, "never", NULL, 0, NULL) == -ENOENT);
    lib.store_free(store);
    use();
    return 0;
}
