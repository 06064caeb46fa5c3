#include "calls.h"
#include "_cgo_export.h"

static int progress(void *user, const struct ovl_progress *progress, size_t size)
{
	(void)size;
	return ovlgo_on_progress((uintptr_t)user, progress->entries, progress->bytes);
}

static int64_t read_bytes(void *user, void *buf, size_t len)
{
	return ovlgo_on_read((uintptr_t)user, buf, len);
}

static int64_t write_bytes(void *user, const void *buf, size_t len)
{
	return ovlgo_on_write((uintptr_t)user, (void *)buf, len);
}

static void log_line(void *user, uint32_t level, const char *message)
{
	ovlgo_on_log((uintptr_t)user, level, (char *)message);
}

#define WATCH(opts, call) \
	do { \
		if (call) { \
			(opts).progress = progress; \
			(opts).progress_user = (void *)(call); \
		} \
	} while (0)

int ovlgo_store_open(const char *home, struct ovl_store_opts opts, uintptr_t log,
                     struct ovl_store **out, struct ovl_error **err)
{
	if (log) {
		opts.log = log_line;
		opts.log_user = (void *)log;
	}
	return ovl_store_open(home, &opts, sizeof opts, out, err);
}

int ovlgo_cleanup(struct ovl_store *store, struct ovl_cleanup_opts opts, uintptr_t call,
                  struct ovl_cleanup_stats *stats, struct ovl_error **err)
{
	WATCH(opts, call);
	return ovl_cleanup(store, &opts, sizeof opts, stats, sizeof *stats, err);
}

int ovlgo_check(struct ovl_store *store, struct ovl_check_opts opts, uintptr_t call,
                struct ovl_iter **out, struct ovl_error **err)
{
	WATCH(opts, call);
	return ovl_check(store, &opts, sizeof opts, out, err);
}

int ovlgo_create(struct ovl_store *store, const char *id, const char *parent,
                 struct ovl_create_opts opts, uintptr_t call, struct ovl_error **err)
{
	WATCH(opts, call);
	return ovl_create(store, id, parent, &opts, sizeof opts, err);
}

int ovlgo_commit(struct ovl_store *store, const char *id, struct ovl_commit_opts opts,
                 uintptr_t call, struct ovl_error **err)
{
	WATCH(opts, call);
	return ovl_commit(store, id, &opts, sizeof opts, err);
}

int ovlgo_remove(struct ovl_store *store, const char *id, struct ovl_remove_opts opts,
                 uintptr_t call, struct ovl_error **err)
{
	WATCH(opts, call);
	return ovl_remove(store, id, &opts, sizeof opts, err);
}

int ovlgo_apply_layer(struct ovl_store *store, const char *id, int fd, struct ovl_apply_opts opts,
                      uintptr_t call, struct ovl_layer_info *info, struct ovl_error **err)
{
	WATCH(opts, call);
	if (fd < 0) {
		opts.read = read_bytes;
		opts.read_user = (void *)call;
	}
	return ovl_apply_layer(store, id, fd, &opts, sizeof opts, info, sizeof *info, err);
}

int ovlgo_diff(struct ovl_store *store, const char *id, const char *parent, int fd,
               struct ovl_diff_opts opts, uintptr_t call, struct ovl_layer_info *info,
               struct ovl_error **err)
{
	WATCH(opts, call);
	if (fd < 0) {
		opts.write = write_bytes;
		opts.write_user = (void *)call;
	}
	return ovl_diff(store, id, parent, fd, &opts, sizeof opts, info, sizeof *info, err);
}

int ovlgo_changes(struct ovl_store *store, const char *id, const char *parent,
                  struct ovl_changes_opts opts, uintptr_t call, struct ovl_iter **out,
                  struct ovl_error **err)
{
	WATCH(opts, call);
	return ovl_changes(store, id, parent, &opts, sizeof opts, out, err);
}

int ovlgo_diff_size(struct ovl_store *store, const char *id, const char *parent,
                    struct ovl_diff_size_opts opts, uintptr_t call, uint64_t *out,
                    struct ovl_error **err)
{
	WATCH(opts, call);
	return ovl_diff_size(store, id, parent, &opts, sizeof opts, out, err);
}

int ovlgo_usage(struct ovl_store *store, const char *id, struct ovl_usage_opts opts, uintptr_t call,
                struct ovl_usage_info *usage, struct ovl_error **err)
{
	WATCH(opts, call);
	return ovl_usage(store, id, &opts, sizeof opts, usage, sizeof *usage, err);
}

int ovlgo_copy_dir(int src_dir, const char *src, int dst_dir, const char *dst,
                   struct ovl_copy_opts opts, uintptr_t call, struct ovl_copy_stats *stats,
                   struct ovl_error **err)
{
	WATCH(opts, call);
	return ovl_copy_dir(src_dir, src, dst_dir, dst, &opts, sizeof opts, stats, sizeof *stats, err);
}

int ovlgo_image_import(struct ovl_store *store, const char *name, int fd,
                       struct ovl_image_import_opts opts, uintptr_t call,
                       struct ovl_image_info *info, struct ovl_error **err)
{
	WATCH(opts, call);
	if (fd < 0) {
		opts.read = read_bytes;
		opts.read_user = (void *)call;
	}
	return ovl_image_import(store, name, fd, &opts, sizeof opts, info, sizeof *info, err);
}

int ovlgo_image_export(struct ovl_store *store, const char *name, int fd,
                       struct ovl_image_export_opts opts, uintptr_t call,
                       struct ovl_image_info *info, struct ovl_error **err)
{
	WATCH(opts, call);
	if (fd < 0) {
		opts.write = write_bytes;
		opts.write_user = (void *)call;
	}
	return ovl_image_export(store, name, fd, &opts, sizeof opts, info, sizeof *info, err);
}

int ovlgo_image_remove(struct ovl_store *store, const char *name, struct ovl_image_remove_opts opts,
                       uintptr_t call, struct ovl_error **err)
{
	WATCH(opts, call);
	return ovl_image_remove(store, name, &opts, sizeof opts, err);
}
