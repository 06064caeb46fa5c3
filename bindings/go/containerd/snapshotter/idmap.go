package snapshotter

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
)

// mapping is what the remap-ids labels of a snapshot ask for.
type mapping struct {
	uids, gids string // as in the labels: CONTAINER:HOST:SIZE, and more after commas
	uid, gid   int    // the host's ids of the container's root
}

// mappingOf is nil where labels ask for none.
func mappingOf(labels map[string]string) (*mapping, error) {
	uids, hasUIDs := labels[snapshots.LabelSnapshotUIDMapping]
	gids, hasGIDs := labels[snapshots.LabelSnapshotGIDMapping]
	switch {
	case !hasUIDs && !hasGIDs:
		return nil, nil
	case hasUIDs != hasGIDs:
		return nil, fmt.Errorf("a snapshot is remapped by both of the labels %s and %s: %w",
			snapshots.LabelSnapshotUIDMapping, snapshots.LabelSnapshotGIDMapping, errdefs.ErrInvalidArgument)
	}
	m := &mapping{uids: uids, gids: gids}
	var err error
	if m.uid, err = hostRoot(uids); err != nil {
		return nil, fmt.Errorf("label %s: %w", snapshots.LabelSnapshotUIDMapping, err)
	}
	if m.gid, err = hostRoot(gids); err != nil {
		return nil, fmt.Errorf("label %s: %w", snapshots.LabelSnapshotGIDMapping, err)
	}
	return m, nil
}

// hostRoot is what id 0 is on the host.
func hostRoot(ranges string) (int, error) {
	root := -1
	for one := range strings.SplitSeq(ranges, ",") {
		var ids [3]uint64
		parts := strings.Split(one, ":")
		ok := len(parts) == len(ids)
		for i := 0; ok && i < len(ids); i++ {
			var err error
			ids[i], err = strconv.ParseUint(parts[i], 10, 32)
			ok = err == nil
		}
		// The last id of 32 bits is nobody: -1.
		if !ok || ids[2] == 0 || ids[0]+ids[2] > 1<<32-1 || ids[1]+ids[2] > 1<<32-1 {
			return 0, fmt.Errorf("%q is not CONTAINER:HOST:SIZE: %w", one, errdefs.ErrInvalidArgument)
		}
		if ids[0] == 0 {
			root = int(ids[1])
		}
	}
	if root < 0 {
		return 0, fmt.Errorf("%q maps no id 0: %w", ranges, errdefs.ErrInvalidArgument)
	}
	return root, nil
}

// own gives the snapshot's own top directory to the container's root: what is below it in the lowers is
// mapped by the mount, and what the container makes comes there with the host's ids.
func (m *mapping) own(dir string) error {
	return os.Lchown(dir, m.uid, m.gid)
}

// options are what containerd's mount code maps the lowers by.
func (m *mapping) options() []string {
	return []string{"uidmap=" + m.uids, "gidmap=" + m.gids}
}
