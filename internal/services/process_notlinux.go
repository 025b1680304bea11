//go:build unix && !linux

package services

import "syscall"

// dieWithUs has no effect: this system has no such signal.
func dieWithUs(*syscall.SysProcAttr) {}
