package capi

// #include <ovl.h>
import "C"

// Iter is an ovl_iter.
type Iter struct {
	p    *C.struct_ovl_iter
	item C.struct_ovl_item
}

// Item is an ovl_item, copied.
type Item struct {
	Name   string
	Detail string
	What   uint32
}

// Next is ovl_iter_next. It is false at the end.
func (i *Iter) Next() (Item, bool, *Error) {
	var err *C.struct_ovl_error
	said := C.ovl_iter_next(i.p, &i.item, C.sizeof_struct_ovl_item, &err)
	if said <= 0 {
		return Item{}, false, failure(said, &err)
	}
	return Item{
		Name:   bytes(i.item.name, i.item.name_len),
		Detail: bytes(i.item.detail, i.item.detail_len),
		What:   uint32(i.item.what),
	}, true, nil
}

// Free is ovl_iter_free.
func (i *Iter) Free() { C.ovl_iter_free(i.p) }

func newIter(p *C.struct_ovl_iter, failed *Error) (*Iter, *Error) {
	if failed != nil {
		return nil, failed
	}
	return &Iter{p: p}, nil
}
