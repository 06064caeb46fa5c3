// Package ovl is an embedded store for container layers: it creates layers, applies layer tars to them,
// mounts them with overlayfs, computes their diffs and copies their trees. There is no daemon and no
// helper process. It is the Go side of the C library libovl, which it links by cgo.
//
// A [Store] is a directory. A [Layer] is a named tree in it, with at most one parent: writable at
// first, and never changed again once it is committed. A [Mount] is a handle on a mounted layer.
//
//	store, err := ovl.Open("/var/lib/app/layers", nil)
//	…
//	_, err = store.Apply(ctx, "base", blob, nil)       // a layer tar: plain, gzip or zstd
//	web, err := store.Create(ctx, "web", "base", nil)  // a container's own layer
//	mount, err := web.Mount(nil)
//	…                                                  // work below mount.Path()
//	err = mount.Unmount(nil)
//	info, err := web.Diff(ctx, out, nil)               // the change, as a layer tar
//
// # The shape of a call
//
// What may take long has a context first. Then comes what the call is about, then its options, which
// may be nil: the zero value of every option is its default. Lists that may be long are sequences of
// pairs; the work is done when the range begins, and what fails is the error of the last pair:
//
//	for change, err := range web.Changes(ctx, nil) {
//		if err != nil {
//			return err
//		}
//		fmt.Println(change)
//	}
//
// # Errors
//
// Every failure is an [*Error]. [errors.Is] finds in it the errno and what package io/fs makes of that
// ([fs.ErrNotExist], [fs.ErrExist], [fs.ErrPermission]); a [Code] such as [ErrMounted], which tells
// conditions apart that share an errno; and what stopped the call from outside.
//
//	var e *ovl.Error
//	switch {
//	case errors.Is(err, fs.ErrNotExist):   // no such layer
//	case errors.Is(err, ovl.ErrMounted):   // EBUSY, because it is mounted
//	case errors.Is(err, context.Canceled): // the context was cancelled
//	case errors.As(err, &e):               // e.Op, e.Path, e.Errno, e.Code, e.Message
//	}
//
// # Contexts
//
// When a context is done, its call stops soon, undoes what it had begun, and fails with an error in
// which [errors.Is] finds the context's error and its cause. A call that is done by then succeeds. A
// Reader or Writer that blocks is waited for, as by [io.Copy]; an [*os.File] is not. Calls without a
// context are short: at most they wait for others who work on the same layer, ten seconds for each.
//
// # Readers, Writers and other functions of the caller
//
// They run during the call, on its goroutine, with no lock of the process held; they may use the store
// as concurrent callers do. Their errors and panics come out of the call, after it has undone what
// it had begun. A panic of a [slog.Handler] may come out of another call that runs on the store at
// the same time. None of them may end its goroutine ([runtime.Goexit], FailNow of a test): that ends the
// process. They must not keep the slices that they are given, as [io.Reader] and [io.Writer] say.
//
// An [*os.File] is not read or written by Go: the library takes a duplicate of its descriptor, from
// where it stands. A Close meanwhile does not stop the call, and deadlines have no effect: a context
// does.
//
// # Goroutines, threads and handles
//
// A [Store], [Layer] and [Mount] may be used by any number of goroutines. The library leaves
// threads as it finds them: nothing needs [runtime.LockOSThread]. A call occupies a thread while it
// runs. A goroutine that is locked to a thread in other namespaces mounts in those.
//
// A program that is being started has copies of all descriptors until its exec. What seems to be mounted
// for that reason is asked for again, when [syscall.ForkLock] is free and for an eighth of a second; only
// then is it [ErrMounted]. So nobody calls this package who holds that lock.
//
// Close gives up what a handle holds. A Store or Mount that is forgotten is closed when the
// garbage collector finds it, at no certain time. The descriptors of the library are close-on-exec.
//
// # Linking
//
// The package finds the library by pkg-config, as "ovl". With the build tag ovl_static it links
// libovl.a. The go command does not see that the library has changed: after that, build with -a.
package ovl
