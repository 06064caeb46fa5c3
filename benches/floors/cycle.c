/*
 * The floor of a container's life: create, mount, unmount, remove.
 *
 *     cycle DIR LAYERS TIMES volatile|synced
 *
 * The calls of libovl that change the disk or the mounts, and those that sync, in its order; none of
 * those that look first: no lock, no stat, nothing read. LAYERS layers are made in DIR where they
 * are not there yet.
 */
#define _GNU_SOURCE
#include "overlay.h"
#include "../calls/steps.h"

struct floor {
	int layers, stage, trash;
	int lowers, hints;      /* how many lie below; where the nearest has its hints */
	int is_volatile;
};

static int have_dir(int at, const char *name)
{
	if (mkdirat(at, name, 0755) < 0 && errno != EEXIST)
		die(name);
	return open_dir(at, name);
}

/* What lies below: LAYERS layers, each with one file of its own. */
static void make_lowers(struct floor *floor, int count)
{
	char name[32];

	for (int i = 0; i < count; i++) {
		int layer, upper;

		snprintf(name, sizeof name, "l%d", i);
		layer = have_dir(floor->layers, name);
		upper = have_dir(layer, "upper");
		floor->hints = have_dir(layer, "child");
		if (faccessat(upper, name, F_OK, 0) < 0)
			make_file(upper, name, name);
		close(upper);
		close(layer);
		if (i + 1 < count)
			close(floor->hints);
	}
	floor->lowers = count;
}

static void create(struct floor *floor)
{
	static const char *dirs[] = { "child", "pin", "work", "merged" };
	const struct timespec times[2] = { { 1700000000, 1 }, { 1700000000, 1 } };
	const int whole = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE
			  | SYNC_FILE_RANGE_WAIT_AFTER;
	int layer = make_dir(floor->stage, "nonce", 0700), upper = make_dir(layer, "upper", 0700);
	int lower, meta;

	must(fchown(upper, 0, 0), "chown");
	must(fchmod(upper, 0755), "chmod");
	must(futimens(upper, times), "utimens");
	for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++)
		must(mkdirat(layer, dirs[i], 0700), dirs[i]);
	make_file(floor->hints, "c", "");
	lower = new_file(layer, "lower-id", "l0", SYNC_FILE_RANGE_WRITE);
	meta = new_file(layer, "meta", "kind=overlay\nstate=writable\n", whole);
	must(sync_file_range(lower, 0, 0, whole), "sync_file_range");
	close(meta);
	close(lower);
	must(renameat2(floor->stage, "nonce", floor->layers, "c", RENAME_NOREPLACE), "rename");
	close(upper);
	close(layer);
}

static void mount_it(struct floor *floor)
{
	int layer = open_dir(floor->layers, "c"), upper = open_dir(layer, "upper");
	int work = open_dir(layer, "work"), pins = open_dir(layer, "pin");
	int merged = open_dir(layer, "merged"), context, mounted;
	char name[32];

	ask_in_use(upper, pins);
	make_file(layer, ".running", "boot=\n");
	must(renameat(layer, ".running", layer, "running"), "rename");
	context = overlay_begin();
	set_string(context, "source", "floor");
	for (int i = floor->lowers - 1; i >= 0; i--) {
		int lower;

		snprintf(name, sizeof name, "l%d/upper", i);
		lower = open_dir(floor->layers, name);
		set_fd(context, "lowerdir+", lower);
		close(lower);
	}
	set_fd(context, "upperdir", upper);
	set_fd(context, "workdir", work);
	set_string(context, "index", "off");
	set_string(context, "metacopy", "off");
	set_string(context, "redirect_dir", "nofollow");
	set_string(context, "xino", "off");
	set_string(context, "nfs_export", "off");
	overlay_make(context, floor->is_volatile);
	mounted = must(syscall(SYS_fsmount, context, 1, 0), "fsmount");
	make_file(pins, "pin", "mode=held\n");
	must(syscall(SYS_move_mount, mounted, "", merged, "", EMPTY_PATHS), "move_mount");
	close(mounted);
	close(context);
	close(merged);
	close(pins);
	close(work);
	close(upper);
	close(layer);
}

static void unmount_it(struct floor *floor)
{
	char path[64];
	int layer = open_dir(floor->layers, "c"), pins = open_dir(layer, "pin");
	int upper = open_dir(layer, "upper");

	snprintf(path, sizeof path, "/proc/self/fd/%d/merged", layer);
	must(umount2(path, UMOUNT_NOFOLLOW), "umount");
	must(unlinkat(pins, "pin", 0), "pin");
	if (!floor->is_volatile) {
		ask_in_use(upper, pins);
		must(unlinkat(layer, "running", 0), "running");
		must(fsync(layer), "fsync");
	}
	close(upper);
	close(pins);
	close(layer);
}

static void remove_it(struct floor *floor)
{
	static const char *dirs[] = { "child", "work/work", "work", "pin", "merged", "upper" };
	int layer = open_dir(floor->layers, "c"), pins = open_dir(layer, "pin");
	int upper = open_dir(layer, "upper");

	ask_in_use(upper, pins);
	close(upper);
	close(pins);
	must(renameat2(floor->layers, "c", floor->trash, "nonce", RENAME_NOREPLACE), "rename");
	must(fsync(floor->layers), "fsync");
	must(unlinkat(floor->hints, "c", 0), "hint");
	if (floor->is_volatile) {
		must(unlinkat(layer, "running", 0), "running");
		must(unlinkat(layer, "work/work/incompat/volatile/dirty", 0), "dirty");
		must(unlinkat(layer, "work/work/incompat/volatile", AT_REMOVEDIR), "volatile");
		must(unlinkat(layer, "work/work/incompat", AT_REMOVEDIR), "incompat");
	}
	must(unlinkat(layer, "meta", 0), "meta");
	must(unlinkat(layer, "lower-id", 0), "lower-id");
	for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++)
		must(unlinkat(layer, dirs[i], AT_REMOVEDIR), dirs[i]);
	must(unlinkat(floor->trash, "nonce", AT_REMOVEDIR), "trash");
	close(layer);
}

int main(int argc, char **argv)
{
	struct floor floor = { 0 };
	struct steps steps = { 0 };
	int home, times;

	if (argc != 5) {
		fprintf(stderr, "usage: cycle DIR LAYERS TIMES volatile|synced\n");
		return 2;
	}
	umask(0);
	times = number(argv[3], MOST_TIMES);
	floor.is_volatile = strcmp(argv[4], "volatile") == 0;
	home = open_dir(AT_FDCWD, argv[1]);
	floor.layers = have_dir(home, "layer");
	floor.stage = have_dir(home, "stage");
	floor.trash = have_dir(home, "trash");
	make_lowers(&floor, number(argv[2], 500));
	must(syncfs(home), "syncfs");
	for (; steps.times < times; steps.times++) {
		steps_begin(&steps);
		create(&floor);
		steps_end(&steps, "create");
		mount_it(&floor);
		steps_end(&steps, "mount");
		unmount_it(&floor);
		steps_end(&steps, "unmount");
		remove_it(&floor);
		steps_end(&steps, "remove");
	}
	steps_print(&steps);
	return 0;
}
