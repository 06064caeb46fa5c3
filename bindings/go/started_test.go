package ovl_test

import (
	"syscall"
	"testing"
	"time"

	ovl "github.com/libovl/libovl/bindings/go"
)

// A program that is being started has copies of all descriptors until its exec. Package syscall holds
// ForkLock until then; this test plays one that takes long, as on a loaded machine.
func TestProgramThatIsStarted(t *testing.T) {
	need(t, "overlay")
	store := openStore(t, nil)
	apply(t, store, "base", nil, "a", "one")
	layer := create(t, store, "layer", "base")
	m := mount(t, layer, nil)
	copied, err := m.File()
	ok(t, err)
	syscall.ForkLock.Lock()
	time.AfterFunc(500*time.Millisecond, func() {
		copied.Close()
		syscall.ForkLock.Unlock()
	})
	within(t, time.Minute, func() { err = m.Unmount(nil) })
	ok(t, err)

	// What is open for good is told, and soon.
	m = mount(t, layer, nil)
	open, err := m.File()
	ok(t, err)
	defer open.Close()
	start := time.Now()
	err = m.Unmount(nil)
	is(t, err, ovl.ErrMounted, syscall.EBUSY)
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("told after %v", took)
	}
	ok(t, open.Close())
	ok(t, m.Unmount(nil))
}
