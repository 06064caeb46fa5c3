/*
 * The functions of ovl.h that call back, with the handle of the Go call in place of the callbacks.
 * The handle is a number: what goes through C as a pointer never is one of Go's. It is 0 where Go has
 * nothing to be called.
 */
#ifndef OVLGO_CALLS_H
#define OVLGO_CALLS_H

#include <ovl.h>

int ovlgo_store_open(const char *home, struct ovl_store_opts opts, uintptr_t log,
                     struct ovl_store **out, struct ovl_error **err);
int ovlgo_cleanup(struct ovl_store *store, struct ovl_cleanup_opts opts, uintptr_t call,
                  struct ovl_cleanup_stats *stats, struct ovl_error **err);
int ovlgo_check(struct ovl_store *store, struct ovl_check_opts opts, uintptr_t call,
                struct ovl_iter **out, struct ovl_error **err);
int ovlgo_create(struct ovl_store *store, const char *id, const char *parent,
                 struct ovl_create_opts opts, uintptr_t call, struct ovl_error **err);
int ovlgo_commit(struct ovl_store *store, const char *id, struct ovl_commit_opts opts,
                 uintptr_t call, struct ovl_error **err);
int ovlgo_remove(struct ovl_store *store, const char *id, struct ovl_remove_opts opts,
                 uintptr_t call, struct ovl_error **err);
int ovlgo_apply_layer(struct ovl_store *store, const char *id, int fd, struct ovl_apply_opts opts,
                      uintptr_t call, struct ovl_layer_info *info, struct ovl_error **err);
int ovlgo_diff(struct ovl_store *store, const char *id, const char *parent, int fd,
               struct ovl_diff_opts opts, uintptr_t call, struct ovl_layer_info *info,
               struct ovl_error **err);
int ovlgo_changes(struct ovl_store *store, const char *id, const char *parent,
                  struct ovl_changes_opts opts, uintptr_t call, struct ovl_iter **out,
                  struct ovl_error **err);
int ovlgo_diff_size(struct ovl_store *store, const char *id, const char *parent,
                    struct ovl_diff_size_opts opts, uintptr_t call, uint64_t *out,
                    struct ovl_error **err);
int ovlgo_usage(struct ovl_store *store, const char *id, struct ovl_usage_opts opts, uintptr_t call,
                struct ovl_usage_info *usage, struct ovl_error **err);
int ovlgo_copy_dir(int src_dir, const char *src, int dst_dir, const char *dst,
                   struct ovl_copy_opts opts, uintptr_t call, struct ovl_copy_stats *stats,
                   struct ovl_error **err);
int ovlgo_image_import(struct ovl_store *store, const char *name, int fd,
                       struct ovl_image_import_opts opts, uintptr_t call,
                       struct ovl_image_info *info, struct ovl_error **err);
int ovlgo_image_export(struct ovl_store *store, const char *name, int fd,
                       struct ovl_image_export_opts opts, uintptr_t call,
                       struct ovl_image_info *info, struct ovl_error **err);
int ovlgo_image_remove(struct ovl_store *store, const char *name, struct ovl_image_remove_opts opts,
                       uintptr_t call, struct ovl_error **err);

#endif
