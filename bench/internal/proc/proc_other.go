//go:build !linux

package proc

import (
	"syscall"
	"time"
)

// Reload is no signal of this system.
const Reload = syscall.Signal(0)

// Tree returns ErrUnsupported.
func Tree(int) ([]int, error) { return nil, ErrUnsupported }

// CPU returns ErrUnsupported.
func CPU([]int) (time.Duration, error) { return 0, ErrUnsupported }

// RSS returns ErrUnsupported.
func RSS([]int) (int64, error) { return 0, ErrUnsupported }

// EndWithParent returns nil: no special attributes.
func EndWithParent() *syscall.SysProcAttr { return nil }

// Signal returns ErrUnsupported.
func Signal(int, syscall.Signal) error { return ErrUnsupported }

// Calls is not supported.
type Calls struct{}

// CountCalls returns ErrUnsupported.
func CountCalls(string) (*Calls, error) { return nil, ErrUnsupported }

// Stop returns ErrUnsupported.
func (*Calls) Stop() (int, error) { return 0, ErrUnsupported }
