/*
 * Threads over the directories of a tree: what the floors of whole trees share. Each
 * directory is one thread's; whoever comes to a directory in it leaves that to whoever is free.
 */
#ifndef TREES_H
#define TREES_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MOST_THREADS = 64, ROOM = 32 << 10 };

struct dir {
	struct dir *next, *parent;
	int below;              /* itself and the directories in it that are not done */
	char path[];            /* from the root of the tree, "." for that */
};

struct walk {
	/* Does a directory, named by its path; `put_dir` for each directory in it. */
	void (*visit)(struct walk *walk, struct dir *dir);
	/* When all in it is done, of each directory; may be NULL. */
	void (*leave)(struct walk *walk, struct dir *dir);
	int from_fd, to_fd, how;        /* whatever `visit` takes them for */
	pthread_mutex_t lock;
	pthread_cond_t some;
	struct dir *stack;
	size_t open;            /* directories that are not done */
};

/* As the kernel gives them. */
struct entry {
	unsigned long long ino, off;
	unsigned short length;
	unsigned char type;
	char name[];
};

static inline void die(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

static inline int must(long said, const char *what)
{
	if (said < 0)
		die(what);
	return (int)said;
}

static inline void *room_of(size_t size)
{
	void *room = malloc(size);

	if (!room)
		die("memory");
	return room;
}

/* The directory `name` in `parent`, to be done by whoever is free. */
static inline void put_dir(struct walk *walk, struct dir *parent, const char *name)
{
	size_t above = parent ? strlen(parent->path) + 1 : 0, size = above + strlen(name) + 1;
	struct dir *dir = room_of(sizeof *dir + size);

	if (parent)
		snprintf(dir->path, size, "%s/%s", parent->path, name);
	else
		snprintf(dir->path, size, "%s", name);
	dir->parent = parent;
	dir->below = 1;
	pthread_mutex_lock(&walk->lock);
	if (parent)
		parent->below++;
	dir->next = walk->stack;
	walk->stack = dir;
	walk->open++;
	pthread_cond_signal(&walk->some);
	pthread_mutex_unlock(&walk->lock);
}

/* Each entry of the open directory but itself and its parent: `each` gets what `entry` is. */
#define FOR_ENTRIES(fd, entry, room) \
	for (long left_ = next_entries(fd, room), at_ = 0; left_ > 0; \
	     left_ = at_ >= left_ ? (at_ = 0, next_entries(fd, room)) : left_) \
		if ((entry = (struct entry *)(void *)((room) + at_), at_ += entry->length, 1) && \
		    strcmp(entry->name, ".") != 0 && strcmp(entry->name, "..") != 0)

static inline long next_entries(int fd, char *room)
{
	return must(syscall(SYS_getdents64, fd, room, ROOM), "getdents64");
}

/* The directory and those above it that wait for nothing else. */
static inline void done_with(struct walk *walk, struct dir *dir)
{
	while (dir) {
		struct dir *parent = dir->parent;
		int below;

		pthread_mutex_lock(&walk->lock);
		below = --dir->below;
		pthread_mutex_unlock(&walk->lock);
		if (below > 0)
			return;
		if (walk->leave)
			walk->leave(walk, dir);
		pthread_mutex_lock(&walk->lock);
		if (--walk->open == 0)
			pthread_cond_broadcast(&walk->some);
		pthread_mutex_unlock(&walk->lock);
		free(dir);
		dir = parent;
	}
}

static inline void *work(void *given)
{
	struct walk *walk = given;

	for (;;) {
		struct dir *dir;

		pthread_mutex_lock(&walk->lock);
		while (!walk->stack && walk->open)
			pthread_cond_wait(&walk->some, &walk->lock);
		dir = walk->stack;
		if (dir)
			walk->stack = dir->next;
		pthread_mutex_unlock(&walk->lock);
		if (!dir)
			return NULL;
		walk->visit(walk, dir);
		done_with(walk, dir);
	}
}

/* Runs `threads` of `each`, this one among them, to their end. */
static inline void run_threads(int threads, void *(*each)(void *), void *given)
{
	pthread_t all[MOST_THREADS];

	for (int i = 1; i < threads; i++) {
		errno = pthread_create(&all[i], NULL, each, given);
		if (errno)
			die("thread");
	}
	each(given);
	for (int i = 1; i < threads; i++)
		pthread_join(all[i], NULL);
}

/* The whole tree. */
static inline void walk_tree(struct walk *walk, int threads)
{
	pthread_mutex_init(&walk->lock, NULL);
	pthread_cond_init(&walk->some, NULL);
	put_dir(walk, NULL, ".");
	run_threads(threads, work, walk);
}

#endif
