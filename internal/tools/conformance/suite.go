package conformance

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"time"
)

// timeLimit is for the whole command; a comparison takes some twenty seconds.
const timeLimit = 5 * time.Minute

// Suite of cases, which a program runs against sites that differ in one thing.
type Suite struct {
	// Fronts to test. Their addresses are filled in.
	Fronts []Front
	// Options are additional global options for the Caddyfile, one per line.
	Options string
	// Upstream is behind all fronts.
	Upstream http.Handler
	// Check sends one request to a front. It reports whether the answer was
	// correct, and its X-Pool field.
	Check func(context.Context, Front) (pool string, err error)
	// Arguments for the program that runs the cases against a front, and the
	// report that it leaves in the folder dir.
	Arguments func(f Front, dir string) (args []string, report string)
	// Parse reads a report. A report without a case is an error.
	Parse func(report []byte) (Result, error)
}

// Front is one site of the Caddy under test.
type Front struct {
	Name    string
	Addr    string
	TLS     bool
	Offload string // its directive, empty for a plain one
	Plain   int    // number of the front to compare with
}

// Scheme of its URL.
func (f Front) Scheme() string {
	if f.TLS {
		return "https"
	}
	return "http"
}

// Main is the main function of a tool: it reads the flags, one of which names the
// program that runs the cases, compares, and exits with 1 if a case is lost or the
// program fails.
func Main(tool, program string, s Suite) {
	caddy := flag.String("caddy", "", "the Caddy `binary` to compare with itself")
	player := flag.String(program, "", "the `program` that plays the cases")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	ctx, cancel := context.WithTimeout(ctx, timeLimit)
	err := fmt.Errorf("flags -caddy and -%s are both needed", program)
	if *caddy != "" && *player != "" {
		err = s.run(ctx, *caddy, *player)
	}
	cancel()
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", tool, err)
		os.Exit(1)
	}
}

func (s Suite) run(ctx context.Context, caddy, program string) error {
	l, err := s.newLab(ctx, caddy)
	if err != nil {
		return err
	}
	defer l.close()
	return Twice(func() ([]string, error) { return s.compare(ctx, program) })
}

// compare runs all cases against all fronts and returns the lost ones.
func (s Suite) compare(ctx context.Context, program string) ([]string, error) {
	results, err := s.playAll(ctx, program)
	if err != nil {
		return nil, err
	}
	var lost []string
	for i, f := range s.Fronts {
		lost = append(lost, Compare(f.Name, results[f.Plain], results[i])...)
	}
	return lost, nil
}
