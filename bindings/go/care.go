package ovl

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/libovl/libovl/bindings/go/internal/capi"
)

// CheckOptions are the options of [Store.Check].
type CheckOptions struct {
	// Repair mends what can be mended without losing anything. The store must not be open elsewhere, in
	// this process neither.
	Repair   bool
	Progress func(Progress) error
}

// ProblemKind is what became of a problem.
type ProblemKind uint32

// The kinds of problems.
const (
	Damage   ProblemKind = capi.CheckDamage
	Repaired ProblemKind = capi.CheckRepaired // damage that was mended
	Note     ProblemKind = capi.CheckNote     // no damage, but something that could not be looked at
)

func (k ProblemKind) String() string {
	switch k {
	case Damage:
		return "damage"
	case Repaired:
		return "repaired"
	case Note:
		return "note"
	}
	return fmt.Sprintf("ProblemKind(%d)", uint32(k))
}

// Problem is something that [Store.Check] found.
type Problem struct {
	Kind   ProblemKind
	Name   string // the layer or the path
	Detail string // the kind of damage in words that stay as they are, a colon, and the damage in words
}

func (p Problem) String() string {
	return printable(p.Name) + ": " + p.Detail + " (" + p.Kind.String() + ")"
}

// Check reads the whole store and looks for damage, when the range begins. No problems but notes are
// good news. Nothing is changed, unless opts say so, and nobody is waited for longer than a second.
func (s *Store) Check(ctx context.Context, opts *CheckOptions) iter.Seq2[Problem, error] {
	if opts == nil {
		opts = &CheckOptions{}
	}
	return items(ctx, s,
		func() *call { return newCall("check", s.home, opts.Progress) },
		func(raw *capi.Store, c capi.Call) (*capi.Iter, *capi.Error) { return raw.Check(opts.Repair, c) },
		func(item capi.Item) Problem {
			return Problem{Kind: ProblemKind(item.What), Name: item.Name, Detail: item.Detail}
		})
}

// CleanupOptions are the options of [Store.Cleanup].
type CleanupOptions struct {
	// Budget is how long to work at most, in milliseconds, rounded up; 0 is as long as it takes.
	Budget   time.Duration
	Progress func(Progress) error
}

// CleanupStats are what [Store.Cleanup] did.
type CleanupStats struct {
	Removed   int64 // remains that were removed: of calls that never ended, and of layers removed before
	Busy      int64 // remains that somebody is still working on, or that cannot be removed now; the log tells which
	Unmounted int64 // mounts that a killed process left behind, and that were ended
	Dropped   int64 // small things taken out of layers
	Left      int64 // what there was no time for; 0 is all done
}

// Cleanup removes what killed processes and power cuts left behind, and ends the mounts of killed
// processes. Work in progress is left alone, and so is every layer that has anything to lose. Nobody
// must call this: every call copes with remains; they only take room.
func (s *Store) Cleanup(ctx context.Context, opts *CleanupOptions) (CleanupStats, error) {
	if opts == nil {
		opts = &CleanupOptions{}
	}
	if opts.Budget < 0 {
		return CleanupStats{}, invalid("cleanup", s.home, "the Budget is negative")
	}
	budget := uint64(opts.Budget / time.Millisecond)
	if opts.Budget%time.Millisecond > 0 {
		budget++
	}
	var stats CleanupStats
	err := s.run(ctx, newCall("cleanup", s.home, opts.Progress),
		func(raw *capi.Store, c capi.Call) *capi.Error {
			said, e := raw.Cleanup(budget, c)
			if e == nil {
				stats = CleanupStats{
					Removed:   int64(said.Removed),
					Busy:      int64(said.Busy),
					Unmounted: int64(said.Unmounted),
					Dropped:   int64(said.Dropped),
					Left:      int64(said.Left),
				}
			}
			return e
		})
	return stats, err
}

// Usage is what a layer, or the whole store, takes on the disk. Each inode counts once, however many
// names it has. It is the layer's own when all its names are in the layer's directory, and shared when
// it has names elsewhere: layers of kind root share files with their parents.
type Usage struct {
	OwnBytes     int64 // bytes on the disk of its own: what removing the layer gives back
	SharedBytes  int64 // bytes on the disk of what it shares
	OwnInodes    int64 // inodes of its own, directories and the store's own files among them
	SharedInodes int64
	OwnSize      int64 // lengths of files and of targets of symbolic links of its own, together
	SharedSize   int64
}

// UsageOptions are the options of [Store.Usage] and [Layer.Usage].
type UsageOptions struct {
	Progress func(Progress) error
}

// Usage tells what the whole store takes on the disk, in which nothing counts twice. It looks at every
// name once and reads nothing else.
func (s *Store) Usage(ctx context.Context, opts *UsageOptions) (Usage, error) {
	return s.usage(ctx, s.home, nil, opts)
}

// Usage tells what the layer takes on the disk.
func (l *Layer) Usage(ctx context.Context, opts *UsageOptions) (Usage, error) {
	return l.store.usage(ctx, l.id, &l.id, opts)
}

func (s *Store) usage(ctx context.Context, path string, id *string, opts *UsageOptions) (Usage, error) {
	if opts == nil {
		opts = &UsageOptions{}
	}
	var usage Usage
	err := s.run(ctx, newCall("usage", path, opts.Progress),
		func(raw *capi.Store, c capi.Call) *capi.Error {
			said, e := raw.Usage(id, c)
			if e == nil {
				usage = Usage{
					OwnBytes:     int64(said.OwnBytes),
					SharedBytes:  int64(said.SharedBytes),
					OwnInodes:    int64(said.OwnInodes),
					SharedInodes: int64(said.SharedInodes),
					OwnSize:      int64(said.OwnSize),
					SharedSize:   int64(said.SharedSize),
				}
			}
			return e
		})
	return usage, err
}
