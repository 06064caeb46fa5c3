/* Many threads and several stores, every call there is, over and over, while the process starts
 * programs: afterwards every thread of it, and all that its threads share, is as it was before. */
#define _GNU_SOURCE
#include "every.h"
#include "process.h"

#include <pthread.h>
#include <spawn.h>

enum { STORES = 3, ROUNDS = 2 };

static struct ovl_store *stores[STORES];
static int threads = MOST;
static pthread_barrier_t begun, work_begins, work_ends, all_ends;
static atomic_int working, cancelled;

static void *cancels_others(void *user)
{
    (void)user;
    while (atomic_load(&working)) {
        atomic_fetch_add(&cancelled, cancel_waiting());
        usleep(1000);
    }
    return NULL;
}

static void *thread(void *user)
{
    struct worker *me = user;
    char *before = observe_self();
    pthread_barrier_wait(&begun);
    pthread_barrier_wait(&work_begins);
    me->store = stores[me->number % STORES];
    for (int round = 0; round < ROUNDS; round++)
        call_all(me);
    atomic_fetch_sub(&working, 1);
    pthread_barrier_wait(&work_ends);
    pthread_barrier_wait(&all_ends);
    same_text("a thread", before, observe_self());
    return NULL;
}

static char *given;

/* The descriptors that an exec'd program gets. */
static void tell_number(FILE *out, const char *in, const char *name)
{
    (void)in;
    fprintf(out, "%s ", name);
}

static char *descriptors(void)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    CHECK(out != NULL);
    for_entries(out, "/proc/self/fd", tell_number);
    CHECK(fclose(out) == 0);
    return text;
}

static void spawn_one(void)
{
    char *words[] = {"hammer", "--descriptors", given, NULL};
    pid_t child;
    int status;
    CHECK(posix_spawn(&child, "/proc/self/exe", NULL, NULL, words, environ) == 0);
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void finish(void)
{
    for (int at = 0; at < STORES; at++) {
        struct ovl_iter *iter;
        struct ovl_item item;
        IS(0, ovl_list(stores[at], NULL, 0, &iter, &err));
        IS(1, ovl_iter_next(iter, &item, sizeof item, &err));
        CHECK(strcmp(item.name, "base") == 0);
        IS(0, ovl_iter_next(iter, &item, sizeof item, &err));
        ovl_iter_free(iter);
        /* A hint of a child stays where somebody built on the parent while the child went. */
        IS(0, ovl_cleanup(stores[at], NULL, 0, NULL, 0, &err));
        IS(0, ovl_check(stores[at], NULL, 0, &iter, &err));
        while (ovl_iter_next(iter, &item, sizeof item, NULL) > 0) {
            if (item.what != OVL_CHECK_NOTE)
                fprintf(stderr, "check: %s: %s\n", item.name, item.detail);
            CHECK(item.what == OVL_CHECK_NOTE);
        }
        ovl_iter_free(iter);
        ovl_store_free(stores[at]);
    }
}

int main(int argc, char **argv)
{
    static struct worker workers[MOST];
    pthread_t canceller;
    if (argc == 3 && strcmp(argv[1], "--descriptors") == 0) {
        char *got = descriptors();
        int same = strcmp(got, argv[2]) == 0;
        if (!same)
            fprintf(stderr, "inherited: %s, not %s\n", got, argv[2]);
        free(got);
        return !same;
    }
    CHECK(argc == 2 || argc == 3);
    dir = argv[1];
    if (argc == 3)
        threads = atoi(argv[2]);
    CHECK(threads > 0 && threads <= MOST);
    int failed = enter();
    if (failed)
        return failed;
    umask(027);
    given = descriptors();
    CHECK(pthread_barrier_init(&begun, NULL, (unsigned)threads + 1) == 0);
    CHECK(pthread_barrier_init(&work_begins, NULL, (unsigned)threads + 1) == 0);
    CHECK(pthread_barrier_init(&work_ends, NULL, (unsigned)threads + 1) == 0);
    CHECK(pthread_barrier_init(&all_ends, NULL, (unsigned)threads + 1) == 0);
    for (int at = 0; at < threads; at++) {
        struct worker *one = &workers[at];
        char home[4200];
        snprintf(home, sizeof home, "%s/store-%d", dir, at % STORES);
        name_worker(one, at, home);
        CHECK(pthread_create(&one->thread, NULL, thread, one) == 0);
    }
    pthread_barrier_wait(&begun);
    char *before = observe_process();
    for (int at = 0; at < STORES; at++)
        stores[at] = open_with_base(workers[at % threads].home);
    atomic_store(&working, threads);
    CHECK(pthread_create(&canceller, NULL, cancels_others, NULL) == 0);
    pthread_barrier_wait(&work_begins);
    int spawned = 0;
    while (atomic_load(&working) || spawned == 0) {
        spawn_one();
        spawned++;
        usleep(20000);
    }
    pthread_barrier_wait(&work_ends);
    CHECK(pthread_join(canceller, NULL) == 0);
    finish();
    same_text("the process", before, observe_process());
    pthread_barrier_wait(&all_ends);
    for (int at = 0; at < threads; at++)
        CHECK(pthread_join(workers[at].thread, NULL) == 0);
    CHECK(atomic_load(&cancelled) == threads * ROUNDS);
    free(given);
    free(tar);
    return 0;
}
