package snapshotter

import (
	"context"
	"slices"
	"sync"
)

// keyLocks keep the calls on one key in a row, and let those on other keys pass: what takes long (a
// commit syncs a whole layer) holds no transaction of the database. It has an entry for each key in
// use, and for no other.
type keyLocks struct {
	mu   sync.Mutex
	held map[string]*keyLock
}

type keyLock struct {
	users int           // those who hold it or wait for it
	turn  chan struct{} // full while somebody holds it
}

// lock locks the keys, in an order that is the same for all, until unlock is called. It fails when ctx
// is done first.
func (l *keyLocks) lock(ctx context.Context, keys ...string) (unlock func(), err error) {
	slices.Sort(keys)
	keys = slices.Compact(keys)
	var locked []string
	unlock = func() {
		for _, key := range slices.Backward(locked) {
			l.unlock(key)
		}
	}
	for _, key := range keys {
		if err := l.lockOne(ctx, key); err != nil {
			unlock()
			return nil, err
		}
		locked = append(locked, key)
	}
	return unlock, nil
}

func (l *keyLocks) lockOne(ctx context.Context, key string) error {
	l.mu.Lock()
	if l.held == nil {
		l.held = map[string]*keyLock{}
	}
	one := l.held[key]
	if one == nil {
		one = &keyLock{turn: make(chan struct{}, 1)}
		l.held[key] = one
	}
	one.users++
	l.mu.Unlock()
	select {
	case one.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		l.leave(key, one)
		return context.Cause(ctx)
	}
}

func (l *keyLocks) unlock(key string) {
	l.mu.Lock()
	one := l.held[key]
	l.mu.Unlock()
	<-one.turn
	l.leave(key, one)
}

func (l *keyLocks) leave(key string, one *keyLock) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if one.users--; one.users == 0 {
		delete(l.held, key)
	}
}
