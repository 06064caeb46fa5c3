package snapshotter

import (
	"fmt"

	"github.com/containerd/errdefs"
	bolt "go.etcd.io/bbolt"
)

// Others share a transaction with a request, so what the database cannot hold is refused before.

func validName(what, name string) error {
	switch {
	case name == "":
		return fmt.Errorf("the %s is empty: %w", what, errdefs.ErrInvalidArgument)
	case len(name) > bolt.MaxKeySize:
		return fmt.Errorf("the %s has %d bytes, and %d are the most: %w", what, len(name), bolt.MaxKeySize, errdefs.ErrInvalidArgument)
	}
	return nil
}

func validLabels(labels map[string]string) error {
	for name, value := range labels {
		if value == "" {
			continue // such a label is removed
		}
		if err := validName("name of a label", name); err != nil {
			return err
		}
		if len(value) > bolt.MaxValueSize {
			return fmt.Errorf("label %s has %d bytes, and %d are the most: %w", name, len(value), bolt.MaxValueSize, errdefs.ErrInvalidArgument)
		}
	}
	return nil
}

// shown is a key that somebody may have to read.
func shown(key string) string {
	const enough = 200
	if len(key) > enough {
		return key[:enough] + "…"
	}
	return key
}
