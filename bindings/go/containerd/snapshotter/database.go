package snapshotter

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/containerd/errdefs"
	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	ovl "github.com/libovl/libovl/bindings/go"
	"github.com/libovl/libovl/bindings/go/containerd/internal/errs"
	"github.com/libovl/libovl/bindings/go/containerd/internal/spec"
)

// patience is how long another program may have the database open: one that reads it, or copies it.
const patience = 10 * time.Second

// The marker ties the database to the layers: the same name is in it and in a file beside the store.
var (
	markerBucket = []byte("libovl")
	markerKey    = []byte("root")
)

// openMeta opens the database. A layer without a record is garbage, so a database that is not that of
// the layers, or is older than they are, would have them all deleted: with such a one it does not start.
func openMeta(root string, store *ovl.Store) (*storage.MetaStore, error) {
	path := filepath.Join(root, "metadata.db")
	if err := checkMeta(path, filepath.Join(root, "database"), store); err != nil {
		return nil, err
	}
	meta, err := storage.NewMetaStore(path, boltOptions)
	if err != nil {
		return nil, err
	}
	// It is opened with the first transaction: now, so that a bad one stops the start.
	err = meta.WithTransaction(context.Background(), false, func(context.Context) error { return nil })
	if err != nil {
		return nil, openError(path, err)
	}
	return meta, nil
}

func openError(path string, err error) error {
	if errors.Is(err, bolterrors.ErrTimeout) {
		return fmt.Errorf("%s is kept open by another program (%v): %w", path, err, errdefs.ErrUnavailable)
	}
	return fmt.Errorf("%s: %w", path, err)
}

func boltOptions(opts *bolt.Options) error {
	// The default keeps a list that is sorted anew by each transaction.
	opts.FreelistType = bolt.FreelistMapType
	// After many removals that list is long, and each transaction would write it. Without it the start
	// reads the whole database: a quarter of a second for 100,000 snapshots.
	opts.NoFreelistSync = true
	opts.Timeout = patience
	return nil
}

func checkMeta(path, marker string, store *ovl.Store) error {
	layers, err := numbered(store)
	if err != nil {
		return err
	}
	info, err := os.Lstat(path)
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	case err != nil && len(layers) > 0:
		return lost(path, store, "is not there")
	case err == nil && info.Size() == 0 && len(layers) > 0:
		return lost(path, store, "is empty")
	}
	opts := *bolt.DefaultOptions
	if err := boltOptions(&opts); err != nil {
		return err
	}
	opts.ReadOnly = len(layers) > 0
	db, err := bolt.Open(path, 0o600, &opts)
	if err != nil {
		return openError(path, err)
	}
	defer db.Close()
	if len(layers) == 0 {
		return mark(db, marker)
	}
	name, err := os.ReadFile(marker)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var inside string
	var last uint64
	err = db.View(func(tx *bolt.Tx) error {
		if bucket := tx.Bucket(markerBucket); bucket != nil {
			inside = string(bucket.Get(markerKey))
		}
		// As containerd's package storage has it: the last number that it gave out.
		if v1 := tx.Bucket([]byte("v1")); v1 != nil {
			if bucket := v1.Bucket([]byte("snapshots")); bucket != nil {
				last = bucket.Sequence()
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if inside == "" || inside != string(name) {
		return lost(path, store, "is another database than that of the layers, or a new one")
	}
	for _, n := range layers {
		if n <= last {
			continue
		}
		if n > last+skips || !empty(store.Layer(strconv.FormatUint(n, 10))) {
			return lost(path, store, fmt.Sprintf("is older than layer %d: it has given out the numbers up to %d", n, last))
		}
	}
	return nil
}

func lost(path string, store *ovl.Store, how string) error {
	return fmt.Errorf("%s %s, and only it says which layers in %s are in use: restore the one, or remove the other with all snapshots: %w",
		path, how, store.Home(), errdefs.ErrDataLoss)
}

// mark gives a database and the place of its layers a name, while there are none.
func mark(db *bolt.DB, marker string) error {
	name := rand.Text()
	err := db.Update(func(tx *bolt.Tx) error {
		bucket, err := tx.CreateBucketIfNotExists(markerBucket)
		if err != nil {
			return err
		}
		return bucket.Put(markerKey, []byte(name))
	})
	if err != nil {
		return err
	}
	// It must not be lost in a power cut that the first layers live through.
	file, err := os.OpenFile(marker, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.WriteString(name)
	err = errors.Join(err, file.Sync(), file.Close())
	if err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(marker))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// numbered are the layers that are snapshots', by their numbers.
func numbered(store *ovl.Store) ([]uint64, error) {
	var all []uint64
	for layer, err := range store.Layers() {
		if err != nil {
			return nil, errs.Of(err)
		}
		if spec.Ours(layer.ID()) {
			n, err := strconv.ParseUint(layer.ID(), 10, 64)
			if err != nil {
				return nil, err
			}
			all = append(all, n)
		}
	}
	return all, nil
}

// empty tells whether a layer is as it is while its record is not on the disk, and nobody can have had
// it: writable, with nothing in it.
func empty(layer *ovl.Layer) bool {
	how, err := layer.MountSpec(&ovl.SpecOptions{Long: true})
	if err != nil {
		return false
	}
	tree, writable := upperOf(how.Options)
	if how.Type == "bind" {
		info, err := layer.Stat()
		tree, writable = how.Source, err == nil && info.State == ovl.StateWritable
	}
	if !writable {
		return false
	}
	inside, err := os.ReadDir(tree)
	return err == nil && len(inside) == 0
}
