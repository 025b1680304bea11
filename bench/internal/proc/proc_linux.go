package proc

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// Reload is the signal that makes Caddy load its configuration again.
const Reload = syscall.SIGUSR1

// Tree returns pid and all its living descendants. A server such as nginx does
// its work in children.
func Tree(pid int) ([]int, error) {
	pids := []int{pid}
	for i := 0; i < len(pids); i++ {
		name := fmt.Sprintf("/proc/%d/task/%d/children", pids[i], pids[i])
		list, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("listing children: %w", err)
		}
		for word := range strings.FieldsSeq(string(list)) {
			child, err := strconv.Atoi(word)
			if err != nil {
				return nil, fmt.Errorf("listing children of %d: %w", pids[i], err)
			}
			pids = append(pids, child)
		}
	}
	return pids, nil
}

// CPU returns the user and system time that the processes have used so far.
//
// It reads the kernel's clock of each process, which counts nanoseconds and
// includes threads that have ended; /proc/PID/stat counts ticks of 10 ms, too
// coarse for slices of some hundred milliseconds.
func CPU(pids []int) (time.Duration, error) {
	var sum time.Duration
	for _, pid := range pids {
		const schedClock = 2 // CPUCLOCK_SCHED: user and system together
		clock := ^pid<<3 | schedClock
		var now syscall.Timespec
		_, _, errno := syscall.Syscall(syscall.SYS_CLOCK_GETTIME, uintptr(clock), uintptr(unsafe.Pointer(&now)), 0)
		if errno != 0 {
			return 0, fmt.Errorf("reading CPU clock of %d: %w", pid, errno)
		}
		sum += time.Duration(now.Nano())
	}
	return sum, nil
}

// RSS returns the resident memory of the processes in bytes.
func RSS(pids []int) (int64, error) {
	var sum int64
	for _, pid := range pids {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			return 0, fmt.Errorf("reading memory: %w", err)
		}
		kib, err := statusKiB(status, "VmRSS:")
		if err != nil {
			return 0, fmt.Errorf("reading memory of %d: %w", pid, err)
		}
		sum += kib << 10
	}
	return sum, nil
}

// statusKiB returns the value of one line of /proc/PID/status.
func statusKiB(status []byte, key string) (int64, error) {
	lines := bufio.NewScanner(bytes.NewReader(status))
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) == 3 && words[0] == key && words[2] == "kB" {
			kib, err := strconv.ParseInt(words[1], 10, 64)
			if err != nil {
				return 0, fmt.Errorf("%s %w", key, err)
			}
			return kib, nil
		}
	}
	return 0, fmt.Errorf("%s not found", key)
}

// EndWithParent makes the kernel end the child when the bench ends in any way,
// and puts the child into a separate process group, which Signal reaches.
func EndWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// Signal sends the signal to the process group of a child that was started with
// EndWithParent.
func Signal(pid int, signal syscall.Signal) error {
	if err := syscall.Kill(-pid, signal); err != nil {
		return fmt.Errorf("signalling group %d: %w", pid, err)
	}
	return nil
}
