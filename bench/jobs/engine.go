package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
)

// figure matches a line of a benchmark of the engine, with its ratio to a raw log.
var figure = regexp.MustCompile(`(?m)^Benchmark(Accept|Cycle)/(\d+)\S*\s.*?([\d.]+) x-raw`)

// engine compares the engine with a file to which the same bytes are appended and flushed: the
// least that any store does which keeps its promise. The benchmarks are those of the engine.
func (b *bench) engine(ctx context.Context) error {
	rounds := "3s"
	if b.quick {
		rounds = "300ms"
	}
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "^Benchmark(Accept|Cycle)$", "-benchtime", rounds, "./offloader/jobs/bolt")
	cmd.Dir, cmd.Stderr = b.root, os.Stderr
	text, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("measuring the engine: %w", err)
	}
	b.printf("\nThe engine beside a file with one append and one flush: the median time of an accept by the\nsize of its body, and jobs a second by the number of clients.\n\n")
	for _, found := range figure.FindAllSubmatch(text, -1) {
		ratio, err := strconv.ParseFloat(string(found[3]), 64)
		if err != nil {
			return fmt.Errorf("reading the figures of the engine: %w", err)
		}
		size, _ := strconv.Atoi(string(found[2])) // of digits only
		switch {
		case string(found[1]) == "Cycle":
			b.aim(fmt.Sprintf("jobs of %d clients, to a raw log with shared flushes", size), ratio, ">= 0.25", ratio >= 0.25)
		case size <= 16*kibibyte:
			b.aim(fmt.Sprintf("accept with a body of %d bytes, to one raw append", size), ratio, "<= 1.50", ratio <= 1.5)
		default:
			b.printf("%-70s %6.2f\n", fmt.Sprintf("accept with a body of %d bytes, to one raw append", size), ratio)
		}
	}
	return nil
}
