/*
 * run: the one command that does work of its own, namespaces around a mounted layer.
 *
 *   ovl ── init (pid 1 of the new pid namespace) ── CMD
 *
 * ovl keeps the mount and waits; init builds the mounts in a mount namespace of its own, starts CMD
 * and reaps. When CMD ends init ends, and the kernel ends whatever else ran there and the mounts
 * with it. Should ovl be killed, so is init. A descriptor holds the layer's mount: no path of the
 * host ever shows it, and a kill leaves nothing behind.
 */
#include "run.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* Waits for `child`, reaps whatever else is ours, and hands on the signals that a process sent: to
 * those of the terminal CMD is as near as we are. */
static int supervise(pid_t child, const sigset_t *signals)
{
	siginfo_t signal_info;
	int status;
	pid_t pid;

	for (;;) {
		if (sigwaitinfo(signals, &signal_info) < 0)
			continue;
		if (signal_info.si_signo != SIGCHLD) {
			if (signal_info.si_code <= 0)
				kill(child, signal_info.si_signo);
			continue;
		}
		while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
			if (pid == child)
				return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_SIGNAL + WTERMSIG(status);
	}
}

/* The life of pid 1. */
static int init_main(const struct place *place, char **command, const sigset_t *signals,
		     const sigset_t *usual)
{
	pid_t child;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (enter(place) != 0)
		return EXIT_OVL;
	child = fork();
	if (child < 0) {
		fail("run", place->id, strerror(errno));
		return EXIT_OVL;
	}
	if (child == 0) {
		sigprocmask(SIG_SETMASK, usual, NULL);
		return execute(place, command);
	}
	return supervise(child, signals);
}

static int run_in(const struct place *place, char **command)
{
	static const int ours[] = { SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2 };
	pid_t foreground = tcgetpgrp(STDIN_FILENO), init;
	sigset_t signals, usual;
	int status;

	sigemptyset(&signals);
	for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
		sigaddset(&signals, ours[i]);
	signal(SIGCHLD, SIG_DFL);
	sigprocmask(SIG_BLOCK, &signals, &usual);
	fflush(NULL);
	if (unshare(CLONE_NEWPID) < 0) {
		fail("run", place->id, strerror(errno));
		return EXIT_OVL;
	}
	init = fork();
	if (init < 0) {
		fail("run", place->id, strerror(errno));
		return EXIT_OVL;
	}
	if (init == 0)
		_exit(init_main(place, command, &signals, &usual));
	status = supervise(init, &signals);
	if (foreground == getpgrp()) {          /* a shell in there may have taken the terminal */
		signal(SIGTTOU, SIG_IGN);
		tcsetpgrp(STDIN_FILENO, foreground);
	}
	return status;
}

/* A detached mount if the layer is free; else the mount that it has, if we can see it. */
static int run_mount(struct tool *tool, const char *id, int volatile_, struct ovl_mnt **mnt)
{
	struct ovl_mount_opts opts = {
		.flags = OVL_MOUNT_DETACHED | (volatile_ ? OVL_MOUNT_VOLATILE : 0)
	};
	struct ovl_layer_info info;
	struct ovl_error *error = NULL;
	int said;

	if (ovl_stat(tool->store, id, &info, sizeof info, &error) < 0)
		return failed(tool, error, id);
	if (info.state == OVL_STATE_COMMITTED)
		opts.flags |= OVL_MOUNT_READ_ONLY;
	said = ovl_mount(tool->store, id, &opts, sizeof opts, mnt, &error);
	if (said == -EBUSY) {
		ovl_error_free(error);
		error = NULL;
		opts.flags &= ~(uint64_t)OVL_MOUNT_DETACHED;
		said = ovl_mount(tool->store, id, &opts, sizeof opts, mnt, &error);
	}
	return said < 0 ? failed(tool, error, id) : 0;
}

int run_layer(struct tool *tool, struct place *place, int volatile_, char **command)
{
	struct ovl_mnt *mnt = NULL;
	struct ovl_error *error = NULL;
	int status;

	if (run_mount(tool, place->id, volatile_, &mnt) != 0)
		return EXIT_OVL;
	place->home = tool->home;
	place->fd = ovl_mnt_fd(mnt);
	place->path = ovl_mnt_path(mnt);
	if (place->path && !*place->path)
		place->path = NULL;
	place->no_groups = groups_are_denied();
	status = run_in(place, command);
	if (ovl_unmount(mnt, NULL, 0, &error) < 0) {
		failed(tool, error, place->id);
		ovl_mnt_free(mnt);
		return EXIT_OVL;
	}
	return status;
}

int cmd_run(struct tool *tool, const struct args *args)
{
	struct place place = { .id = args->word[0] };

	if (args->image)
		return run_image(tool, args);
	if (args->name || args->remove) {
		fail("run", args->name ? "--name" : "--rm", "goes with --image");
		return EXIT_OVL;
	}
	return run_layer(tool, &place, args->volatile_, args->rest);
}
