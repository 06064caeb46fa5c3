/* All that a library could change of its host, as text, one line for each thing. */
#ifndef PROCESS_H
#define PROCESS_H

#include "check.h"

#include <dirent.h>
#include <locale.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>

extern char **environ;

static inline void tell_link(FILE *out, const char *path)
{
    char target[4096] = "";
    if (readlink(path, target, sizeof target - 1) < 0)
        snprintf(target, sizeof target, "errno %d", errno);
    fprintf(out, "%s -> %s\n", path, target);
}

/* A file's lines; those that begin with one of the words alone, where there are words. */
static inline void tell_lines(FILE *out, const char *path, const char *const *words)
{
    char line[4096];
    FILE *file = fopen(path, "re");
    if (!file)
        return;
    while (fgets(line, sizeof line, file)) {
        int wanted = words == NULL;
        for (int at = 0; words && words[at]; at++)
            wanted |= strncmp(line, words[at], strlen(words[at])) == 0;
        if (wanted)
            fprintf(out, "%s: %s", path, line);
    }
    fclose(file);
}

/* Calls `each` for the entries of a directory. */
static inline void for_entries(FILE *out, const char *path, void (*each)(FILE *, const char *, const char *))
{
    DIR *list = opendir(path);
    CHECK(list != NULL);
    for (struct dirent *one; (one = readdir(list));) {
        if (one->d_name[0] != '.' && atoi(one->d_name) != dirfd(list))
            each(out, path, one->d_name);
    }
    closedir(list);
}

static inline void tell_namespace(FILE *out, const char *at, const char *name)
{
    char path[600];
    snprintf(path, sizeof path, "%s/%s", at, name);
    tell_link(out, path);
}

static inline void tell_descriptor(FILE *out, const char *at, const char *name)
{
    static const char *const kept[] = {"pos:", "flags:", NULL};
    char path[600];
    int fd = atoi(name);
    snprintf(path, sizeof path, "%s/%s", at, name);
    tell_link(out, path);
    fprintf(out, "descriptor %d: %x %x\n", fd, (unsigned)fcntl(fd, F_GETFD), (unsigned)fcntl(fd, F_GETFL));
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
    tell_lines(out, path, kept);
}

static inline void tell_thread(FILE *out, const char *at, const char *name)
{
    static const char *const kept[] = {
        "Name:", "Umask:", "Tgid:", "Pid:", "PPid:", "Uid:", "Gid:", "Groups:", "Threads:", "SigPnd:",
        "ShdPnd:", "SigBlk:", "SigIgn:", "SigCgt:", "CapInh:", "CapPrm:", "CapEff:", "CapBnd:",
        "CapAmb:", "NoNewPrivs:", "Seccomp", "Cpus_allowed:", "Mems_allowed:", NULL};
    static const char *const files[] = {"limits", "oom_score_adj", "personality", "children"};
    char path[900], in[600];
    pid_t tid = atoi(name);
    snprintf(in, sizeof in, "%s/%s", at, name);
    snprintf(path, sizeof path, "%s/ns", in);
    for_entries(out, path, tell_namespace);
    snprintf(path, sizeof path, "%s/cwd", in);
    tell_link(out, path);
    snprintf(path, sizeof path, "%s/root", in);
    tell_link(out, path);
    snprintf(path, sizeof path, "%s/status", in);
    tell_lines(out, path, kept);
    for (unsigned one = 0; one < sizeof files / sizeof *files; one++) {
        snprintf(path, sizeof path, "%s/%s", in, files[one]);
        tell_lines(out, path, NULL);
    }
    snprintf(path, sizeof path, "/proc/%d/timerslack_ns", tid);
    tell_lines(out, path, NULL);
    fprintf(out, "scheduling of %d: %d %d %ld\n", tid, sched_getscheduler(tid),
            getpriority(PRIO_PROCESS, (id_t)tid), syscall(SYS_ioprio_get, 1, tid));
}

/* What only a thread itself can tell. */
static inline char *observe_self(void)
{
    char *text = NULL, name[32] = "";
    size_t size = 0;
    int death = -1;
    stack_t stack;
    FILE *out = open_memstream(&text, &size);
    CHECK(out != NULL);
    CHECK(sigaltstack(NULL, &stack) == 0);
    CHECK(prctl(PR_GET_PDEATHSIG, &death) == 0 && prctl(PR_GET_NAME, name) == 0);
    fprintf(out, "signal stack: %p %d %zu\n", stack.ss_sp, stack.ss_flags, stack.ss_size);
    fprintf(out, "name: %s\n", name);
    fprintf(out, "prctl: %d %d %d\n", death, prctl(PR_GET_KEEPCAPS), prctl(PR_GET_NO_NEW_PRIVS));
    CHECK(fclose(out) == 0);
    return text;
}

/* Every thread, the descriptors, and what the threads share. Freed by the caller. */
static inline char *observe_process(void)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    CHECK(out != NULL);
    for_entries(out, "/proc/self/task", tell_thread);
    for_entries(out, "/proc/self/fd", tell_descriptor);
    tell_lines(out, "/proc/self/timers", NULL);
    for (int timer = ITIMER_REAL; timer <= ITIMER_PROF; timer++) {
        struct itimerval now;
        CHECK(getitimer(timer, &now) == 0);
        fprintf(out, "timer %d: %ld.%ld\n", timer, now.it_interval.tv_sec, now.it_interval.tv_usec);
    }
    for (int signal = 1; signal < 65; signal++) {
        struct sigaction action;
        memset(&action, 0, sizeof action);
        if (sigaction(signal, NULL, &action) != 0)
            continue;
        fprintf(out, "signal %d: %p %x", signal, (void *)action.sa_handler, (unsigned)action.sa_flags);
        for (int other = 1; other < 65; other++)
            fprintf(out, "%s", sigismember(&action.sa_mask, other) == 1 ? "1" : "0");
        fprintf(out, "\n");
    }
    for (char **word = environ; *word; word++)
        fprintf(out, "environment: %p %s\n", (void *)*word, *word);
    fprintf(out, "locale: %s\n", setlocale(LC_ALL, NULL));
    fprintf(out, "prctl: %d %d\n", prctl(PR_GET_DUMPABLE), prctl(PR_GET_SECUREBITS));
    CHECK(fclose(out) == 0);
    return text;
}

/* Both are freed. */
static inline void same_text(const char *what, char *before, char *after)
{
    char *one = before, *other = after;
    if (strcmp(before, after) == 0) {
        free(before);
        free(after);
        return;
    }
    while (*one && *other && *one == *other)
        one++, other++;
    while (one > before && one[-1] != '\n')
        one--, other--;
    fprintf(stderr, "%s is not as it was:\n%.300s\n---\n%.300s\n", what, one, other);
    exit(1);
}

#endif
