// Package spec finds the layer of a libovl store in the mounts that were made of its mount specs.
package spec

import (
	"strconv"
	"strings"

	"github.com/containerd/containerd/v2/core/mount"
)

// Layer is what a set of mounts shows.
type Layer struct {
	ID       string
	Writable bool
	Mapped   bool // by uidmap= and gidmap=: the layer holds the host's ids
}

// Find tells which layer of the store in home the mounts show. It is false of mounts that are not of
// that store, or that are not as a layer's spec is.
func Find(home string, mounts []mount.Mount) (Layer, bool) {
	if len(mounts) != 1 || mounts[0].Target != "" {
		return Layer{}, false
	}
	m := mounts[0]
	var found Layer
	var upper, lower string
	readOnly := false
	for _, option := range m.Options {
		key, value, _ := strings.Cut(option, "=")
		switch key {
		case "upperdir":
			upper = value
		case "lowerdir":
			lower, _, _ = strings.Cut(value, ":")
		case "ro":
			readOnly = true
		case "uidmap", "gidmap":
			found.Mapped = true
		}
	}
	var ok bool
	switch m.Type {
	case "bind":
		found.ID, ok = layerOf(home, m.Source, "/root")
		found.Writable = !readOnly
	case "overlay":
		if upper != "" {
			found.ID, ok = layerOf(home, upper, "/upper")
			found.Writable = !readOnly
			break
		}
		if found.ID, ok = layerOf(home, lower, "/upper"); !ok {
			found.ID, ok = layerOf(home, lower, "/root")
		}
	}
	return found, ok
}

// layerOf is N in home/layer/N and tree.
func layerOf(home, path, tree string) (string, bool) {
	rest, ok := strings.CutPrefix(path, home+"/layer/")
	if !ok {
		return "", false
	}
	id, ok := strings.CutSuffix(rest, tree)
	return id, ok && Ours(id)
}

// Ours tells whether id is the name of a snapshot's layer: the number that the database gave it.
// Others in the store are somebody else's, and left alone.
func Ours(id string) bool {
	n, err := strconv.ParseUint(id, 10, 64)
	return err == nil && n > 0 && strconv.FormatUint(n, 10) == id
}
