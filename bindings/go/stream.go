package ovl

import (
	"io"
	"io/fs"
	"os"
	"syscall"
)

// byCallback is the descriptor that says: ask the callback.
const byCallback = -1

// source makes c read from r and runs f with what the library is to read. A file goes as a descriptor.
func (c *call) source(r io.Reader, f func(fd int) error) error {
	c.once = true
	switch r := r.(type) {
	case nil:
		return invalid(c.op, c.path, "the Reader is nil")
	case *os.File:
		return c.descriptor(r, f)
	}
	c.hooks.Read = c.guard.reader(r)
	return f(byCallback)
}

// sink is the same for what the library is to write to.
func (c *call) sink(w io.Writer, f func(fd int) error) error {
	c.once = true
	switch w := w.(type) {
	case nil:
		return invalid(c.op, c.path, "the Writer is nil")
	case *os.File:
		return c.descriptor(w, f)
	}
	c.hooks.Write = c.guard.writer(w)
	return f(byCallback)
}

// descriptor runs f with a duplicate of the descriptor of file, so that a Close meanwhile neither takes
// it away nor waits for f: a Progress may close what it is called for. Unlike Fd, this leaves a pipe or
// socket as non-blocking as the runtime wants it; the library waits for these by itself.
func (c *call) descriptor(file *os.File, f func(fd int) error) error {
	conn, err := file.SyscallConn()
	if err != nil {
		return invalid(c.op, c.path, "the *os.File is nil")
	}
	var fd int
	var failed error
	if err := conn.Control(func(of uintptr) { fd, failed = duplicate(of) }); err != nil {
		return &Error{Op: c.op, Path: file.Name(), Errno: syscall.EBADF, Err: fs.ErrClosed}
	}
	if failed != nil {
		return system(c.op, file.Name(), failed)
	}
	defer syscall.Close(fd)
	return f(fd)
}

// duplicate is another descriptor of the same file, close-on-exec.
func duplicate(of uintptr) (int, error) {
	fd, _, errno := syscall.Syscall(syscall.SYS_FCNTL, of, syscall.F_DUPFD_CLOEXEC, 3)
	if errno != 0 {
		return -1, os.NewSyscallError("dup", errno)
	}
	return int(fd), nil
}
