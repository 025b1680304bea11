package main

import (
	"context"
	"errors"
	"sync"
	"time"
)

var (
	errDamaged = errors.New("the document is damaged")
	errBroken  = errors.New("the machine is broken")
)

// machine stands for a backend with a limit, such as a GPU, a licence for four seats or an
// old library that is slow with more than four callers.
type machine struct {
	took time.Duration // for one document

	mu           sync.Mutex
	broken       bool
	running, max int
	done         int
}

func (m *machine) convert(ctx context.Context, document string) error {
	defer m.begin()()
	if document == "damaged" {
		return errDamaged
	}
	if m.isBroken() {
		return errBroken
	}
	select {
	case <-time.After(m.took):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.done++
	return nil
}

// begin counts one run until the returned function is called.
func (m *machine) begin() (end func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.running++
	m.max = max(m.max, m.running)
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.running--
	}
}

func (m *machine) setBroken(broken bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.broken = broken
}

func (m *machine) isBroken() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.broken
}

func (m *machine) converted() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.done
}

// peak is the largest number of documents at once.
func (m *machine) peak() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.max
}
