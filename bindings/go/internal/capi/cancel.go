package capi

// #include <ovl.h>
import "C"

// Cancel is an ovl_cancel.
type Cancel struct{ p *C.struct_ovl_cancel }

// NewCancel is ovl_cancel_new.
func NewCancel() *Cancel { return &Cancel{C.ovl_cancel_new()} }

// Trigger is ovl_cancel_trigger.
func (c *Cancel) Trigger() { C.ovl_cancel_trigger(c.p) }

// Free is ovl_cancel_free.
func (c *Cancel) Free() { C.ovl_cancel_free(c.p) }

func (c Call) cancel() *C.struct_ovl_cancel {
	if c.Cancel == nil {
		return nil
	}
	return c.Cancel.p
}
