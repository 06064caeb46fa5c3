/* The progress bar: on a terminal, and once the work has taken half a second. */
#include "tool.h"

#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

struct bar bar_new(const char *what, int input)
{
	struct bar bar = { .what = what, .input = input };
	struct stat st;

	if (input >= 0 && fstat(input, &st) == 0 && S_ISREG(st.st_mode))
		bar.total = st.st_size;
	clock_gettime(CLOCK_MONOTONIC, &bar.start);
	return bar;
}

static int bar_draw(void *user, const struct ovl_progress *progress, size_t size)
{
	struct bar *bar = user;
	struct timespec now;
	off_t done = bar->total > 0 ? lseek(bar->input, 0, SEEK_CUR) : 0;

	(void)size;
	clock_gettime(CLOCK_MONOTONIC, &now);
	if ((now.tv_sec - bar->start.tv_sec) * 1000 + (now.tv_nsec - bar->start.tv_nsec) / 1000000 < 500)
		return 0;
	bar->drawn = 1;
	fprintf(stderr, "\r%s ", bar->what);
	if (bar->total > 0 && done >= 0) {
		int filled = done >= bar->total ? 30 : (int)(done * 30 / bar->total);
		fprintf(stderr, "[%.*s%*s] %3d%% ", filled, "##############################",
			30 - filled, "", filled * 100 / 30);
	}
	fprintf(stderr, "%" PRIu64 " entries, %" PRIu64 " MB\033[K", progress->entries,
		progress->bytes / 1000000);
	return 0;
}

ovl_progress_fn bar_function(void)
{
	return isatty(STDERR_FILENO) ? bar_draw : NULL;
}

void bar_end(const struct bar *bar)
{
	if (bar->drawn)
		fputs("\r\033[K", stderr);
}
