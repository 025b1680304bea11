package proc

import (
	"os"
	"slices"
	"testing"
)

func TestOwnProcess(t *testing.T) {
	self := os.Getpid()
	pids, err := Tree(self)
	if err != nil {
		t.Skipf("the kernel does not list children: %v", err)
	}
	if !slices.Contains(pids, self) {
		t.Fatalf("Tree(%d) = %v, want itself in it", self, pids)
	}
	before, err := CPU([]int{self})
	if err != nil {
		t.Fatal(err)
	}
	sum := 0
	for i := range 10_000_000 {
		sum += i ^ sum
	}
	after, err := CPU([]int{self})
	if err != nil {
		t.Fatal(err)
	}
	if after <= before {
		t.Fatalf("CPU time did not grow: %v, then %v (%d)", before, after, sum)
	}
	rss, err := RSS([]int{self})
	if err != nil {
		t.Fatal(err)
	}
	if rss < 1<<20 {
		t.Fatalf("RSS = %d, want at least a MiB", rss)
	}
}

func TestUnknownProcessIsAnError(t *testing.T) {
	const nobody = 1 << 23 // above the largest pid that Linux gives
	if _, err := CPU([]int{nobody}); err == nil {
		t.Error("CPU of an unknown process: no error")
	}
	if _, err := RSS([]int{nobody}); err == nil {
		t.Error("RSS of an unknown process: no error")
	}
	if _, err := Tree(nobody); err == nil {
		t.Error("Tree of an unknown process: no error")
	}
}

func TestStatusKiB(t *testing.T) {
	status := []byte("Name:\tx y z\nVmPeak:\t 9 kB\nVmRSS:\t 1234 kB\n")
	got, err := statusKiB(status, "VmRSS:")
	if err != nil || got != 1234 {
		t.Fatalf("statusKiB = %d, %v, want 1234", got, err)
	}
	if _, err := statusKiB(status, "VmSwap:"); err == nil {
		t.Fatal("a missing line: no error")
	}
}
