/*
 * ovl: libovl on the command line, and the complete example of its C interface.
 *
 * Here the command line is read. The commands that are each a call or two are in layers.c, images.c,
 * lists.c, copy.c and gc.c; the one that does work of its own is run.c, with what else includes run.h.
 * What they all share is in tool.h.
 *
 * Every failure ends as one line, "ovl: OPERATION: PATH: MESSAGE", and exit status 1 (125 for run).
 *
 *     cc *.c $(pkg-config --cflags --libs ovl) -o ovl
 */
#include "tool.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

enum {                          /* which options a command takes, and what it needs */
	PARENT = 1 << 0, KIND = 1 << 1, DIFF_ID = 1 << 2, READ_ONLY = 1 << 3, NUL = 1 << 4,
	HARD_LINK = 1 << 5, REFLINK = 1 << 6, SALVAGE = 1 << 7, VOLATILE = 1 << 12, REPAIR = 1 << 13,
	NO_STORE = 1 << 8,      /* needs none, or opens it itself */
	DURABILITY = 1 << 9,
	BUDGET = 1 << 11,
	KEEP_BLOBS = 1 << 14, REF = 1 << 15, PLATFORM = 1 << 16,
	RUN = 1 << 10           /* all after the first word is a command of its own */
};

static const struct command {
	const char *name, *usage, *help;
	int least, most;
	unsigned takes;
	command_fn *function;
} commands[] = {
	{ "create", "ID [PARENT] [--durability none|full]", "a new writable layer, on PARENT if one is given",
	  1, 2, NO_STORE | DURABILITY, cmd_create },
	{ "apply", "ID [--parent PARENT] [--kind root|overlay] [--diff-id sha256:HEX] [--durability none|full|verified] FILE|-",
	  "a layer from a layer tar (plain, gzip or zstd); prints its diff ID",
	  2, 2, NO_STORE | PARENT | KIND | DIFF_ID | DURABILITY, cmd_apply },
	{ "commit", "ID [--salvage] [--durability none|full|verified]",
	  "the layer never changes again; --salvage also after a crash of the machine under it",
	  1, 1, SALVAGE | DURABILITY, cmd_commit },
	{ "rm", "ID", "remove the layer", 1, 1, 0, cmd_rm },
	{ "list", "", "the layers' ids", 0, 0, 0, cmd_list },
	{ "info", "ID", "what is known of the layer", 1, 1, 0, cmd_info },
	{ "status", "", "what this machine and this disk can do", 0, 0, 0, cmd_status },
	{ "mount", "ID [DIR] [--ro | --volatile]",
	  "mount the layer until `ovl unmount`; prints the path. --volatile never syncs it",
	  1, 2, READ_ONLY | VOLATILE, cmd_mount },
	{ "unmount", "ID|DIR", "end a mount", 1, 1, 0, cmd_unmount },
	{ "run", "[--volatile] ID|--image NAME [--name ID] [--rm] [--] [CMD [ARG...]]",
	  "run CMD (/bin/sh) chrooted in the layer, or in a new one over the image, as that says.\n"
	  "        This is no sandbox: CMD has your rights and your network",
	  1, 1, RUN | VOLATILE, cmd_run },
	{ "diff", "ID [PARENT]", "the layer tar, on standard output; PARENT '' is nothing",
	  1, 2, 0, cmd_diff },
	{ "changes", "ID [PARENT] [-z]", "\"A /path\", \"C /path\", \"D /path\"; -z ends each with NUL",
	  1, 2, NUL, cmd_changes },
	{ "import", "[--keep-blobs] [--ref REF] [--platform OS/ARCH] [--durability none|full|verified] FILE|DIR|- NAME",
	  "an image from an OCI archive or layout, or docker save; prints its topmost layer",
	  2, 2, NO_STORE | DURABILITY | KEEP_BLOBS | REF | PLATFORM, cmd_import },
	{ "export", "NAME FILE|DIR|-", "the image as an OCI archive, or as a layout in an empty directory",
	  2, 2, 0, cmd_export },
	{ "images", "", "the images' names", 0, 0, 0, cmd_images },
	{ "rmi", "NAME", "remove the image, and its layers that nobody else uses", 1, 1, 0, cmd_rmi },
	{ "copy", "[--hardlink | --reflink=auto|always|never] [--durability none|full] SRC DST",
	  "copy a directory tree", 2, 2, NO_STORE | DURABILITY | HARD_LINK | REFLINK, cmd_copy },
	{ "check", "[--repair]",
	  "look for damage in the whole store; --repair mends what can be mended without losing anything",
	  0, 0, REPAIR, cmd_check },
	{ "gc", "[--budget SECONDS]", "remove what interrupted work left behind", 0, 0, BUDGET, cmd_gc },
	{ "usage", "[ID]", "what layers take on the disk: bytes of their own, and shared with others",
	  0, 1, 0, cmd_usage },
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static void help(void)
{
	puts("usage: ovl [--store DIR] [--json] COMMAND\n\n"
	     "libovl's container layers. DIR defaults to $OVL_STORE.\n");
	for (int i = 0; i < COMMANDS; i++)
		printf("  %s%s%s\n        %s\n", commands[i].name, *commands[i].usage ? " " : "",
		       commands[i].usage, commands[i].help);
	puts("\nExit status 0, or 1 with one line on standard error: ovl: OPERATION: PATH: MESSAGE.\n"
	     "run exits with CMD's status (128+N for signal N), 125 when ovl fails, 126 or 127 when\n"
	     "CMD cannot be run or found.");
}

/* Takes `word` as an option of `command`; 1 when its value was the next argument, -1 when refused. */
static int take_option(const struct command *command, struct args *args, char *word, char *next)
{
	const struct {
		const char *name;
		unsigned bit;
		int *flag;
		const char **value;
	} options[] = {
		{ "--parent", PARENT, NULL, &args->parent },
		{ "--kind", KIND, NULL, &args->kind },
		{ "--diff-id", DIFF_ID, NULL, &args->diff_id },
		{ "--reflink", REFLINK, NULL, &args->reflink },
		{ "--ro", READ_ONLY, &args->read_only, NULL },
		{ "-z", NUL, &args->nul, NULL },
		{ "--hardlink", HARD_LINK, &args->hard_link, NULL },
		{ "--salvage", SALVAGE, &args->salvage, NULL },
		{ "--volatile", VOLATILE, &args->volatile_, NULL },
		{ "--repair", REPAIR, &args->repair, NULL },
		{ "--budget", BUDGET, NULL, &args->budget },
		{ "--durability", DURABILITY, NULL, &args->durability },
		{ "--keep-blobs", KEEP_BLOBS, &args->keep_blobs, NULL },
		{ "--ref", REF, NULL, &args->ref },
		{ "--platform", PLATFORM, NULL, &args->platform },
		{ "--image", RUN, NULL, &args->image },
		{ "--name", RUN, NULL, &args->name },
		{ "--rm", RUN, &args->remove, NULL },
	};
	size_t len = strcspn(word, "=");

	for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
		if (strlen(options[i].name) != len || strncmp(options[i].name, word, len) != 0
		    || !(command->takes & options[i].bit))
			continue;
		if (options[i].flag && !word[len]) {
			*options[i].flag = 1;
			return 0;
		}
		if (options[i].value && (word[len] || next)) {
			*options[i].value = word[len] ? word + len + 1 : next;
			return !word[len];
		}
		fail(command->name, word, options[i].flag ? "takes no value" : "needs a value");
		return -1;
	}
	fail(command->name, word, "unknown option");
	return -1;
}

/* Reads what follows the command's name. */
static int read_args(const struct command *command, char **argv, struct args *args)
{
	int options = 1;

	for (; *argv; argv++) {
		if (options && strcmp(*argv, "--") == 0) {
			options = 0;
			if (args->image) {
				argv++;
				break;
			}
		} else if (options && (*argv)[0] == '-' && (*argv)[1]) {
			int took = take_option(command, args, *argv, argv[1]);
			if (took < 0)
				return -1;
			argv += took;
		} else if (args->image) {
			break;
		} else if (args->words == command->most) {
			fail(command->name, *argv, "one argument too many");
			return -1;
		} else {
			args->word[args->words++] = *argv;
			if (command->takes & RUN) {
				args->rest = argv + 1;
				if (*args->rest && strcmp(*args->rest, "--") == 0)
					args->rest++;
				break;
			}
		}
	}
	if (args->image) {              /* it stands for the layer */
		args->rest = argv;
		return 0;
	}
	if (args->words >= command->least)
		return 0;
	fprintf(stderr, "ovl: %s: usage: ovl %s %s\n", command->name, command->name, command->usage);
	return -1;
}

static struct ovl_cancel *interrupt;

static void on_signal(int number)
{
	(void)number;
	ovl_cancel_trigger(interrupt);
}

/* The first signal cancels the call, which then undoes its work; the second kills as usual. One
 * that is ignored, as under nohup, stays ignored. */
static void cancel_on_signals(struct tool *tool)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	const struct sigaction action = { .sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND };
	struct sigaction before;

	tool->cancel = interrupt = ovl_cancel_new();
	for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
		if (sigaction(signals[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
			sigaction(signals[i], &action, NULL);
}

static int run_command(struct tool *tool, const struct command *command, char **argv)
{
	struct args args = { .words = 0 };
	int failure = command->takes & RUN ? EXIT_OVL : EXIT_FAILURE;
	int status;

	tool->command = command->name;
	if (*argv && (strcmp(*argv, "--help") == 0 || strcmp(*argv, "-h") == 0)) {
		printf("usage: ovl [--store DIR] [--json] %s%s%s\n%s.\n", command->name,
		       *command->usage ? " " : "", command->usage, command->help);
		return EXIT_SUCCESS;
	}
	if (read_args(command, argv, &args) < 0)
		return failure;
	if (!(command->takes & NO_STORE) && open_store(tool, OVL_STORE_MUST_EXIST) != EXIT_SUCCESS)
		return failure;
	if (!(command->takes & RUN))
		cancel_on_signals(tool);
	status = command->function(tool, &args);
	ovl_store_free(tool->store);
	if ((fflush(stdout) != 0 || ferror(stdout)) && status == EXIT_SUCCESS)
		status = fail(command->name, "standard output", strerror(errno));
	return status;
}

int main(int argc, char **argv)
{
	struct tool tool = { .home = getenv("OVL_STORE") };
	int status;

	(void)argc;
	for (argv++; *argv && (*argv)[0] == '-'; argv++) {
		if (strcmp(*argv, "--help") == 0 || strcmp(*argv, "-h") == 0) {
			help();
			return EXIT_SUCCESS;
		} else if (strcmp(*argv, "--version") == 0) {
			printf("ovl %s\n", ovl_version());
			return EXIT_SUCCESS;
		} else if (strcmp(*argv, "--json") == 0) {
			tool.json = 1;
		} else if (strncmp(*argv, "--store=", 8) == 0) {
			tool.home = *argv + 8;
		} else if (strcmp(*argv, "--store") == 0 && argv[1]) {
			tool.home = *++argv;
		} else {
			return fail("usage", *argv, "unknown option, or one without its value; see ovl --help");
		}
	}
	if (!*argv)
		return fail("usage", "COMMAND", "none given; see ovl --help");
	for (int i = 0; i < COMMANDS; i++) {
		if (strcmp(*argv, commands[i].name) == 0) {
			status = run_command(&tool, &commands[i], argv + 1);
			ovl_cancel_free(tool.cancel);
			return status;
		}
	}
	return fail("usage", *argv, "unknown command; see ovl --help");
}
