/* What the C tests share. */
#ifndef CHECK_H
#define CHECK_H

#include <errno.h>
#include <fcntl.h>
#include <ovl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Whether this is built with the address sanitizer. */
#ifdef __SANITIZE_ADDRESS__
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

#define CHECK(condition)                                                              \
    do {                                                                              \
        if (!(condition)) {                                                           \
            fprintf(stderr, "%s:%d: not so: %s (errno %d)\n", __FILE__, __LINE__,     \
                    #condition, errno);                                               \
            exit(1);                                                                  \
        }                                                                             \
    } while (0)

/* The call must return that. What an error says goes to stderr when it does not. */
#define IS(expected, call)                                                            \
    do {                                                                              \
        struct ovl_error *err = NULL;                                                 \
        long long got_ = (call);                                                      \
        if (got_ != (expected)) {                                                     \
            fprintf(stderr, "%s:%d: %s is %lld, not %lld: %s: %s: %s\n", __FILE__,    \
                    __LINE__, #call, got_, (long long)(expected),                     \
                    ovl_error_operation(err), ovl_error_path(err, NULL),              \
                    ovl_error_message(err));                                          \
            exit(1);                                                                  \
        }                                                                             \
        if (got_ < 0) {                                                               \
            CHECK(err != NULL);                                                       \
            CHECK(ovl_error_errno(err) == -got_);                                     \
            CHECK(ovl_error_code(err) != 0);                                          \
            CHECK(ovl_error_message(err)[0] != 0);                                    \
            CHECK(ovl_error_operation(err)[0] != 0);                                  \
        } else {                                                                      \
            CHECK(err == NULL);                                                       \
        }                                                                             \
        ovl_error_free(err);                                                          \
    } while (0)

/* As IS, for a failure with a code. */
#define FAILS(expected, code, call)                                                   \
    do {                                                                              \
        struct ovl_error *err = NULL;                                                 \
        CHECK((call) == -(expected));                                                 \
        CHECK(errno == (expected));                                                   \
        CHECK(ovl_error_errno(err) == (expected));                                    \
        CHECK(ovl_error_code(err) == (code));                                         \
        ovl_error_free(err);                                                          \
    } while (0)

static inline struct ovl_store *open_store(const char *dir)
{
    static char home[4096];
    struct ovl_store *store = NULL;
    snprintf(home, sizeof home, "%s/store", dir);
    IS(0, ovl_store_open(home, NULL, 0, &store, &err));
    CHECK(store != NULL);
    return store;
}

/* One block of a tar: an entry of that type, with a size. */
static inline void tar_header(char block[512], const char *name, char type, unsigned size)
{
    unsigned sum = 0;
    memset(block, 0, 512);
    snprintf(block, 100, "%s", name);
    memcpy(block + 100, type == '5' ? "0000755" : "0000644", 8);
    snprintf(block + 108, 8, "%07o", (unsigned)getuid());
    snprintf(block + 116, 8, "%07o", (unsigned)getgid());
    snprintf(block + 124, 12, "%011o", size);
    snprintf(block + 136, 12, "%011o", 1000000000u);
    memset(block + 148, ' ', 8);
    block[156] = type;
    memcpy(block + 257, "ustar", 6);
    memcpy(block + 263, "00", 2);
    for (int i = 0; i < 512; i++)
        sum += (unsigned char)block[i];
    snprintf(block + 148, 8, "%06o", sum);
}

/* A layer tar: a directory d, and files d/0, d/1, ... of 512 bytes. Freed by the caller. */
static inline char *make_tar(unsigned files, size_t *size)
{
    *size = 512 + (size_t)files * 1024 + 1024;
    char *tar = calloc(1, *size), *at = tar + 512;
    CHECK(tar != NULL);
    tar_header(tar, "d/", '5', 0);
    for (unsigned i = 0; i < files; i++, at += 1024) {
        char name[32];
        snprintf(name, sizeof name, "d/%u", i);
        tar_header(at, name, '0', 512);
        memset(at + 512, 'a' + (int)(i % 26), 512);
    }
    return tar;
}

/* A descriptor on a file with these bytes, at its start. */
static inline int file_of(const char *dir, const char *bytes, size_t size)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/file.XXXXXX", dir);
    int fd = mkostemp(path, O_CLOEXEC);
    CHECK(fd >= 0);
    CHECK(unlink(path) == 0);
    CHECK(write(fd, bytes, size) == (ssize_t)size);
    CHECK(lseek(fd, 0, SEEK_SET) == 0);
    return fd;
}

/* Makes the layer `id` of a tar with so many files. */
static inline void apply(struct ovl_store *store, const char *dir, const char *id, unsigned files)
{
    size_t size;
    char *tar = make_tar(files, &size);
    int fd = file_of(dir, tar, size);
    IS(0, ovl_apply_layer(store, id, fd, NULL, 0, NULL, 0, &err));
    CHECK(close(fd) == 0);
    free(tar);
}

#endif
