/* Progress, cancellation and the log. */
#define _GNU_SOURCE
#include "check.h"

#include <pthread.h>
#include <signal.h>

static struct ovl_store *store;
static struct ovl_cancel *cancel;
static const char *dir;

struct watch {
    pthread_t thread;
    unsigned calls;
    int answer;
    struct ovl_progress last;
};

static int look(void *user, const struct ovl_progress *progress, size_t size)
{
    struct watch *watch = user;
    CHECK(pthread_equal(watch->thread, pthread_self()));
    CHECK(size >= sizeof *progress);
    CHECK(progress->entries >= watch->last.entries && progress->bytes >= watch->last.bytes);
    watch->last = *progress;
    watch->calls++;
    /* A callback may call the library, on the same handle too. */
    CHECK(ovl_exists(store, "base", NULL, 0, NULL) == 1);
    return watch->answer;
}

static void trigger(int signal)
{
    (void)signal;
    ovl_cancel_trigger(cancel);
}

static void *trigger_later(void *user)
{
    (void)user;
    usleep(50000);
    ovl_cancel_trigger(cancel);
    return NULL;
}

static unsigned lines;
static void note(void *user, uint32_t level, const char *message)
{
    CHECK(user == &lines);
    CHECK(level >= OVL_LOG_ERROR && level <= OVL_LOG_DEBUG && message[0] && !strchr(message, '\n'));
    lines++;
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    dir = argv[1];
    store = open_store(dir);
    apply(store, dir, "base", 1);
    size_t size;
    char *tar = make_tar(3000, &size);
    int fd = file_of(dir, tar, size);

    struct watch watch = {.thread = pthread_self()};
    struct ovl_apply_opts opts = {.progress = look, .progress_user = &watch};
    IS(0, ovl_apply_layer(store, "big", fd, &opts, sizeof opts, NULL, 0, &err));
    CHECK(watch.calls > 0 && watch.last.entries > 0);

    /* What it answers comes back, whatever its sign. */
    for (int answer = -7; answer <= 300; answer += 307) {
        struct ovl_error *err = NULL;
        watch = (struct watch){.thread = pthread_self(), .answer = answer};
        CHECK(lseek(fd, 0, SEEK_SET) == 0);
        CHECK(ovl_apply_layer(store, "l", fd, &opts, sizeof opts, NULL, 0, &err) == -ECANCELED);
        CHECK(errno == ECANCELED && ovl_error_code(err) == OVL_E_CANCELLED);
        CHECK(ovl_error_callback_result(err) == answer && watch.calls == 1);
        ovl_error_free(err);
        CHECK(ovl_exists(store, "l", NULL, 0, NULL) == 0);
    }

    /* A flag that is up stops every call that takes one, before it has done anything. */
    cancel = ovl_cancel_new();
    CHECK(cancel != NULL);
    CHECK(signal(SIGUSR1, trigger) != SIG_ERR && raise(SIGUSR1) == 0);
    opts = (struct ovl_apply_opts){.cancel = cancel};
    CHECK(lseek(fd, 0, SEEK_SET) == 0);
    FAILS(ECANCELED, OVL_E_CANCELLED,
          ovl_apply_layer(store, "l", fd, &opts, sizeof opts, NULL, 0, &err));
    CHECK(ovl_exists(store, "l", NULL, 0, NULL) == 0);
    struct ovl_diff_opts diff = {.cancel = cancel};
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    FAILS(ECANCELED, OVL_E_CANCELLED,
          ovl_diff(store, "big", NULL, null, &diff, sizeof diff, NULL, 0, &err));
    CHECK(close(null) == 0);
    struct ovl_changes_opts changes = {.cancel = cancel};
    struct ovl_iter *iter = NULL;
    FAILS(ECANCELED, OVL_E_CANCELLED,
          ovl_changes(store, "big", "", &changes, sizeof changes, &iter, &err));
    CHECK(iter == NULL);
    char from[5000], to[5000];
    snprintf(from, sizeof from, "%s/store/layer/big/root", dir);
    snprintf(to, sizeof to, "%s/copy", dir);
    struct ovl_copy_opts copy = {.cancel = cancel};
    FAILS(ECANCELED, OVL_E_CANCELLED,
          ovl_copy_dir(AT_FDCWD, from, AT_FDCWD, to, &copy, sizeof copy, NULL, 0, &err));
    CHECK(access(to, F_OK) != 0);
    ovl_cancel_free(cancel);

    /* One that is raised while a call waits: for a pipe that nobody writes to, or reads from. */
    for (int writing = 0; writing < 2; writing++) {
        int ends[2];
        pthread_t thread;
        CHECK(pipe2(ends, O_CLOEXEC) == 0);
        cancel = ovl_cancel_new();
        CHECK(pthread_create(&thread, NULL, trigger_later, NULL) == 0);
        opts.cancel = diff.cancel = cancel;
        if (writing)
            FAILS(ECANCELED, OVL_E_CANCELLED,
                  ovl_diff(store, "big", NULL, ends[1], &diff, sizeof diff, NULL, 0, &err));
        else
            FAILS(ECANCELED, OVL_E_CANCELLED,
                  ovl_apply_layer(store, "l", ends[0], &opts, sizeof opts, NULL, 0, &err));
        CHECK(pthread_join(thread, NULL) == 0);
        CHECK(close(ends[0]) == 0 && close(ends[1]) == 0);
        ovl_cancel_free(cancel);
    }
    CHECK(ovl_exists(store, "l", NULL, 0, NULL) == 0);

    /* The log of a store that has something to say: a layer that cannot be removed whole. */
    ovl_store_free(store);
    struct ovl_store_opts open = {.log = note, .log_user = &lines, .log_level = OVL_LOG_DEBUG};
    char home[4200];
    snprintf(home, sizeof home, "%s/store", dir);
    IS(0, ovl_store_open(home, &open, sizeof open, &store, &err));
    cancel = ovl_cancel_new();
    ovl_cancel_trigger(cancel);
    struct ovl_remove_opts remove = {.cancel = cancel};
    int rc = ovl_remove(store, "big", &remove, sizeof remove, NULL);
    CHECK(rc == -ECANCELED || (rc == 0 && lines > 0));
    ovl_cancel_free(cancel);
    ovl_store_free(store);
    CHECK(close(fd) == 0);
    free(tar);
    return 0;
}
