package testkit

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// BuildLab builds the program of the module in testdata/lab, which needs more modules than
// this one, into the file program. The working directory is that of the test's package.
func BuildLab(program string) error {
	build := exec.Command("go", "build", "-mod=readonly", "-o", program, ".")
	build.Dir = filepath.Join("testdata", "lab")
	build.Stdout, build.Stderr = os.Stdout, os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("building the program of the lab: %w", err)
	}
	return nil
}
