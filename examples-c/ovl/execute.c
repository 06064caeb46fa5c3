/* CMD itself, in its directory, as its user and with its environment. */
#include "run.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Where the command starts; made where it is missing, with all that leads to it. */
static int start_in(const char *dir)
{
	const uint64_t directory = O_PATH | O_DIRECTORY;
	char path[PATH_MAX], *end;
	int at = open_inside("/", directory), said = 0;

	if (snprintf(path, sizeof path, "/%s/", dir) >= (int)sizeof path)
		return fail("run", dir, strerror(ENAMETOOLONG));
	for (char *part = path + 1; at >= 0 && (end = strchr(part, '/')) != NULL; part = end + 1) {
		int next;

		*end = '\0';
		next = open_inside(path, directory);
		if (next < 0 && errno == ENOENT && mkdirat(at, part, 0755) == 0)
			next = open_inside(path, directory);
		said = errno;
		close(at);
		at = next;
		*end = '/';
	}
	if (at < 0)
		return fail("run", dir, strerror(said));
	said = result(fchdir(at));
	close(at);
	return said < 0 ? fail("run", dir, strerror(-said)) : 0;
}

static const char usual_path[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/* What the image says: directory, user, environment. Of our own environment TERM alone goes on. */
static int prepare(const struct place *place)
{
	const struct image *image = place->image;
	const char *term = isatty(STDIN_FILENO) ? getenv("TERM") : NULL;
	struct identity who = { .home = "/" };
	struct words env = { NULL, 0, 0 };

	if ((image->dir && start_in(image->dir) != 0) || become(image->user, place->no_groups, &who) != 0)
		return EXIT_OVL;
	add_variable(&env, "PATH", usual_path);
	add_variable(&env, "HOSTNAME", place->id);
	add_variable(&env, "HOME", who.home);
	if (term)
		add_variable(&env, "TERM", term);
	for (size_t i = 0; i < image->env.count; i++)
		if (strchr(image->env.word[i], '=') && image->env.word[i][0] != '=')
			add_word(&env, image->env.word[i]);
	keep_last(&env);
	environ = env.word;
	return 0;
}

int execute(const struct place *place, char **command)
{
	static char *const shell[] = { "/bin/sh", NULL };
	char *const *argv = *command ? command : shell;

	if (place->image && prepare(place) != 0)
		return EXIT_OVL;
	if (!place->image)
		setenv("PATH", usual_path, 1);
	execvp(argv[0], argv);
	if (errno == ENOENT) {
		int there = strchr(argv[0], '/') && access(argv[0], F_OK) == 0;
		fail("run", argv[0], there ? "its loader or interpreter is not in the layer"
		     : "not found in the layer");
		return EXIT_NOT_FOUND;
	}
	fail("run", argv[0], strerror(errno));
	return EXIT_NOT_RUN;
}
