package scenario

import (
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

// runMicro records the output of the engine's own benchmarks.
func runMicro(ctx context.Context, e *Env) (*Report, error) {
	e.defaultRounds = 6
	command := []string{
		"go", "test", "-run", "^$", "-bench", ".", "-benchmem", "-cpu", "1,2",
		"-count", strconv.Itoa(e.rounds()), "-benchtime", pick(e, "1s", "50ms"), "./offloader/...",
	}
	process := exec.CommandContext(ctx, command[0], command[1:]...)
	process.Dir = e.Root
	output, err := process.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("go test: %w: %s", err, output)
	}
	report := &Report{}
	report.Textf("%s\n", strings.Join(command, " "))
	report.Textf("%s", output)
	return report, nil
}
