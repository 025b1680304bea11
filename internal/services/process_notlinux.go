//go:build unix && !linux

package services

import "syscall"

// dieWithUs has no way to do that here.
func dieWithUs(*syscall.SysProcAttr) {}
