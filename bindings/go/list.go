package ovl

import (
	"context"
	"iter"

	"github.com/libovl/libovl/bindings/go/internal/capi"
)

// items makes a sequence of a list of the library's. Each range over it asks for the list anew. What
// fails is yielded as the last pair, with a zero T.
func items[T any](ctx context.Context, s *Store, newCall func() *call,
	open func(*capi.Store, capi.Call) (*capi.Iter, *capi.Error), convert func(capi.Item) T,
) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		c := newCall()
		list, err := s.open(ctx, c, open)
		if err != nil {
			yield(none, err)
			return
		}
		defer list.Free()
		for {
			item, more, e := list.Next()
			if e != nil {
				yield(none, failure(ctx, c.op, c.path, e, nil))
				return
			}
			if !more || !yield(convert(item), nil) {
				return
			}
		}
	}
}

// open gives a list, which outlives the store.
func (s *Store) open(ctx context.Context, c *call,
	open func(*capi.Store, capi.Call) (*capi.Iter, *capi.Error),
) (list *capi.Iter, err error) {
	err = s.run(ctx, c, func(raw *capi.Store, call capi.Call) (e *capi.Error) {
		list, e = open(raw, call)
		return e
	})
	return list, err
}

// collect is a list that is short.
func collect[T any](all iter.Seq2[T, error]) ([]T, error) {
	var list []T
	for one, err := range all {
		if err != nil {
			return nil, err
		}
		list = append(list, one)
	}
	return list, nil
}
