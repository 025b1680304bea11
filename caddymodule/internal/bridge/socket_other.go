//go:build !linux

package bridge

// kernelAnswers says that the kernel can be asked for the room of a socket.
const kernelAnswers = false

// kernel is not asked on this system.
type kernel struct{ usual bool }

func (kernel) room(int) int { return 0 }

func writable(uintptr) bool { return true }
