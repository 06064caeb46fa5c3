package ovl

import (
	"context"
	"encoding/json"

	"github.com/libovl/libovl/bindings/go/internal/capi"
)

// MountSpec says how a layer is mounted, for those who mount it themselves: mount(2), mount(8),
// containerd, an OCI runtime.
type MountSpec struct {
	Type    string // "overlay" or "bind"
	Source  string
	Options []string
}

// SpecOptions are the options of [Layer.MountSpec] and [Layer.OCIMount].
type SpecOptions struct {
	// ReadOnly says how to mount it read-only. A committed layer is mounted in no other way.
	ReadOnly bool
	// Label is an SELinux label for every file.
	Label string
	// Long gives options that are longer than the one page of mount(2) too, to a caller that shortens
	// them (relative to a common directory, as containerd does) or gives them to fsconfig(2).
	Long bool
}

// MountSpec tells how the layer is mounted, and mounts nothing. The library does not see a mount that
// others make: the caller sees to it that the layer is neither committed nor removed meanwhile.
func (l *Layer) MountSpec(opts *SpecOptions) (MountSpec, error) {
	var spec MountSpec
	for item, err := range l.spec("mountspec", opts, capi.SpecOpts{}) {
		if err != nil {
			return MountSpec{}, err
		}
		switch item.What {
		case capi.SpecType:
			spec.Type = item.Name
		case capi.SpecSource:
			spec.Source = item.Name
		case capi.SpecOption:
			spec.Options = append(spec.Options, item.Name)
		}
	}
	return spec, nil
}

// OCIMount is the same as an entry of "mounts" in an OCI runtime's configuration. destination is where
// the layer goes in the container; "" is "/".
func (l *Layer) OCIMount(destination string, opts *SpecOptions) (json.RawMessage, error) {
	var entry json.RawMessage
	for item, err := range l.spec("ocimount", opts, capi.SpecOpts{OCI: true, Destination: destination}) {
		if err != nil {
			return nil, err
		}
		if item.What == capi.SpecJSON {
			entry = json.RawMessage(item.Name)
		}
	}
	return entry, nil
}

func (l *Layer) spec(op string, opts *SpecOptions, raw capi.SpecOpts) func(func(capi.Item, error) bool) {
	if opts != nil {
		raw.ReadOnly, raw.Label, raw.Long = opts.ReadOnly, opts.Label, opts.Long
	}
	return items(context.Background(), l.store,
		func() *call { return newCall(op, l.id, nil) },
		func(st *capi.Store, _ capi.Call) (*capi.Iter, *capi.Error) { return st.MountSpec(l.id, raw) },
		func(item capi.Item) capi.Item { return item })
}
