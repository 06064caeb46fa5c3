/*
 * Watching and stopping a long call: progress comes to a function, Ctrl-C cancels.
 *
 *     copy SRC DST                 copies a tree; a copy that is stopped leaves nothing behind
 */
#define _POSIX_C_SOURCE 200809L
#include <ovl.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>

static struct ovl_cancel *cancel;

static void on_interrupt(int signal)
{
	(void)signal;
	ovl_cancel_trigger(cancel);     /* safe in a signal handler, and from any thread */
}

/* Called on this thread, ten times a second at most. Anything but 0 would stop the copy too. */
static int show(void *user, const struct ovl_progress *progress, size_t size)
{
	(void)user;
	(void)size;
	fprintf(stderr, "%" PRIu64 " entries, %" PRIu64 " bytes\n", progress->entries, progress->bytes);
	return 0;
}

int main(int argc, char **argv)
{
	struct ovl_copy_opts opts = { .progress = show };
	struct ovl_copy_stats stats;
	struct ovl_error *error = NULL;
	int said;

	if (argc != 3) {
		fprintf(stderr, "usage: copy SRC DST\n");
		return 2;
	}
	opts.cancel = cancel = ovl_cancel_new();
	signal(SIGINT, on_interrupt);
	said = ovl_copy_dir(AT_FDCWD, argv[1], AT_FDCWD, argv[2], &opts, sizeof opts,
			    &stats, sizeof stats, &error);
	if (said == -ECANCELED)
		fprintf(stderr, "stopped; %s is as it was\n", argv[2]);
	else if (said < 0)
		fprintf(stderr, "%s\n", ovl_error_message(error));
	else
		printf("%" PRIu64 " entries, %" PRIu64 " files copied, %" PRIu64 " shared\n",
		       stats.entries, stats.copied, stats.reflinked);
	ovl_error_free(error);          /* NULL is fine */
	ovl_cancel_free(cancel);
	return said < 0;
}
