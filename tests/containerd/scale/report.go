package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"text/tabwriter"
	"time"
)

// times is what one operation took, each time.
type times struct {
	server, operation string
	snapshots         int // 0: those of the node
	took              []time.Duration
	wall              time.Duration // of all, where they were at once
}

func (t *times) take(operation func() error) error {
	started := time.Now()
	err := operation()
	t.took = append(t.took, time.Since(started))
	return err
}

func (t *times) part(of float64) time.Duration {
	if len(t.took) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(t.took))
	return sorted[int(of*float64(len(sorted)-1))]
}

func (t *times) MarshalJSON() ([]byte, error) {
	perSecond := 0.0
	if t.wall > 0 {
		perSecond = float64(len(t.took)) / t.wall.Seconds()
	}
	return json.Marshal(map[string]any{
		"server": t.server, "operation": t.operation, "snapshots": t.snapshots, "times": len(t.took),
		"median_us": t.part(0.5).Microseconds(), "p99_us": t.part(0.99).Microseconds(),
		"wall_ms": t.wall.Milliseconds(), "per_second": perSecond,
	})
}

type memory struct {
	Server   string `json:"server"`
	What     string `json:"what"` // there was then
	Resident int64  `json:"resident"`
	Own      int64  `json:"own"` // of that; the rest is of files: the program, and the database as far as it was read
	Most     int64  `json:"most"`
}

type report struct {
	Settings map[string]any `json:"settings"`
	Times    []*times       `json:"times"`
	Memory   []memory       `json:"memory"`
	Load     []string       `json:"load"` // of the machine
}

func (r *report) times(server, operation string, size int) *times {
	return r.at(server, operation, 0, size)
}

func (r *report) at(server, operation string, snapshots, size int) *times {
	one := &times{server: server, operation: operation, snapshots: snapshots, took: make([]time.Duration, 0, size)}
	r.Times = append(r.Times, one)
	return one
}

func (r *report) print(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "operation\tsnapshots\toverlayfs median\tp99\tovl median\tp99\tovl / overlayfs\t\n")
	for _, ours := range r.Times {
		if ours.server != "ovl" {
			continue
		}
		theirs := r.find("overlayfs", ours.operation, ours.snapshots)
		count := ""
		if ours.snapshots > 0 {
			count = fmt.Sprint(ours.snapshots)
		}
		fmt.Fprintf(w, "%s\t%s\t%v\t%v\t%v\t%v\t%.2f\t\n", ours.operation, count,
			theirs.part(0.5).Round(time.Microsecond), theirs.part(0.99).Round(time.Microsecond),
			ours.part(0.5).Round(time.Microsecond), ours.part(0.99).Round(time.Microsecond),
			float64(ours.part(0.5))/float64(max(theirs.part(0.5), 1)))
	}
	w.Flush()
	for _, one := range r.Times {
		if one.wall > 0 {
			fmt.Fprintf(out, "%s: %s: %.0f a second\n", one.server, one.operation, float64(len(one.took))/one.wall.Seconds())
		}
	}
	for _, one := range r.Memory {
		fmt.Fprintf(out, "%s: %s: %.1f MB resident, %.1f MB of it its own, at most %.1f MB\n", one.Server, one.What,
			float64(one.Resident)/1e6, float64(one.Own)/1e6, float64(one.Most)/1e6)
	}
	for _, one := range r.Load {
		fmt.Fprintln(out, one)
	}
}

func (r *report) write(name string) error {
	if name == "" {
		return nil
	}
	text, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(name, append(text, '\n'), 0o644)
}

func (r *report) find(server, operation string, snapshots int) *times {
	for _, one := range r.Times {
		if one.server == server && one.operation == operation && one.snapshots == snapshots {
			return one
		}
	}
	return &times{}
}
