package capi

// Of a static and a shared library side by side, -lovl is the shared one. What -l:libovl.a gave is
// not wanted again, so pkg-config's -lovl then adds nothing. Its --static is not asked for: that names
// -lgcc_s, which a wholly static program cannot have, and which the compiler adds where it can.

// #cgo pkg-config: ovl
// #cgo ovl_static LDFLAGS: -Wl,--as-needed -l:libovl.a -lutil -lrt -lpthread -lm -ldl
import "C"
