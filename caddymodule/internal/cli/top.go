package cli

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/admincommand"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/figures"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/top"
)

const minInterval = 100 * time.Millisecond

func topCommand() command {
	var interval time.Duration
	return command{
		use: "top [--interval DURATION]", short: "Shows the pools and refreshes until q or Ctrl-C", args: cobra.NoArgs,
		long: `
Shows the pools with bars of running and waiting requests, and refreshes. The last line
of the screen has the keys: they sort, scroll, open a pool to see its requests, and
cancel a request. If the output is not a terminal it prints once.` + legend,
		flags: func(cmd *cobra.Command) {
			cmd.Flags().DurationVar(&interval, "interval", time.Second, "The time between two refreshes")
		},
		run: func(s *call) error {
			if interval < minInterval {
				return fmt.Errorf("bad interval '%s': want at least %s", interval, minInterval)
			}
			return s.top(interval)
		},
	}
}

func (s *call) top(interval time.Duration) error {
	if !s.JSON && admincommand.Terminal(s.Out) > 0 {
		return top.Run(context.Background(), watched{s}, interval, s.Out.(*os.File))
	}
	pools, text, err := s.look()
	if err != nil || s.JSON {
		return s.OrJSON(text, err)
	}
	admincommand.PrintLines(s.Out, top.View{At: time.Now(), Pools: pools}.PlainLines())
	return nil
}

func (s *call) look() ([]top.Pool, []byte, error) {
	var answer struct{ Pools []pool }
	text, err := s.Server.Get("pools", &answer)
	if err != nil {
		return nil, nil, err
	}
	pools := make([]top.Pool, len(answer.Pools))
	for i := range answer.Pools {
		pools[i] = answer.Pools[i].shown()
	}
	return pools, text, nil
}

// shown returns the pool in the form in which "top" shows it.
func (p *pool) shown() top.Pool {
	state := p.breakerOrHold()
	if p.Phase != phaseOpen {
		state = p.Phase + ", " + state
	}
	return top.Pool{
		Name: admincommand.Clean(p.Name), State: state, Level: p.level(), Notes: p.notes(),
		Running:  top.Figure{Text: p.share(), Value: float64(p.Running), Share: part(p.Running, p.Permits)},
		Waiting:  top.Figure{Text: fmt.Sprintf("%d/%d", p.Waiting, p.QueueLimit), Value: float64(p.Waiting), Share: part(p.Waiting, p.QueueLimit)},
		Oldest:   top.Figure{Text: admincommand.Brief(p.OldestWait), Value: p.OldestWait.Seconds()},
		MeanRun:  top.Figure{Text: admincommand.Brief(p.MeanRun), Value: p.MeanRun.Seconds()},
		Admitted: p.Admitted, Rejected: figures.Sum(p.Rejected),
	}
}

// part returns n as a part of its limit. Without a limit it returns one half, if n is not
// zero.
func part(n, of int) float64 {
	switch {
	case n <= 0:
		return 0
	case of == 0:
		return 0.5
	}
	return min(float64(n)/float64(of), 1)
}

// watched reads the numbers for the screen of "caddy offload top" from a server.
type watched struct{ call *call }

func (w watched) Pools() ([]top.Pool, error) {
	pools, _, err := w.call.look()
	return pools, err
}

func (w watched) Requests(pool string) ([]top.Request, error) {
	var all []top.Request
	for _, what := range []string{"running", "waiting"} {
		var answer struct{ Requests []request }
		if _, err := w.call.onPool(http.MethodGet, pool, what, nil, &answer); err != nil {
			return nil, err
		}
		for i := range answer.Requests {
			all = append(all, answer.Requests[i].shown())
		}
	}
	return all, nil
}

// shown returns the request in the form in which "top" shows it.
func (r *request) shown() top.Request {
	phase := r.Phase
	if r.Position > 0 {
		phase = fmt.Sprintf("%s %d", phase, r.Position)
	}
	return top.Request{ID: r.ID, Phase: phase, Age: admincommand.Brief(r.Age), Client: admincommand.Clean(r.Client), Line: r.line(), Notes: r.notes()}
}

func (w watched) Cancel(id string) (string, error) {
	var answer request
	_, err := w.call.Server.Do(http.MethodPost, "requests/"+url.PathEscape(id)+"/cancel", nil, &answer)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s: cancelled while it was %s", answer.ID, answer.Phase), nil
}
