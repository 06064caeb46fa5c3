/*
 * Times of the steps of a cycle, and their medians: what the programs of libovl's calls and the floors
 * beside them share. Each step is a line "NAME MICROSECONDS" on standard output.
 */
#ifndef STEPS_H
#define STEPS_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MOST_STEPS = 6, MOST_TIMES = 10000 };

struct steps {
	const char *name[MOST_STEPS];
	double *took[MOST_STEPS];
	int count, times;
	double last;
};

static inline double now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

/* A cycle begins. */
static inline void steps_begin(struct steps *steps)
{
	steps->count = 0;
	steps->last = now_us();
}

/* The step `name` of this cycle has ended. */
static inline void steps_end(struct steps *steps, const char *name)
{
	double now = now_us();
	int at = steps->count++;

	if (!steps->took[at])
		steps->took[at] = calloc(MOST_TIMES, sizeof(double));
	if (!steps->took[at])
		abort();
	steps->name[at] = name;
	steps->took[at][steps->times] = now - steps->last;
	steps->last = now_us();
}

static inline int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static inline double median(double *took, int times)
{
	qsort(took, (size_t)times, sizeof *took, by_size);
	return took[times / 2];
}

/* The median of each step, and of the cycles as a whole. */
static inline void steps_print(struct steps *steps)
{
	double *total = calloc(MOST_TIMES, sizeof(double));

	if (!total)
		abort();
	for (int i = 0; i < steps->times; i++)
		for (int step = 0; step < steps->count; step++)
			total[i] += steps->took[step][i];
	for (int step = 0; step < steps->count; step++) {
		printf("%s %.2f\n", steps->name[step], median(steps->took[step], steps->times));
		free(steps->took[step]);
	}
	printf("total %.2f\n", median(total, steps->times));
	free(total);
}

/* A number of the command line, from 1 to `most`. */
static inline int number(const char *text, int most)
{
	char *end;
	long value = strtol(text, &end, 10);

	if (*end || value < 1 || value > most) {
		fprintf(stderr, "%s: a number from 1 to %d\n", text, most);
		exit(2);
	}
	return (int)value;
}

#endif
