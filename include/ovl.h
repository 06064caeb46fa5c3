/* SPDX-License-Identifier: Apache-2.0 */

/*
 * libovl: an embedded store of container layers.
 *
 * This file is generated from the library's sources by `make header`.
 *
 * What holds for every function:
 *
 * Return. A call that is an int returns 0 or more when it has done its work, and -errno when it has
 * not; errno is set too. A function lists what it adds to these:
 *   EINVAL           an argument is NULL that must not be, an unknown flag, a reserved member that
 *                    is not 0, or a value that is not allowed
 *   E2BIG            the options have bytes that this library does not know, and they are not 0
 *   ECANCELED        stopped by an ovl_cancel, or by a progress callback
 *   EOWNERDEAD       the handle came through a fork
 *   ENOTRECOVERABLE  a bug of the library was caught, in this call or an earlier one on the handle
 * and what a system call says goes out as it is.
 *
 * Errors. `err`, the last parameter, may be NULL. When a call fails, and only then, it puts an
 * ovl_error into *err, which tells more, and which the caller frees with ovl_error_free(). What was
 * in *err before is not looked at. There is no "last error", and no state of a thread.
 *
 * Options are a struct and its size: sizeof(struct ovl_..._opts), as the caller was compiled. Set
 * all of it to 0 first: 0 is the default of every member. NULL and 0 are the defaults of all.
 * Members are only ever added at the end. A struct that ends earlier than the library's counts as
 * filled up with 0; one that goes on must be 0 there (-E2BIG).
 * Results are a struct and its size as well: the library fills in what both know, and sets the rest
 * to 0. NULL says that the caller does not want it. An output is written when the call succeeds, and
 * otherwise left alone.
 *
 * Handles. `struct ovl_store` may be used by any number of threads at once; `struct ovl_mnt` and
 * `struct ovl_iter` by one at a time, and from thread to thread; `struct ovl_cancel` and
 * `struct ovl_error` by any. Each is freed by its own ..._free(), which takes NULL too, never fails,
 * and leaves errno alone; not while a call on the handle runs, so not by a callback either. In a
 * forked child, a store, mount or iterator that the parent made is good for ..._free() alone, which
 * there closes descriptors, and nothing else; until then, or exec, the child keeps the parent's
 * locks and detached mounts alive. A child opens a store of its own.
 * The descriptors of a store or mount are its own. A host that closes one between calls, as by
 * closefrom(3), is told -EBADF by every call on the handle from then on, also where the number is by
 * then that of something else; ..._free() closes those that are still the handle's, and no other.
 * What is closed while a call runs is not found out.
 *
 * Strings that go in end in NUL, are read during the call alone, and need not be UTF-8. Strings that
 * come out end in NUL and are borrowed from a handle, never to be freed or changed.
 *
 * Callbacks run during the call, on the thread that made it, with no lock of the library held. They
 * may call libovl. They must return: no longjmp(), no C++ exception. Descriptors that go in stay the
 * caller's.
 *
 * The library keeps out of its host's affairs. It changes no working directory, umask, credential,
 * namespace, environment, signal handler or limit, and starts no process; its threads end before the
 * call does, and take no signals. A handler that interrupts a call changes nothing of it. Its
 * descriptors are close-on-exec from their birth, and none that lasts, or is there while a callback
 * runs, is 0, 1 or 2. It prints nothing; only where it catches a bug of its own, the Rust runtime
 * says so on stderr.
 *
 * A call needs 64 KiB of stack at most, however deep the trees are. A mount at a path, and the
 * extended attributes of what cannot be opened (symbolic links, devices, FIFOs), need procfs at /proc.
 */


#ifndef OVL_H
#define OVL_H

#include <stddef.h>
#include <stdint.h>

/**
 * This header's version. ovl_version() has that of the library.
 */
#define OVL_VERSION_MAJOR 0

/**
 * See OVL_VERSION_MAJOR.
 */
#define OVL_VERSION_MINOR 1

/**
 * See OVL_VERSION_MAJOR.
 */
#define OVL_VERSION_PATCH 0

/**
 * A system call failed; errno says how.
 */
#define OVL_E_SYSTEM 1

/**
 * An argument, option or flag that is not allowed.
 */
#define OVL_E_INVALID 2

/**
 * The layer is not there.
 */
#define OVL_E_NO_LAYER 3

/**
 * The layer is there already.
 */
#define OVL_E_LAYER_EXISTS 4

/**
 * Other layers are built on this one.
 */
#define OVL_E_HAS_CHILDREN 5

/**
 * The layer is mounted, or a mount handle is open.
 */
#define OVL_E_MOUNTED 6

/**
 * Another caller is working on the layer.
 */
#define OVL_E_LOCKED 7

/**
 * The layer is committed and never changes again.
 */
#define OVL_E_COMMITTED 8

/**
 * The layer, or its parent, is not committed yet.
 */
#define OVL_E_NOT_COMMITTED 9

/**
 * The archive is malformed.
 */
#define OVL_E_ARCHIVE 10

/**
 * The archive ends before its end.
 */
#define OVL_E_TRUNCATED 11

/**
 * A digest differs from the one given.
 */
#define OVL_E_DIGEST 12

/**
 * A limit of the options was reached.
 */
#define OVL_E_LIMIT 13

/**
 * A path leaves its root, or another mount is in the way.
 */
#define OVL_E_ESCAPE 14

/**
 * The kernel or the file system cannot do it, and there is no way around.
 */
#define OVL_E_UNSUPPORTED 15

/**
 * The caller cancelled.
 */
#define OVL_E_CANCELLED 16

/**
 * A bug of the library was caught.
 */
#define OVL_E_BUG 17

/**
 * A handle was used in a forked child.
 */
#define OVL_E_FORKED 18

/**
 * The store has a format that this library does not know.
 */
#define OVL_E_FORMAT 19

/**
 * The directory is not a store, or part of it is damaged.
 */
#define OVL_E_DAMAGED 20

/**
 * The caller may not use the store's marks (`trusted.*` needs privilege).
 */
#define OVL_E_MARKS 21

/**
 * A strict call met something that it can only do in part.
 */
#define OVL_E_STRICT 22

/**
 * The destination exists and is not empty.
 */
#define OVL_E_NOT_EMPTY 23

/**
 * A caller's callback failed.
 */
#define OVL_E_CALLBACK 24

/**
 * The machine went down while the layer was mounted writable: data may be lost.
 */
#define OVL_E_UNCLEAN 25

/**
 * The image is not there.
 */
#define OVL_E_NO_IMAGE 26

/**
 * Somebody changed what was being read: the same call may succeed the next time.
 */
#define OVL_E_CHANGED 27

/**
 * ovl_store_open(): the store must be there; a missing or empty directory is not made one.
 */
#define OVL_STORE_MUST_EXIST 1

/**
 * ovl_store_open(): nothing in the store is changed; calls that would are -EROFS.
 */
#define OVL_STORE_READ_ONLY 2

/**
 * ovl_store_opts.marks: what the store has; for a new one, what the caller may set.
 */
#define OVL_MARKS_AUTO 0

/**
 * ovl_store_opts.marks: `trusted.overlay.*`, which needs CAP_SYS_ADMIN.
 */
#define OVL_MARKS_TRUSTED 1

/**
 * ovl_store_opts.marks: `user.overlay.*`, which any owner may set.
 */
#define OVL_MARKS_USER 2

/**
 * Log level: something failed that no return value tells.
 */
#define OVL_LOG_ERROR 1

/**
 * Log level: something that a person should look at.
 */
#define OVL_LOG_WARNING 2

/**
 * Log level: what is done.
 */
#define OVL_LOG_INFO 3

/**
 * Log level: how it is done.
 */
#define OVL_LOG_DEBUG 4

/**
 * ovl_create(): accept that a mounted parent changes while it is copied.
 */
#define OVL_CREATE_LIVE 1

/**
 * ovl_create(): a committed `root` layer of the parent's merged tree, by hard links, instead of
 * one more level.
 */
#define OVL_CREATE_FLAT 2

/**
 * ovl_create(): the new layer is on the disk when the call returns.
 */
#define OVL_CREATE_SYNC 4

/**
 * ovl_apply_layer(): leave the layer writable.
 */
#define OVL_APPLY_WRITABLE 1

/**
 * ovl_apply_layer(): fail with OVL_E_STRICT where otherwise something is left out and counted.
 */
#define OVL_APPLY_STRICT 2

/**
 * ovl_apply_layer(): leave out device nodes, and count them; with OVL_APPLY_STRICT, fail.
 */
#define OVL_APPLY_NO_DEVICES 4

/**
 * ovl_apply_layer(): the layer must be there; none is made.
 */
#define OVL_APPLY_EXISTING 8

/**
 * ovl_apply_opts.kind: overlay where there is a parent and the store can hold an upper, else root.
 */
#define OVL_KIND_DEFAULT 0

/**
 * ovl_apply_opts.kind: a complete tree. Also in ovl_layer_info.kind.
 */
#define OVL_KIND_ROOT 1

/**
 * ovl_apply_opts.kind: only the changes, over the parent. Also in ovl_layer_info.kind.
 */
#define OVL_KIND_OVERLAY 2

/**
 * ovl_layer_info.state: the layer can be changed.
 */
#define OVL_STATE_WRITABLE 1

/**
 * ovl_layer_info.state: the layer never changes again.
 */
#define OVL_STATE_COMMITTED 2

/**
 * Durability: what is usual for the call; OVL_DURABILITY_FULL for what becomes committed.
 */
#define OVL_DURABILITY_DEFAULT 0

/**
 * Durability: nothing is synced. A power cut may take the layer, or leave it damaged.
 */
#define OVL_DURABILITY_NONE 1

/**
 * Durability: the layer is on the disk when the call returns.
 */
#define OVL_DURABILITY_FULL 2

/**
 * Durability: as full, and the content is read back, and its digests are kept.
 */
#define OVL_DURABILITY_VERIFIED 3

/**
 * ovl_commit(): accept what the layer holds now, though the machine went down while it was mounted
 * writable, and what was not synced then may be lost.
 */
#define OVL_COMMIT_SALVAGE 1

/**
 * ovl_commit(): the layer may be mounted, by whoever; the caller sees to it that nobody writes to it
 * any more.
 */
#define OVL_COMMIT_MOUNTED 2

/**
 * ovl_remove(): leave the files for a later ovl_cleanup().
 */
#define OVL_REMOVE_DEFER 1

/**
 * ovl_mount(): refuse writes.
 */
#define OVL_MOUNT_READ_ONLY 1

/**
 * ovl_mount(): the mount stays when its last handle is freed, until it is unmounted.
 */
#define OVL_MOUNT_KEEP 2

/**
 * ovl_mount(): no path; the mount is a descriptor (ovl_mnt_fd()), and ends with its last copy.
 */
#define OVL_MOUNT_DETACHED 4

/**
 * ovl_mount(): never sync the upper: for layers that are thrown away. ovl_commit() syncs it, and
 * so does a later mount without this. If the machine goes down before, the layer is OVL_E_UNCLEAN.
 * With OVL_MOUNT_READ_ONLY there is nothing to sync, and it says nothing.
 */
#define OVL_MOUNT_VOLATILE 8

/**
 * ovl_unmount(), ovl_unmount_at(): detach now, and end when the last user is gone.
 */
#define OVL_UNMOUNT_LAZY 1

/**
 * ovl_mount_spec(): a spec of a read-only mount.
 */
#define OVL_SPEC_READ_ONLY 1

/**
 * ovl_mount_spec(): one item, the mount as an entry of `mounts` in an OCI runtime configuration.
 */
#define OVL_SPEC_OCI_JSON 2

/**
 * ovl_mount_spec(): options longer than the one page of mount(2) too, for a caller that shortens them
 * (relative to a common directory, as containerd does) or gives them to fsconfig(2).
 */
#define OVL_SPEC_LONG 4

/**
 * ovl_item.what of ovl_mount_spec(): the type of the file system, once.
 */
#define OVL_SPEC_TYPE 1

/**
 * ovl_item.what of ovl_mount_spec(): the source, once.
 */
#define OVL_SPEC_SOURCE 2

/**
 * ovl_item.what of ovl_mount_spec(): one option.
 */
#define OVL_SPEC_OPTION 3

/**
 * ovl_item.what of ovl_mount_spec(): the entry in JSON.
 */
#define OVL_SPEC_JSON 4

/**
 * ovl_diff(): fail with OVL_E_STRICT where otherwise something is left out and counted.
 */
#define OVL_DIFF_STRICT 1

/**
 * ovl_diff(): keep holes; else files are written dense, which every reader of tars understands.
 */
#define OVL_DIFF_SPARSE 2

/**
 * ovl_diff(): no time is later than ovl_diff_opts.clamp_sec and clamp_nsec.
 */
#define OVL_DIFF_CLAMP 4

/**
 * ovl_item.what of ovl_changes(): the path is new.
 */
#define OVL_CHANGE_ADD 65

/**
 * ovl_item.what of ovl_changes(): the path was there, and is another now.
 */
#define OVL_CHANGE_MODIFY 67

/**
 * ovl_item.what of ovl_changes(): the path is gone.
 */
#define OVL_CHANGE_DELETE 68

/**
 * ovl_check(): mend what can be mended without losing anything.
 */
#define OVL_CHECK_REPAIR 1

/**
 * ovl_item.what of ovl_check(): damage.
 */
#define OVL_CHECK_DAMAGE 0

/**
 * ovl_item.what of ovl_check(): damage that was mended.
 */
#define OVL_CHECK_REPAIRED 1

/**
 * ovl_item.what of ovl_check(): no damage, but something that could not be looked at.
 */
#define OVL_CHECK_NOTE 2

/**
 * ovl_copy_dir(): link files to the source's instead of copying their content.
 */
#define OVL_COPY_HARD_LINK 1

/**
 * ovl_copy_dir(): fail where otherwise something is done in part and counted.
 */
#define OVL_COPY_STRICT 2

/**
 * ovl_copy_dir(): leave out overlayfs's own attributes (`trusted.overlay.*`, `user.overlay.*`).
 */
#define OVL_COPY_NO_OVERLAY_XATTRS 4

/**
 * ovl_copy_dir(): the copy is on the disk when the call returns.
 */
#define OVL_COPY_SYNC 8

/**
 * ovl_copy_opts.reflink: share the content of a file where the file system can, else copy it.
 */
#define OVL_REFLINK_AUTO 0

/**
 * ovl_copy_opts.reflink: share it, or fail.
 */
#define OVL_REFLINK_ALWAYS 1

/**
 * ovl_copy_opts.reflink: never share it.
 */
#define OVL_REFLINK_NEVER 2

/**
 * ovl_image_import(): keep the layers' blobs as they came, beside the manifest and the config, so
 * that an export is what was imported, byte for byte.
 */
#define OVL_IMPORT_KEEP_BLOBS 1

/**
 * ovl_image_import(): as OVL_APPLY_STRICT, for every layer; one that is there already must be
 * whole too.
 */
#define OVL_IMPORT_STRICT 2

/**
 * ovl_image_import(): as OVL_APPLY_NO_DEVICES, for every layer that is made.
 */
#define OVL_IMPORT_NO_DEVICES 4

/**
 * ovl_item.what of ovl_image_config(): `name` is the config as it came, byte for byte; once.
 */
#define OVL_CONFIG_JSON 1

/**
 * ovl_item.what of ovl_image_config(): `name` is one "KEY=value" of the environment.
 */
#define OVL_CONFIG_ENV 2

/**
 * ovl_item.what of ovl_image_config(): `name` is one word of the entrypoint, with which the
 * command begins.
 */
#define OVL_CONFIG_ENTRYPOINT 3

/**
 * ovl_item.what of ovl_image_config(): `name` is one word of the rest of the command.
 */
#define OVL_CONFIG_CMD 4

/**
 * ovl_item.what of ovl_image_config(): `name` is the directory in which the command starts.
 */
#define OVL_CONFIG_WORKING_DIR 5

/**
 * ovl_item.what of ovl_image_config(): `name` is whom the command runs as: "user", "uid",
 * "user:group" or "uid:gid".
 */
#define OVL_CONFIG_USER 6

/**
 * ovl_item.what of ovl_image_config(): `name` is the value of a label, `detail` its key.
 */
#define OVL_CONFIG_LABEL 7

/**
 * ovl_item.what of ovl_image_config(): `name` is the id of a layer, the lowest first, `detail` its
 * diff ID.
 */
#define OVL_CONFIG_LAYER 8

/**
 * A flag that stops calls. It may be given to any number of calls, on any threads, at once.
 */
struct ovl_cancel;

/**
 * What failed, where and why. Made by a failing call that was given an `err`, freed by the caller
 * with ovl_error_free(). It never changes, and any thread may read it.
 */
struct ovl_error;

/**
 * A list of results. One thread at a time may use it; it may be handed from thread to thread. It
 * stays as it is whatever becomes of the store.
 */
struct ovl_iter;

/**
 * A handle on a mounted layer. One thread at a time may use it; it may be handed from thread to
 * thread. The layer counts as mounted while it lives.
 */
struct ovl_mnt;

/**
 * An open store. Any number of threads may use it at once.
 */
struct ovl_store;

/**
 * One item of a list. What its members mean stands with the function that made the list. Both
 * strings are NUL-terminated bytes, borrowed from the iterator until its next ovl_iter_next() or
 * ovl_iter_free(); neither is ever NULL.
 */
struct ovl_item {
    /**
     * The name.
     */
    const char *name;
    /**
     * The length of `name`, its NUL not counted.
     */
    uint64_t name_len;
    /**
     * More about it, "" if there is nothing to say.
     */
    const char *detail;
    /**
     * The length of `detail`, its NUL not counted.
     */
    uint64_t detail_len;
    /**
     * What it is.
     */
    uint32_t what;
    /**
     * 0.
     */
    uint32_t reserved;
};

/**
 * Is told what a store does, one line without a newline at a time. It runs on the thread that made
 * the call, during the call; where threads share a store, it may run on several at once. `message`
 * is valid during the callback alone.
 */
typedef void (*ovl_log_fn)(void *user,
                           uint32_t level,
                           const char *message);

/**
 * Options of ovl_store_open().
 */
struct ovl_store_opts {
    /**
     * `OVL_STORE_...`
     */
    uint64_t flags;
    /**
     * `OVL_MARKS_...`. Another than the store has is -EINVAL.
     */
    uint32_t marks;
    /**
     * The most talkative level to tell, `OVL_LOG_...`; 0 is OVL_LOG_WARNING.
     */
    uint32_t log_level;
    /**
     * Is told what the store does; NULL for nobody.
     */
    ovl_log_fn log;
    /**
     * Handed to `log`.
     */
    void *log_user;
};

/**
 * Options of ovl_list(): none yet.
 */
struct ovl_list_opts {
    /**
     * 0.
     */
    uint64_t flags;
};

/**
 * Options of ovl_status(): none yet.
 */
struct ovl_status_opts {
    /**
     * 0.
     */
    uint64_t flags;
};

/**
 * How far a call is. Both members only grow.
 */
struct ovl_progress {
    /**
     * Entries done: files, directories and all else that has a name.
     */
    uint64_t entries;
    /**
     * Bytes done.
     */
    uint64_t bytes;
};

/**
 * Is told how far a call is, at most about ten times a second, and of little work not at all.
 * Non-zero stops the call, which then returns -ECANCELED (OVL_E_CANCELLED);
 * ovl_error_callback_result() gives the number back. `size` is the size of `*progress`, which is
 * valid during the callback alone.
 */
typedef int (*ovl_progress_fn)(void *user,
                               const struct ovl_progress *progress,
                               size_t size);

/**
 * Options of ovl_cleanup().
 */
struct ovl_cleanup_opts {
    /**
     * 0.
     */
    uint64_t flags;
    /**
     * Stops the call when it is raised, or NULL.
     */
    struct ovl_cancel *cancel;
    /**
     * Is told how far the call is, or NULL.
     */
    ovl_progress_fn progress;
    /**
     * Handed to `progress`.
     */
    void *progress_user;
    /**
     * Milliseconds to work at most; 0 is as long as it takes.
     */
    uint64_t budget_ms;
};

/**
 * What ovl_cleanup() did.
 */
struct ovl_cleanup_stats {
    /**
     * Remains that were removed: of calls that never ended, and of layers removed before.
     */
    uint64_t removed;
    /**
     * Remains that somebody is still working on, or that cannot be removed now (what is mounted
     * in them, a flag, the disk); the log tells which.
     */
    uint64_t busy;
    /**
     * Mounts that a killed process left behind, and that were ended.
     */
    uint64_t unmounted;
    /**
     * Small things taken out of layers: pins of mounts that have ended, hints of children that are
     * gone, files that were to replace others.
     */
    uint64_t dropped;
    /**
     * What there was no time for: remains, and layers that were not looked at. 0 is all done.
     */
    uint64_t left;
};

/**
 * Options of ovl_check().
 */
struct ovl_check_opts {
    /**
     * OVL_CHECK_REPAIR or 0.
     */
    uint64_t flags;
    /**
     * Stops the call when it is raised, or NULL.
     */
    struct ovl_cancel *cancel;
    /**
     * Is told how far the call is, or NULL.
     */
    ovl_progress_fn progress;
    /**
     * Handed to `progress`.
     */
    void *progress_user;
};

/**
 * Options of ovl_create().
 */
struct ovl_create_opts {
    /**
     * `OVL_CREATE_...`
     */
    uint64_t flags;
    /**
     * Stops the call when it is raised, or NULL.
     */
    struct ovl_cancel *cancel;
    /**
     * Is told how far the call is, or NULL.
     */
    ovl_progress_fn progress;
    /**
     * Handed to `progress`.
     */
    void *progress_user;
};

/**
 * Options of ovl_commit().
 */
struct ovl_commit_opts {
    /**
     * `OVL_COMMIT_...`
     */
    uint64_t flags;
    /**
     * `OVL_DURABILITY_...`
     */
    uint32_t durability;
    /**
     * 0.
     */
    uint32_t reserved;
    /**
     * Stops the call when it is raised, or NULL.
     */
    struct ovl_cancel *cancel;
    /**
     * Is told how far the call is, or NULL.
     */
    ovl_progress_fn progress;
    /**
     * Handed to `progress`.
     */
    void *progress_user;
};

/**
 * Options of ovl_remove().
 */
struct ovl_remove_opts {
    /**
     * OVL_REMOVE_DEFER or 0.
     */
    uint64_t flags;
    /**
     * Stops the call when it is raised, or NULL.
     */
    struct ovl_cancel *cancel;
    /**
     * Is told how far the call is, or NULL.
     */
    ovl_progress_fn progress;
    /**
     * Handed to `progress`.
     */
    void *progress_user;
};

/**
 * Options of ovl_exists(): none yet.
 */
struct ovl_exists_opts {
    /**
     * 0.
     */
    uint64_t flags;
};

/**
 * What is known of a layer. Strings end in NUL, and are "" where there is nothing to say.
 */
struct ovl_layer_info {
    /**
     * The layer.
     */
    char id[136];
    /**
     * The layer that it is built on.
     */
    char parent[136];
    /**
     * "sha256:" and 64 digits: the digest of the uncompressed layer tar, where it is known.
     */
    char diff_id[136];
    /**
     * The digest of the bytes that ovl_apply_layer() was given, compressed or not, where it is
     * known.
     */
    char blob_digest[136];
    /**
     * The layer whose changes this one began with.
     */
    char copied_from[136];
    /**
     * OVL_KIND_ROOT or OVL_KIND_OVERLAY.
     */
    uint32_t kind;
    /**
     * OVL_STATE_WRITABLE or OVL_STATE_COMMITTED.
     */
    uint32_t state;
    /**
     * Bytes of its own: regular files and symlink targets of the layer's tar that are there at its
     * end, each link group once. Of a writable layer what it was applied with, or 0: see
     * ovl_diff_size().
     */
    uint64_t size;
    /**
     * Entries of the layer tar, where a tar was read or written; else 0.
     */
    uint64_t entries;
    /**
     * Bytes of the uncompressed layer tar, where a tar was read or written.
     */
    uint64_t tar_size;
    /**
     * Bytes that ovl_apply_layer() was given.
     */
    uint64_t blob_size;
    /**
     * When it was made, in seconds since 1970,
     */
    int64_t created_sec;
    /**
     * and nanoseconds.
     */
    uint32_t created_nsec;
    /**
     * How many layers it lies on.
     */
    uint32_t lowers;
    /**
     * 1 if it is mounted, or a mount handle is open; else 0.
     */
    uint32_t mounted;
    /**
     * 1 if the machine went down, or the disk was mounted anew, while it was mounted writable, so
     * that what was not synced may be lost; else 0. Told until it is mounted writable again, or
     * committed; never of mounts that others made of ovl_mount_spec()'s words.
     */
    uint32_t unclean;
    /**
     * Left out by the call that filled this: device nodes that could not be made.
     */
    uint64_t skipped_devices;
    /**
     * Left out: owners that could not be set; of a diff, entries whose owner the caller's user
     * namespace has not.
     */
    uint64_t skipped_owners;
    /**
     * Left out: extended attributes that could not be set; of a diff, entries with attributes that
     * are called like overlayfs's own, or with a capability that the caller's user namespace has not.
     */
    uint64_t skipped_xattrs;
    /**
     * Left out: sockets, which a tar cannot say.
     */
    uint64_t skipped_sockets;
    /**
     * Left out: files whose names begin with ".wh.", which would be whiteouts in a tar.
     */
    uint64_t skipped_names;
};

/**
 * Reads up to `len` bytes to `buf`. Returns how many, 0 at the end, or -errno, with which the call
 * then fails; with -EIO, if it is neither.
 */
typedef int64_t (*ovl_read_fn)(void *user,
                               void *buf,
                               size_t len);

/**
 * Options of ovl_apply_layer(). A limit of 0 is the library's own, told with each.
 */
struct ovl_apply_opts {
    /**
     * `OVL_APPLY_...`
     */
    uint64_t flags;
    /**
     * The layer to build on, committed; NULL for none. Where the layer is there already, NULL or
     * the parent that it has.
     */
    const char *parent;
    /**
     * What the diff ID must be, "sha256:" and 64 digits; NULL to take any.
     */
    const char *diff_id;
    /**
     * `OVL_KIND_...`
     */
    uint32_t kind;
    /**
     * `OVL_DURABILITY_...`
     */
    uint32_t durability;
    /**
     * Limit: bytes of the uncompressed tar, and as many of files and link targets, holes included;
     * 64 GiB.
     */
    uint64_t max_size;
    /**
     * Limit: entries; 16,777,216. Directories that no entry names may be as many, but not more
     * than 65,536 and 64 for each entry.
     */
    uint64_t max_entries;
    /**
     * Limit: bytes of one header of an entry; 1 MiB.
     */
    uint64_t max_meta;
    /**
     * Limit: bytes of the extended attributes of one entry; 1 MiB.
     */
    uint64_t max_xattrs;
    /**
     * Limit: bytes of one path; 64 KiB as it is written, 16 KiB as it is on the disk.
     */
    uint64_t max_path;
    /**
     * Limit: the window of a zstd stream, as a power of two; 27, at most 31.
     */
    uint32_t zstd_window_log;
    /**
     * 0.
     */
    uint32_t reserved;
    /**
     * Where the bytes come from when `layer_fd` is -1; else NULL.
     */
    ovl_read_fn read;
    /**
     * Handed to `read`.
     */
    void *read_user;
    /**
     * Stops the call when it is raised, or NULL.
     */
    struct ovl_cancel *cancel;
    /**
     * Is told how far the call is, or NULL.
     */
    ovl_progress_fn progress;
    /**
     * Handed to `progress`.
     */
    void *progress_user;
};

/**
 * Takes up to `len` bytes, at least one, from `buf`. Returns how many, or -errno, with which the
 * call then fails; with -EIO, if it is neither.
 */
typedef int64_t (*ovl_write_fn)(void *user,
                                const void *buf,
                                size_t len);

/**
 * Options of ovl_diff().
 */
struct ovl_diff_opts {
    /**
     * `OVL_DIFF_...`
     */
    uint64_t flags;
    /**
     * With OVL_DIFF_CLAMP, the latest time that an entry may have, in seconds since 1970,
     */
    int64_t clamp_sec;
    /**
     * and nanoseconds, below 1000000000. Both are 0 without OVL_DIFF_CLAMP.
     */
    uint32_t clamp_nsec;
    /**
     * 0.
     */
    uint32_t reserved;
    /**
     * Where the bytes go when `out_fd` is -1; else NULL.
     */
    ovl_write_fn write;
    /**
     * Handed to `write`.
     */
    void *write_user;
    /**
     * Stops the call when it is raised, or NULL.
     */
    struct ovl_cancel *cancel;
    /**
     * Is told how far the call is, or NULL.
     */
    ovl_progress_fn progress;
    /**
     * Handed to `progress`.
     */
    void *progress_user;
};

/**
 * Options of ovl_changes().
 */
struct ovl_changes_opts {
    /**
     * 0.
     */
    uint64_t flags;
    /**
     * Stops the call when it is raised, or NULL.
     */
    struct ovl_cancel *cancel;
    /**
     * Is told how far the call is, or NULL.
     */
    ovl_progress_fn progress;
    /**
     * Handed to `progress`.
     */
    void *progress_user;
};

/**
 * Options of ovl_diff_size().
 */
struct ovl_diff_size_opts {
    /**
     * 0.
     */
    uint64_t flags;
    /**
     * Stops the call when it is raised, or NULL.
     */
    struct ovl_cancel *cancel;
    /**
     * Is told how far the call is, or NULL.
     */
    ovl_progress_fn progress;
    /**
     * Handed to `progress`.
     */
    void *progress_user;
};

/**
 * Options of ovl_mount().
 */
struct ovl_mount_opts {
    /**
     * `OVL_MOUNT_...`
     */
    uint64_t flags;
    /**
     * The directory to mount at; NULL for one in the store. Not with OVL_MOUNT_DETACHED.
     */
    const char *target;
    /**
     * An SELinux label for every file, or NULL.
     */
    const char *label;
};

/**
 * Options of ovl_unmount() and ovl_unmount_at().
 */
struct ovl_unmount_opts {
    /**
     * OVL_UNMOUNT_LAZY or 0.
     */
    uint64_t flags;
};

/**
 * Options of ovl_mount_spec().
 */
struct ovl_spec_opts {
    /**
     * `OVL_SPEC_READ_ONLY`, `OVL_SPEC_OCI_JSON`, `OVL_SPEC_LONG`
     */
    uint64_t flags;
    /**
     * An SELinux label for every file, or NULL.
     */
    const char *label;
    /**
     * With OVL_SPEC_OCI_JSON, where the layer goes in the container; NULL is "/".
     */
    const char *destination;
};

/**
 * Options of ovl_copy_dir().
 */
struct ovl_copy_opts {
    /**
     * `OVL_COPY_...`
     */
    uint64_t flags;
    /**
     * `OVL_REFLINK_...`
     */
    uint32_t reflink;
    /**
     * 0.
     */
    uint32_t reserved;
    /**
     * Stops the call when it is raised, or NULL.
     */
    struct ovl_cancel *cancel;
    /**
     * Is told how far the call is, or NULL.
     */
    ovl_progress_fn progress;
    /**
     * Handed to `progress`.
     */
    void *progress_user;
};

/**
 * What ovl_copy_dir() did.
 */
struct ovl_copy_stats {
    /**
     * Entries of the source, its root included.
     */
    uint64_t entries;
    /**
     * Directories.
     */
    uint64_t directories;
    /**
     * Regular files whose content was copied.
     */
    uint64_t copied;
    /**
     * Regular files whose content is shared.
     */
    uint64_t reflinked;
    /**
     * Names linked to an inode of the source.
     */
    uint64_t linked;
    /**
     * Names linked to an inode that the copy made, as they are in the source.
     */
    uint64_t grouped;
    /**
     * Bytes of files copied or shared, holes included.
     */
    uint64_t bytes;
    /**
     * Names that could not be linked, and were copied.
     */
    uint64_t link_fallbacks;
    /**
     * Other mounts in the source, which were not entered.
     */
    uint64_t mounts_skipped;
    /**
     * Names that vanished, and files that changed, while the source was read.
     */
    uint64_t vanished;
    /**
     * Left out: owners that could not be set.
     */
    uint64_t skipped_owners;
    /**
     * Left out: extended attributes that could not be set.
     */
    uint64_t skipped_xattrs;
    /**
     * Left out: device nodes that could not be made.
     */
    uint64_t skipped_devices;
};

/**
 * Options of ovl_usage().
 */
struct ovl_usage_opts {
    /**
     * 0.
     */
    uint64_t flags;
    /**
     * Stops the call when it is raised, or NULL.
     */
    struct ovl_cancel *cancel;
    /**
     * Is told how far the call is, or NULL.
     */
    ovl_progress_fn progress;
    /**
     * Handed to `progress`.
     */
    void *progress_user;
};

/**
 * What a layer, or the whole store, takes on the disk. Each inode counts once, however many names
 * it has. It is the layer's own when all its names are in the layer's directory, and shared when
 * it has names elsewhere: layers of kind root share files with their parents.
 */
struct ovl_usage_info {
    /**
     * Bytes on the disk of its own: what removing the layer gives back.
     */
    uint64_t own_bytes;
    /**
     * Bytes on the disk of what it shares.
     */
    uint64_t shared_bytes;
    /**
     * Inodes of its own, directories and the store's own files among them.
     */
    uint64_t own_inodes;
    /**
     * Inodes that it shares.
     */
    uint64_t shared_inodes;
    /**
     * Lengths of files and of targets of symbolic links of its own, together.
     */
    uint64_t own_size;
    /**
     * The same of what it shares.
     */
    uint64_t shared_size;
};

/**
 * Options of ovl_image_import(). A limit of 0 is the library's own, as with ovl_apply_layer(), and
 * holds for each layer.
 */
struct ovl_image_import_opts {
    /**
     * `OVL_IMPORT_...`
     */
    uint64_t flags;
    /**
     * Which image of an archive that holds several: its name, the end of it after a slash, or its
     * tag; NULL for the only one.
     */
    const char *ref;
    /**
     * For which platform, "os/architecture" or "os/architecture/variant", where there are several;
     * NULL for Linux on this machine.
     */
    const char *platform;
    /**
     * `OVL_KIND_...`, of the layers that have a parent.
     */
    uint32_t kind;
    /**
     * `OVL_DURABILITY_...`
     */
    uint32_t durability;
    /**
     * Limit: bytes of an uncompressed layer tar; 64 GiB. Also of an archive that comes as a stream
     * or compressed, when it is uncompressed.
     */
    uint64_t max_size;
    /**
     * Limit: entries of a layer; 16,777,216.
     */
    uint64_t max_entries;
    /**
     * Limit: bytes of one header of an entry; 1 MiB.
     */
    uint64_t max_meta;
    /**
     * Limit: bytes of the extended attributes of one entry; 1 MiB.
     */
    uint64_t max_xattrs;
    /**
     * Limit: bytes of one path; 64 KiB as it is written, 16 KiB as it is on the disk.
     */
    uint64_t max_path;
    /**
     * Limit: the window of a zstd stream, as a power of two; 27, at most 31.
     */
    uint32_t zstd_window_log;
    /**
     * 0.
     */
    uint32_t reserved;
    /**
     * Where the bytes of the archive come from when `fd` is -1; else NULL.
     */
    ovl_read_fn read;
    /**
     * Handed to `read`.
     */
    void *read_user;
    /**
     * Stops the call when it is raised, or NULL.
     */
    struct ovl_cancel *cancel;
    /**
     * Is told how far the call is, or NULL.
     */
    ovl_progress_fn progress;
    /**
     * Handed to `progress`.
     */
    void *progress_user;
};

/**
 * What is known of an image. Strings end in NUL, and are "" where there is nothing to say.
 */
struct ovl_image_info {
    /**
     * Its topmost layer, which a container is created over; "" for an image without layers.
     */
    char layer[136];
    /**
     * "sha256:" and 64 digits: the digest of the manifest that it was imported from, or that
     * ovl_image_export() wrote; "" where docker save told none.
     */
    char manifest[136];
    /**
     * The digest of its config: the image ID.
     */
    char config[136];
    /**
     * The sizes of its layers, as in ovl_layer_info.size, together.
     */
    uint64_t size;
    /**
     * How many layers it has.
     */
    uint64_t layers;
    /**
     * When it was imported, in seconds since 1970,
     */
    int64_t created_sec;
    /**
     * and nanoseconds.
     */
    uint32_t created_nsec;
    /**
     * 1 if the originals are kept, or were written; else 0.
     */
    uint32_t blobs;
    /**
     * Left out of its layers: device nodes that could not be made; of those that were there
     * before, too. 0 in a stat.
     */
    uint64_t skipped_devices;
    /**
     * Left out: owners that could not be set.
     */
    uint64_t skipped_owners;
    /**
     * Left out: extended attributes that could not be set; of an export, entries with attributes
     * that are called like overlayfs's own.
     */
    uint64_t skipped_xattrs;
    /**
     * How many layers the import made; the others were there.
     */
    uint64_t made;
};

/**
 * Options of ovl_image_export().
 */
struct ovl_image_export_opts {
    /**
     * 0.
     */
    uint64_t flags;
    /**
     * What the layout calls the image (org.opencontainers.image.ref.name); NULL for the tag of its
     * name, or "latest".
     */
    const char *ref;
    /**
     * Where the bytes go when `fd` is -1; else NULL.
     */
    ovl_write_fn write;
    /**
     * Handed to `write`.
     */
    void *write_user;
    /**
     * Stops the call when it is raised, or NULL.
     */
    struct ovl_cancel *cancel;
    /**
     * Is told how far the call is, or NULL.
     */
    ovl_progress_fn progress;
    /**
     * Handed to `progress`.
     */
    void *progress_user;
};

/**
 * Options of ovl_image_remove().
 */
struct ovl_image_remove_opts {
    /**
     * 0.
     */
    uint64_t flags;
    /**
     * Ends the work early when it is raised, or NULL.
     */
    struct ovl_cancel *cancel;
    /**
     * Is told how far the call is, or NULL.
     */
    ovl_progress_fn progress;
    /**
     * Handed to `progress`.
     */
    void *progress_user;
};

/**
 * Options of ovl_image_stat().
 */
struct ovl_image_stat_opts {
    /**
     * 0.
     */
    uint64_t flags;
};

/**
 * Options of ovl_image_list().
 */
struct ovl_image_list_opts {
    /**
     * 0.
     */
    uint64_t flags;
};

/**
 * Options of ovl_image_config().
 */
struct ovl_image_config_opts {
    /**
     * 0.
     */
    uint64_t flags;
};

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * The version of the library that runs, as "0.1.0". Never NULL; valid for ever.
 */
const char *ovl_version(void);

/**
 * The errno of a failure, positive: what the call returned, negated. 0 if `error` is NULL.
 */
int ovl_error_errno(const struct ovl_error *error);

/**
 * The stable code of a failure, one of `OVL_E_...`: it tells conditions apart that share an errno,
 * and never changes its meaning. A newer library may answer codes that are not in this header.
 * 0 if `error` is NULL.
 */
uint32_t ovl_error_code(const struct ovl_error *error);

/**
 * The operation that failed: the name of the function without `ovl_`, as "apply_layer". Borrowed
 * from `error`, valid until it is freed; "" if `error` is NULL, never NULL.
 */
const char *ovl_error_operation(const struct ovl_error *error);

/**
 * The path or name that the failure is about, "" if there is none or `error` is NULL, never NULL.
 * Borrowed from `error`, valid until it is freed. It is bytes: it need not be UTF-8, and a path
 * out of a broken archive may hold any byte; `len`, if not NULL, receives its length without the
 * NUL at its end.
 */
const char *ovl_error_path(const struct ovl_error *error,
                           size_t *len);

/**
 * The failure in words, with its causes, the outermost first, joined by ": ". UTF-8, one
 * line unless the kernel's own words have more. Borrowed from `error`, valid until it is freed; ""
 * if `error` is NULL, never NULL.
 */
const char *ovl_error_message(const struct ovl_error *error);

/**
 * What the caller's own callback returned when it ended the call: non-zero from `progress`,
 * negative from `read` or `write`. Else 0.
 */
int ovl_error_callback_result(const struct ovl_error *error);

/**
 * Frees an error and all that was borrowed from it. NULL does nothing.
 */
void ovl_error_free(struct ovl_error *error);

/**
 * Makes a flag that is down. The caller frees it with ovl_cancel_free().
 */
struct ovl_cancel *ovl_cancel_new(void);

/**
 * Raises the flag, for good: every call that was given it, now or later, returns -ECANCELED soon
 * and undoes what it had begun. One atomic store; any thread may do it, and a signal handler too.
 * NULL does nothing.
 */
void ovl_cancel_trigger(struct ovl_cancel *cancel);

/**
 * Frees the flag. No call that was given it may still run. NULL does nothing.
 */
void ovl_cancel_free(struct ovl_cancel *cancel);

/**
 * Fills `*item` (of `size` bytes) with the next item.
 *
 * Returns 1 and an item, or 0 at the end, with `*item` untouched; 0 again if called again.
 * Errors: EINVAL `iter` or `item` is NULL.
 */
int ovl_iter_next(struct ovl_iter *iter,
                  struct ovl_item *item,
                  size_t size,
                  struct ovl_error **err);

/**
 * Frees an iterator and all that was borrowed from it. NULL does nothing.
 */
void ovl_iter_free(struct ovl_iter *iter);

/**
 * Opens the store in the directory `home`. A directory that is missing or empty becomes a store,
 * unless OVL_STORE_MUST_EXIST or OVL_STORE_READ_ONLY is given; the directories that lead to it are
 * made too.
 *
 * Returns 0 and a handle in `*out`, which the caller frees with ovl_store_free(). Many processes,
 * and many handles in one process, may have the same store open.
 * Errors: ENOENT no store there, and none is to be made; ENOTEMPTY the directory has other things
 * in it (OVL_E_NOT_EMPTY); ENOTDIR; EACCES also for a store of another user; EPERM; EINVAL also
 * where `marks` is not what the store has; EOPNOTSUPP a format that this library does not know
 * (OVL_E_FORMAT); ENOSPC, EROFS and what else making a directory meets.
 */
int ovl_store_open(const char *home,
                   const struct ovl_store_opts *opts,
                   size_t opts_size,
                   struct ovl_store **out,
                   struct ovl_error **err);

/**
 * Closes a store. Mounts and what was made from it (`ovl_mnt`, `ovl_iter`) stay as they are. No
 * call on it may still run. NULL does nothing.
 */
void ovl_store_free(struct ovl_store *store);

/**
 * Lists the layers of a store, by id in the order of bytes.
 *
 * Returns 0 and an iterator in `*out`, which the caller frees with ovl_iter_free(). Its items:
 * `name` is the id. The list is that of one moment.
 * Errors: EIO and what else reading a directory meets.
 */
int ovl_list(struct ovl_store *store,
             const struct ovl_list_opts *opts,
             size_t opts_size,
             struct ovl_iter **out,
             struct ovl_error **err);

/**
 * Tells what the store can do here: with this kernel, this file system, these privileges. It finds
 * out by doing it.
 *
 * Returns 0 and an iterator in `*out`, which the caller frees with ovl_iter_free(). Its items:
 * `name` is a capability, `what` 1 or 0 whether it is there, `detail` why.
 * Errors: EIO, ENOSPC and what else the trial meets that is no answer.
 */
int ovl_status(struct ovl_store *store,
               const struct ovl_status_opts *opts,
               size_t opts_size,
               struct ovl_iter **out,
               struct ovl_error **err);

/**
 * Removes what killed processes and power cuts left behind, and ends the mounts of killed
 * processes. Work in progress is left alone, and so is every layer that has anything to lose,
 * however damaged. Nobody must call this: every call copes with remains; they only take room.
 *
 * With `budget_ms` it stops in time, be it half-way through one large removal; what is left is for
 * the next call. Each call gets on with it, however short the time. One thing that cannot be
 * removed does not keep the others: it is counted (`busy`) and told to the log.
 *
 * Returns 0 and fills `*stats` (of `stats_size` bytes), unless it is NULL.
 * Errors: EROFS a store opened read-only; EACCES, EIO and what else reading the store meets.
 */
int ovl_cleanup(struct ovl_store *store,
                const struct ovl_cleanup_opts *opts,
                size_t opts_size,
                struct ovl_cleanup_stats *stats,
                size_t stats_size,
                struct ovl_error **err);

/**
 * Reads the whole store and looks for damage. Nothing is changed, and nobody is waited for longer
 * than a second; what is in use for longer is told so.
 *
 * With OVL_CHECK_REPAIR what can be mended without losing anything is mended, and the store must
 * not be open elsewhere, in this process neither.
 *
 * Returns 0 and an iterator in `*out`, which the caller frees with ovl_iter_free(). Its items:
 * `name` is the layer or the path, `detail` the kind of damage (words that stay as they are), a
 * colon, and the damage in words; `what` is OVL_CHECK_DAMAGE, OVL_CHECK_REPAIRED, or
 * OVL_CHECK_NOTE for what is no damage: something that could not be looked at, as the contents of
 * files whose digests the layer has not. No items but notes are good news. Damage is no error of
 * this call.
 * Errors: of a repair EROFS a store opened read-only, EBUSY it is open elsewhere (OVL_E_LOCKED);
 * EIO and what else reading meets.
 */
int ovl_check(struct ovl_store *store,
              const struct ovl_check_opts *opts,
              size_t opts_size,
              struct ovl_iter **out,
              struct ovl_error **err);

/**
 * Makes the writable layer `id` on `parent`, or on nothing if `parent` is NULL.
 *
 * On nothing it is an empty tree. On a committed layer it is a set of changes, empty yet; a
 * writable `root` layer is committed for that. On a writable `overlay` layer it begins with a copy
 * of that layer's changes, and lies on what that one lies on.
 *
 * Returns 0.
 * Errors: EEXIST the layer is there (OVL_E_LAYER_EXISTS), or what is left of a damaged one, which
 * ovl_remove() takes away (OVL_E_DAMAGED); ENOENT the parent is not (OVL_E_NO_LAYER); EUCLEAN the
 * writable parent was mounted when the machine went down (OVL_E_UNCLEAN); EINVAL also for an id
 * that is not 1 to 128 of A-Z a-z 0-9 . _ - + @, beginning with a letter or a digit; EBUSY the
 * parent is writable and mounted (OVL_E_MOUNTED), or somebody works on it (OVL_E_LOCKED); EMLINK
 * the chain would be longer than 500, see OVL_CREATE_FLAT (OVL_E_LIMIT); EPERM the caller cannot
 * use the store's marks (OVL_E_MARKS); EOPNOTSUPP the file system cannot hold changes
 * (OVL_E_UNSUPPORTED); EROFS a store opened read-only; ESTALE a parent that is copied changed
 * meanwhile (OVL_E_CHANGED); ENOSPC, EDQUOT; EIO, also where the parent is damaged
 * (OVL_E_DAMAGED).
 */
int ovl_create(struct ovl_store *store,
               const char *id,
               const char *parent,
               const struct ovl_create_opts *opts,
               size_t opts_size,
               struct ovl_error **err);

/**
 * Commits a writable layer: it never changes again, and others may be built on it. After success it
 * is on the disk, unless `durability` says otherwise.
 *
 * Returns 0.
 * Errors: ENOENT no such layer (OVL_E_NO_LAYER); EROFS it is committed already (OVL_E_COMMITTED),
 * or a store opened read-only; EBUSY it is mounted, and OVL_COMMIT_MOUNTED is not given
 * (OVL_E_MOUNTED), or somebody works on it (OVL_E_LOCKED); ESTALE it changed while it was read
 * (OVL_E_CHANGED); EUCLEAN the machine went down while it was mounted writable, and
 * OVL_COMMIT_SALVAGE is not given (OVL_E_UNCLEAN); EPERM the caller cannot use the store's marks
 * (OVL_E_MARKS); EOPNOTSUPP another program's overlay wrote to the layer what no mount of it would
 * show (OVL_E_UNSUPPORTED, with the path; ovl_diff() reads it, and its tar can be applied);
 * ENOSPC, EDQUOT; EIO, also with OVL_DURABILITY_VERIFIED where the content is read back and
 * differs (OVL_E_DAMAGED).
 */
int ovl_commit(struct ovl_store *store,
               const char *id,
               const struct ovl_commit_opts *opts,
               size_t opts_size,
               struct ovl_error **err);

/**
 * Removes a layer. It is gone at once, for good. Then its files are deleted, which takes time; what
 * a cancel or OVL_REMOVE_DEFER leaves of them, a later ovl_cleanup() deletes.
 *
 * Returns 0, also where not all files could be deleted.
 * Errors: ENOENT no such layer (OVL_E_NO_LAYER); EBUSY it is mounted (OVL_E_MOUNTED), other layers
 * are built on it (OVL_E_HAS_CHILDREN), or somebody works on it (OVL_E_LOCKED); EROFS a store
 * opened read-only; EACCES, EIO.
 */
int ovl_remove(struct ovl_store *store,
               const char *id,
               const struct ovl_remove_opts *opts,
               size_t opts_size,
               struct ovl_error **err);

/**
 * Tells whether a layer is there.
 *
 * Returns 1 if it is, 0 if it is not.
 * Errors: EINVAL also for what cannot be an id; EIO and what else reading meets.
 */
int ovl_exists(struct ovl_store *store,
               const char *id,
               const struct ovl_exists_opts *opts,
               size_t opts_size,
               struct ovl_error **err);

/**
 * Tells what is known of a layer.
 *
 * Returns 0 and fills `*info` (of `info_size` bytes), unless it is NULL. The `skipped` members are
 * 0.
 * Errors: ENOENT no such layer (OVL_E_NO_LAYER); EINVAL also for what cannot be an id; EOPNOTSUPP
 * a kind of layer that this library does not know (OVL_E_FORMAT); EIO and what else reading meets.
 */
int ovl_stat(struct ovl_store *store,
             const char *id,
             struct ovl_layer_info *info,
             size_t info_size,
             struct ovl_error **err);

/**
 * Applies a layer tar to the layer `id`: plain, gzip or zstd, which it finds out. The bytes come
 * from `layer_fd`, from where it stands to its end, or from the callback `read` when `layer_fd` is
 * -1. The descriptor stays the caller's. It may be a pipe or a socket, and may be non-blocking.
 *
 * If `id` is not there, it is made, and all of it appears at once; after a failure it is not
 * there. If `id` is there, it must be writable, empty and not mounted; after a failure it is as it
 * was. After success the layer is committed and on the disk, unless the options say otherwise.
 *
 * The symbolic links that an entry's path leads through are followed inside the layer, as a process
 * would that has it as its root; those below it too. A stream of no bytes at all is a layer of
 * nothing: `diff_id` tells whether it was meant.
 *
 * Returns 0 and fills `*info` (of `info_size` bytes), unless it is NULL: with the digests, and
 * with how much was left out, if anything.
 * Errors: EBADMSG the tar is malformed (OVL_E_ARCHIVE) or ends early (OVL_E_TRUNCATED), or its
 * digest is another (OVL_E_DIGEST); EINVAL also for a tar that says what no tree may hold, as a
 * name with ".." in it (OVL_E_ARCHIVE), and for an overlay without a parent; EOPNOTSUPP an entry
 * type or a compression that is not handled (OVL_E_UNSUPPORTED); EPERM, EINVAL, EOPNOTSUPP also
 * what the system says of what would be left out, where OVL_APPLY_STRICT is given (OVL_E_STRICT);
 * EXDEV a path would leave the layer, or something is mounted in its way (OVL_E_ESCAPE); EFBIG a
 * limit (OVL_E_LIMIT); EMLINK the chain would be longer than 500, see OVL_CREATE_FLAT
 * (OVL_E_LIMIT); EBADF `layer_fd` is not open for reading; ENOENT no such parent (OVL_E_NO_LAYER),
 * no such layer where OVL_APPLY_EXISTING is given (OVL_E_NO_LAYER), or a hard link to what is not there; ELOOP too many symbolic links in a path; EROFS the layer is
 * committed (OVL_E_COMMITTED), or a store opened read-only; EEXIST it is committed, and `parent`
 * says that it was to be made (OVL_E_LAYER_EXISTS), or what is left of a damaged one is there
 * (OVL_E_DAMAGED); ENOTEMPTY the layer has entries (OVL_E_NOT_EMPTY); EBUSY it is mounted
 * (OVL_E_MOUNTED), the parent is not committed (OVL_E_NOT_COMMITTED), or somebody works on either
 * (OVL_E_LOCKED); EPERM also where the caller cannot use the store's marks (OVL_E_MARKS); what the
 * callback said (OVL_E_CALLBACK); ENOSPC, EDQUOT, EIO.
 */
int ovl_apply_layer(struct ovl_store *store,
                    const char *id,
                    int layer_fd,
                    const struct ovl_apply_opts *opts,
                    size_t opts_size,
                    struct ovl_layer_info *info,
                    size_t info_size,
                    struct ovl_error **err);

/**
 * Writes the layer tar that leads from `parent` to `id`, uncompressed, to `out_fd`, or to the
 * callback `write` when `out_fd` is -1. `parent` NULL is the layer's own parent, "" is nothing: the
 * whole tree. Equal trees give equal bytes. The descriptor stays the caller's. It may be a pipe
 * or a socket, and may be non-blocking; a reader that goes away is -EPIPE, and no SIGPIPE: the
 * calling thread has it blocked while it writes.
 *
 * After a failure the output holds the beginning of a tar, and no end.
 *
 * Returns 0 and fills `*info` (of `info_size` bytes), unless it is NULL: with the diff ID and the
 * size of what was written, and with how much was left out, if anything.
 * Errors: ENOENT no such layer or parent (OVL_E_NO_LAYER); EBADF `out_fd` is not open for writing;
 * EPIPE; EBUSY somebody works on the layer (OVL_E_LOCKED); EPERM also where the caller cannot use
 * the store's marks (OVL_E_MARKS); EOPNOTSUPP something cannot be said in a tar and
 * OVL_DIFF_STRICT is given (OVL_E_STRICT), or another program's overlay wrote to the layer what
 * the upper does not tell (OVL_E_UNSUPPORTED, OVL_E_MARKS); what the callback said
 * (OVL_E_CALLBACK); ESTALE, or ENOENT of what went, something in a layer that is written to
 * changed while it was read (OVL_E_CHANGED): try again; ENOSPC, EIO.
 */
int ovl_diff(struct ovl_store *store,
             const char *id,
             const char *parent,
             int out_fd,
             const struct ovl_diff_opts *opts,
             size_t opts_size,
             struct ovl_layer_info *info,
             size_t info_size,
             struct ovl_error **err);

/**
 * Lists what leads from `parent` to `id`, in the order of the paths. `parent` NULL is the layer's
 * own parent, "" is nothing: the whole tree.
 *
 * Returns 0 and an iterator in `*out`, which the caller frees with ovl_iter_free(). Its items:
 * `name` is the path, beginning with "/"; `what` is one of `OVL_CHANGE_...`, which are the letters
 * A, C and D.
 * Errors: as ovl_diff(), but for those of the output.
 */
int ovl_changes(struct ovl_store *store,
                const char *id,
                const char *parent,
                const struct ovl_changes_opts *opts,
                size_t opts_size,
                struct ovl_iter **out,
                struct ovl_error **err);

/**
 * Tells how many bytes of files lead from `parent` to `id`, as ovl_layer_info.size counts them.
 * `parent` NULL is the layer's own parent, "" is nothing: the whole tree.
 *
 * Returns 0 and the bytes in `*out`.
 * Errors: as ovl_changes().
 */
int ovl_diff_size(struct ovl_store *store,
                  const char *id,
                  const char *parent,
                  const struct ovl_diff_size_opts *opts,
                  size_t opts_size,
                  uint64_t *out,
                  struct ovl_error **err);

/**
 * Mounts a layer: the merged tree of the layer and all below it. A committed layer needs
 * OVL_MOUNT_READ_ONLY. Without a target and without OVL_MOUNT_DETACHED it is mounted at a place in
 * the store. A layer that is mounted there already, in this mount namespace and with the same
 * options, gives the mount there is, and its mount at another target is that mount too.
 *
 * A writable layer of kind root that is mounted in the store is mounted as itself: the path is that
 * of its own tree, there is no mount, and a handle alone keeps it in use.
 *
 * A mount is held by its handles: it ends with an ovl_unmount() of the last one. A handle that ends
 * without, by ovl_mnt_free() or with its process, leaves the mount to the next call that meets it,
 * which ends it if no other handle holds it. OVL_MOUNT_KEEP and OVL_MOUNT_DETACHED say otherwise.
 *
 * Returns 0 and a handle in `*out`, which the caller ends with ovl_unmount() or ovl_mnt_free().
 * Errors: ENOENT no such layer (OVL_E_NO_LAYER), or no such target; EPERM the caller may not
 * mount, or cannot use the store's marks (OVL_E_MARKS); EBUSY it is mounted with other options or
 * in another mount namespace (OVL_E_MOUNTED), or somebody works on it (OVL_E_LOCKED); EROFS a
 * writable mount of a committed layer (OVL_E_COMMITTED); EOPNOTSUPP the kernel or the file system
 * cannot (OVL_E_UNSUPPORTED; the message says what can), or another program's overlay wrote to the
 * layer what this mount would not show (OVL_E_UNSUPPORTED, with the path; ovl_diff() reads it);
 * EUCLEAN it was mounted volatile when the machine went down (OVL_E_UNCLEAN); ENOTDIR, EACCES of
 * the target; and what the kernel said to the mount, with its own words in the message.
 */
int ovl_mount(struct ovl_store *store,
              const char *id,
              const struct ovl_mount_opts *opts,
              size_t opts_size,
              struct ovl_mnt **out,
              struct ovl_error **err);

/**
 * Gives a mount up, and frees its handle. The last handle of a mount ends it. A kept mount ends with
 * any handle, if it is the only one; a detached one when its last descriptor is closed.
 *
 * Returns 0. After a failure nothing has changed, and the handle is still the caller's.
 * Errors: EBUSY files on it are open, or it is somebody's working directory (see
 * OVL_UNMOUNT_LAZY), or other handles on a kept mount are open (OVL_E_MOUNTED); so too where the
 * process is in another mount namespace now, or no path leads to the mount; EPERM the caller may
 * not unmount.
 */
int ovl_unmount(struct ovl_mnt *mnt,
                const struct ovl_unmount_opts *opts,
                size_t opts_size,
                struct ovl_error **err);

/**
 * Ends the kept mounts of a layer, given by its id, or the one at a path, which has a slash in it,
 * whoever made them.
 *
 * Returns 0; also for a writable layer of kind root that no handle is open on, which needs no mount
 * (see ovl_mount()).
 * Errors: EINVAL also where it is not mounted, or where the mount is not this store's; ENOENT no
 * such layer (OVL_E_NO_LAYER) or path; EBUSY handles on it or files on it are open (see
 * OVL_UNMOUNT_LAZY), it is mounted in another mount namespace, or no path leads to it
 * (OVL_E_MOUNTED); EPERM.
 */
int ovl_unmount_at(struct ovl_store *store,
                   const char *id_or_path,
                   const struct ovl_unmount_opts *opts,
                   size_t opts_size,
                   struct ovl_error **err);

/**
 * The absolute path of a mount, "" for a detached one. Bytes: it need not be UTF-8. Borrowed from
 * `mnt`, valid until that is freed. NULL, with errno set, where there is no answer: `mnt` is NULL
 * (EINVAL), came through a fork (EOWNERDEAD), has lost a descriptor (EBADF) or met a bug
 * (ENOTRECOVERABLE).
 */
const char *ovl_mnt_path(const struct ovl_mnt *mnt);

/**
 * The root of a mount as a descriptor, for the `...at` calls and for move_mount(2). It belongs to
 * `mnt`, is valid until that is freed or given to ovl_unmount(), and must not be closed; a duplicate
 * may live on, and keeps the mount in use. -errno where there is no answer, as ovl_mnt_path(); also
 * -EBADF where the host has closed a descriptor of the handle, and after an ovl_unmount() that failed
 * and found the mount gone.
 */
int ovl_mnt_fd(const struct ovl_mnt *mnt);

/**
 * Drops a handle, and unmounts nothing: see ovl_mount() for what becomes of the mount. NULL does
 * nothing.
 */
void ovl_mnt_free(struct ovl_mnt *mnt);

/**
 * Tells how a layer is mounted, for mount(8), containerd or an OCI runtime, and mounts nothing.
 * libovl does not see a mount that others make: the caller sees to it that the layer is neither
 * committed nor removed meanwhile.
 *
 * Returns 0 and an iterator in `*out`, which the caller frees with ovl_iter_free(). Its items:
 * `name` is a string, `what` which one: OVL_SPEC_TYPE, then OVL_SPEC_SOURCE, then OVL_SPEC_OPTION
 * for each option in their order; or, with OVL_SPEC_OCI_JSON, OVL_SPEC_JSON alone.
 * Errors: ENOENT no such layer (OVL_E_NO_LAYER); EINVAL also where a path cannot be said in a spec
 * (colon, comma, backslash) or JSON (not UTF-8); E2BIG also where the spec is longer than mount(2)
 * takes, without OVL_SPEC_LONG; EPERM the caller cannot use the store's marks (OVL_E_MARKS).
 */
int ovl_mount_spec(struct ovl_store *store,
                   const char *id,
                   const struct ovl_spec_opts *opts,
                   size_t opts_size,
                   struct ovl_iter **out,
                   struct ovl_error **err);

/**
 * Copies the directory `src` to `dst`, with all that its files have: owners, modes, times, links
 * among them, extended attributes, holes. `dst` is a name that is not there, which appears when
 * the copy is done, or an empty directory, which is filled. After a failure it is as it was.
 * Relative paths begin at `src_dirfd` and `dst_dirfd`, which are directories or AT_FDCWD; symbolic
 * links in the two paths are followed, those in the tree never. No store is needed.
 *
 * Returns 0 and fills `*stats` (of `stats_size` bytes), unless it is NULL.
 * Errors: ENOENT, ENOTDIR, EACCES, EPERM, ELOOP; EBADF a dirfd; EEXIST `dst` is no directory;
 * ENOTEMPTY it has entries (OVL_E_NOT_EMPTY); EINVAL also where it lies in `src`; EXDEV hard links
 * across file systems; EOPNOTSUPP OVL_REFLINK_ALWAYS, and the file system cannot; ENOSPC, EDQUOT,
 * EIO; ESTALE a directory was moved while it was copied (OVL_E_CHANGED). With OVL_COPY_STRICT also
 * EPERM, EINVAL, EOPNOTSUPP, what the system says of what would be left out, and ENOENT of what
 * vanished (OVL_E_STRICT), ESTALE of a file that changed while it was read (OVL_E_CHANGED), and
 * EXDEV of another mount in the tree (OVL_E_ESCAPE).
 */
int ovl_copy_dir(int src_dirfd,
                 const char *src,
                 int dst_dirfd,
                 const char *dst,
                 const struct ovl_copy_opts *opts,
                 size_t opts_size,
                 struct ovl_copy_stats *stats,
                 size_t stats_size,
                 struct ovl_error **err);

/**
 * Tells what the layer `id` takes on the disk; with NULL, what the whole store takes, in which
 * nothing counts twice. It looks at every name once and reads nothing else. Damaged layers are
 * counted too, mounted ones as they are meanwhile; nobody is waited for.
 *
 * Returns 0 and fills `*usage` (of `usage_size` bytes), unless it is NULL.
 * Errors: ENOENT no such layer; EACCES, EIO and what else reading directories meets.
 */
int ovl_usage(struct ovl_store *store,
              const char *id,
              const struct ovl_usage_opts *opts,
              size_t opts_size,
              struct ovl_usage_info *usage,
              size_t usage_size,
              struct ovl_error **err);

/**
 * Makes the image `name` of an archive: an OCI layout or what docker save writes. `fd` is a
 * directory (a layout, or an unpacked docker save), or the tar of one, plain or compressed by gzip
 * or zstd: a file, which is read from where it stands to its end and not moved, or a pipe or a
 * socket; or -1 for the callback `read`. The descriptor stays the caller's. Nothing is fetched
 * from anywhere.
 *
 * `name` is 1 to 200 of "A-Z a-z 0-9 . _ - + @ /" and at most one colon, begins with a letter or
 * digit, and has no empty part, "." or ".." between slashes.
 *
 * Every digest and size is verified: of the manifest, the config and each layer. The layers are
 * named by their chain IDs, "sha256-" and 64 digits. Those that are there are used, also by
 * several imports at once; the others are made, and are committed. The image appears, or takes the
 * place of one of its name, at once, and is on the disk when the call returns, unless the options
 * say otherwise. Layers of an image that is replaced go as by ovl_image_remove(). After a failure
 * the image is as it was, and layers that were made go again; after a kill they stay, whole, for
 * the next import.
 *
 * Returns 0 and fills `*info` (of `info_size` bytes), unless it is NULL.
 * Errors: EINVAL also for `name`, and where `ref` and `platform` mean no image, or several: the
 * message lists those that there are, or the image is for another system than Linux and `platform`
 * does not say that; ENAMETOOLONG `name` has too many slashes; EBADMSG an
 * archive, manifest or config is malformed, or lacks something (OVL_E_ARCHIVE), or ends early
 * (OVL_E_TRUNCATED), or a digest or size is another than was told (OVL_E_DIGEST); EOPNOTSUPP a
 * type of manifest, config or layer, an algorithm or a compression that is not handled
 * (OVL_E_UNSUPPORTED), by name; EFBIG a limit, or more than 4 MiB of manifest or config,
 * 4096 descriptors, 65536 variables or labels, or 65536 members or 16 MiB of names in the archive
 * (OVL_E_LIMIT); EMLINK more than 500 layers; EXDEV a path leaves the archive or a layer
 * (OVL_E_ESCAPE); EEXIST another layer has the id of one of the image's (OVL_E_LAYER_EXISTS), or a
 * damaged one (OVL_E_DAMAGED); EOPNOTSUPP also where OVL_IMPORT_STRICT meets a layer that could
 * only be made in part (OVL_E_STRICT); EROFS a store opened read-only; and what ovl_apply_layer()
 * tells of a layer.
 */
int ovl_image_import(struct ovl_store *store,
                     const char *name,
                     int fd,
                     const struct ovl_image_import_opts *opts,
                     size_t opts_size,
                     struct ovl_image_info *info,
                     size_t info_size,
                     struct ovl_error **err);

/**
 * Writes the image `name` as an OCI layout: into `fd` where that is a directory, which must be
 * empty; else as a tar of one, uncompressed, to `fd`, or to the callback `write` when `fd` is -1.
 * The descriptor stays the caller's, as with ovl_diff().
 *
 * An image whose blobs are kept (OVL_IMPORT_KEEP_BLOBS) is written as it was imported: its
 * manifest, its config and its blobs byte for byte. Otherwise the layer tars are made anew,
 * uncompressed, and with them a manifest, and a config where diff IDs are others: their digests
 * differ from those of the original. The same image gives the same bytes. For a stream each layer
 * is read twice.
 *
 * In a directory `index.json` comes last, and all is on the disk when the call returns; after a
 * failure what was written is gone again. Of several exports into one directory at once, one goes
 * on. A stream has the beginning of a tar after a failure, and no end. The image is written whole
 * if it is replaced or removed meanwhile: kept blobs are all open for as long as that takes.
 *
 * Returns 0 and fills `*info` (of `info_size` bytes), unless it is NULL: `manifest` and `config`
 * are those that were written.
 * Errors: ENOENT no such image (OVL_E_NO_IMAGE), or one of its layers is missing (OVL_E_NO_LAYER,
 * and the path is the layer's id); ENOTEMPTY the directory is not empty (OVL_E_NOT_EMPTY); EINVAL
 * also for `ref`; EIO also for an image or a blob that is damaged (OVL_E_DAMAGED); and as
 * ovl_diff().
 */
int ovl_image_export(struct ovl_store *store,
                     const char *name,
                     int fd,
                     const struct ovl_image_export_opts *opts,
                     size_t opts_size,
                     struct ovl_image_info *info,
                     size_t info_size,
                     struct ovl_error **err);

/**
 * Removes the image `name`, however damaged it is, and then, from the topmost down, each of its
 * layers that no other image lists, that no layer is built on, and that is not in use. The others
 * stay, and go by ovl_remove(); all stay that may belong to an image that is damaged. Kept blobs
 * go that no image names.
 *
 * Returns 0 when the image is gone, whatever became of its layers. Cancelled before that, it
 * fails; cancelled later, it leaves the content of what goes for a cleanup.
 * Errors: ENOENT no such image (OVL_E_NO_IMAGE); EROFS a store opened read-only; EBUSY somebody
 * works on images (OVL_E_LOCKED).
 */
int ovl_image_remove(struct ovl_store *store,
                     const char *name,
                     const struct ovl_image_remove_opts *opts,
                     size_t opts_size,
                     struct ovl_error **err);

/**
 * Tells what is known of the image `name`.
 *
 * Returns 0 and fills `*info` (of `info_size` bytes).
 * Errors: EINVAL also for what cannot be the name of an image; ENOENT no such image
 * (OVL_E_NO_IMAGE), or one of its layers is missing (OVL_E_NO_LAYER, and the path is the layer's
 * id); EIO it is damaged (OVL_E_DAMAGED).
 */
int ovl_image_stat(struct ovl_store *store,
                   const char *name,
                   const struct ovl_image_stat_opts *opts,
                   size_t opts_size,
                   struct ovl_image_info *info,
                   size_t info_size,
                   struct ovl_error **err);

/**
 * Lists the images, sorted by name. What is damaged is left out, and told by ovl_check().
 *
 * Returns 0 and an iterator in `*out`, which the caller frees with ovl_iter_free(). Its items:
 * `name` is the image's, `detail` the id of its topmost layer, "" where it has none, `what` the
 * number of its layers.
 * Errors: EIO and what else reading the store meets.
 */
int ovl_image_list(struct ovl_store *store,
                   const struct ovl_image_list_opts *opts,
                   size_t opts_size,
                   struct ovl_iter **out,
                   struct ovl_error **err);

/**
 * Lists what the image `name` runs, and its layers.
 *
 * Returns 0 and an iterator in `*out`, which the caller frees with ovl_iter_free(). Its items:
 * `what` is one of `OVL_CONFIG_...`, which tells what `name` and `detail` are. They come in the
 * order of these numbers; of one sort, in that of the config, and labels by their keys.
 * Errors: EINVAL also for `name`; ENOENT no such image (OVL_E_NO_IMAGE); EIO it is damaged
 * (OVL_E_DAMAGED).
 */
int ovl_image_config(struct ovl_store *store,
                     const char *name,
                     const struct ovl_image_config_opts *opts,
                     size_t opts_size,
                     struct ovl_iter **out,
                     struct ovl_error **err);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* OVL_H */
