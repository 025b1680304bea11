package site

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Memory returns a line of the process's status in bytes, such as VmHWM, the
// largest resident size so far.
func (p *Process) Memory(line string) int64 {
	p.t.Helper()
	text, err := os.ReadFile(p.proc("status"))
	if err != nil {
		p.t.Fatal(err)
	}
	for l := range strings.Lines(string(text)) {
		var kib int64
		if n, _ := fmt.Sscanf(l, line+": %d kB", &kib); n == 1 {
			return kib << 10
		}
	}
	p.t.Fatalf("no line %s in %s", line, text)
	return 0
}

// OpenFiles returns the open files of the process with a name, connections
// included.
func (p *Process) OpenFiles() []string {
	p.t.Helper()
	links, err := filepath.Glob(p.proc("fd/*"))
	if err != nil {
		p.t.Fatal(err)
	}
	var names []string
	for _, link := range links {
		if name, err := os.Readlink(link); err == nil { // otherwise it was closed just now
			names = append(names, name)
		}
	}
	return names
}

// Spooled returns the number of open spool files of a folder, and their size on
// disk. These files have no name.
func (p *Process) Spooled(dir string) (files int, bytes int64) {
	p.t.Helper()
	links, err := filepath.Glob(p.proc("fd/*"))
	if err != nil {
		p.t.Fatal(err)
	}
	for _, link := range links {
		name, err := os.Readlink(link)
		if err != nil || filepath.Dir(name) != dir || !strings.HasSuffix(name, " (deleted)") {
			continue
		}
		if info, err := os.Stat(link); err == nil {
			files++
			bytes += info.Size()
		}
	}
	return files, bytes
}

func (p *Process) proc(name string) string {
	return fmt.Sprintf("/proc/%d/%s", p.cmd.Process.Pid, name)
}
