package cli

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/admincommand"
)

// requests are the commands about single requests.
func requests() []command {
	return []command{
		{
			use: "waiting [NAME]", short: "Lists waiting requests, in the order of service", args: cobra.MaximumNArgs(1), poolArg: true,
			run: listWaiting,
		},
		{
			use: "running [NAME]", short: "Lists requests that upload, run, stream or are upgraded", args: cobra.MaximumNArgs(1), poolArg: true,
			run: listRunning,
		},
		{
			use: "cancel ID", short: "Cancels one request", args: cobra.ExactArgs(1),
			long: `
Cancels one request. A waiting request is rejected, a run ends as if it had timed out,
and an upload or the rest of a response is cut short. The ids are in the lists of
"waiting" and "running", and in the access log.`,
			run: cancelRequest,
		},
		{
			use: "explain [ID]", short: "Explains the outcome of a request, or lists the last unserved or slowest requests", args: cobra.MaximumNArgs(1),
			long: `
Explains the outcome of a request in sentences: the queue that it met, the decision with
its numbers, and the settings that would have served it. The id is in the field
Offload-Request-Id of the response. Without an id it lists the last requests that were
not served as usual, or with --slowest the slowest served ones of the last ten minutes.`,
			flags: func(cmd *cobra.Command) {
				cmd.Flags().Int("limit", 20, "The maximum number of requests to list")
				cmd.Flags().Bool("slowest", false, "List the slowest served requests")
			},
			run: explain,
		},
	}
}

// list requests the requests of one pool or of all pools.
func (s *call) list(what string) (all []request, done bool, err error) {
	var answer struct{ Requests []request }
	var text []byte
	if len(s.Args) == 1 {
		text, err = s.onPool(http.MethodGet, s.Args[0], what, nil, &answer)
	} else {
		text, err = s.Server.Get(what, &answer)
	}
	if err != nil || s.JSON {
		return nil, true, s.OrJSON(text, err)
	}
	if len(answer.Requests) == 0 {
		fmt.Fprintln(s.Out, "no requests")
		return nil, true, nil
	}
	return answer.Requests, false, nil
}

func listWaiting(s *call) error {
	all, done, err := s.list("waiting")
	if done {
		return err
	}
	c := claimed(all)
	t := admincommand.NewTable(slices.Concat([]string{"POOL", ">PLACE", "ID", ">AGE", ">WAITED"}, c.titles(), []string{"CLIENT", "REQUEST"})...)
	for _, r := range all {
		start := []string{admincommand.Clean(r.Pool), fmt.Sprint(r.Position), r.ID, admincommand.Brief(r.Age), admincommand.Brief(r.InPhase)}
		t.Add(slices.Concat(start, c.cells(&r), []string{admincommand.Clean(r.Client), r.line()})...)
	}
	t.Print(s.Out)
	return nil
}

func listRunning(s *call) error {
	all, done, err := s.list("running")
	if done {
		return err
	}
	c := claimed(all)
	t := admincommand.NewTable(slices.Concat([]string{"POOL", "ID", "PHASE", ">AGE", ">IN PHASE"}, c.titles(), []string{"CLIENT", "REQUEST", "NOTES"})...)
	for _, r := range all {
		start := []string{admincommand.Clean(r.Pool), r.ID, r.Phase, admincommand.Brief(r.Age), admincommand.Brief(r.InPhase)}
		t.Add(slices.Concat(start, c.cells(&r), []string{admincommand.Clean(r.Client), r.line(), r.notes()})...)
	}
	t.Print(s.Out)
	return nil
}

// claimColumns says which optional columns a list of requests has: the key or the cost, if
// at least one request has a key, or a cost above one permit.
type claimColumns struct{ key, cost bool }

func claimed(all []request) (c claimColumns) {
	for _, r := range all {
		c.key, c.cost = c.key || r.Key != "", c.cost || r.Cost > 1
	}
	return c
}

func (c claimColumns) titles() []string { return c.with("CLASS", "KEY", ">COST") }

func (c claimColumns) cells(r *request) []string {
	return c.with(admincommand.Clean(r.Class), admincommand.Clean(r.Key), fmt.Sprint(r.Cost))
}

func (c claimColumns) with(class, key, cost string) []string {
	all := []string{class}
	if c.key {
		all = append(all, key)
	}
	if c.cost {
		all = append(all, cost)
	}
	return all
}

// notes lists the unusual facts about a request.
func (r *request) notes() string {
	var notes []string
	if r.Abandoned {
		notes = append(notes, strings.TrimSpace("abandoned "+r.Reason))
	}
	if r.Budget != nil {
		notes = append(notes, admincommand.Brief(r.Budget.Left)+" left of "+r.Budget.By)
	}
	if r.Unspooled != "" {
		notes = append(notes, "unspooled "+r.Unspooled)
	}
	return strings.Join(notes, ", ")
}

// line returns the method and the target of a request.
func (r *request) line() string { return admincommand.Clean(r.Method + " " + r.Host + r.Path) }

func cancelRequest(s *call) error {
	var answer request
	text, err := s.Server.Do(http.MethodPost, "requests/"+url.PathEscape(s.Args[0])+"/cancel", nil, &answer)
	if err != nil || s.JSON {
		return s.OrJSON(text, err)
	}
	fmt.Fprintf(s.Out, "%s: cancelled in pool %s while it was %s\n", answer.ID, admincommand.Clean(answer.Pool), answer.Phase)
	return nil
}

func explain(s *call) error {
	if len(s.Args) == 0 {
		return explainLast(s)
	}
	var e explanation
	text, err := s.Server.Get("explain/"+url.PathEscape(s.Args[0]), &e)
	if err != nil || s.JSON {
		return s.OrJSON(text, err)
	}
	line := func(title, format string, args ...any) {
		fmt.Fprintf(s.Out, "%-9s %s\n", title, fmt.Sprintf(format, args...))
	}
	line("request", "%s %s from %s", admincommand.Clean(e.Method), admincommand.Clean(e.Host+e.Path), admincommand.Clean(e.Client))
	line("pool", "%s", admincommand.Clean(e.Pool))
	if !e.At.IsZero() {
		line("decided", "%s, %s ago", e.At.Local().Format(time.DateTime), admincommand.Brief(time.Since(e.At)))
	}
	line("decision", "%s", e.decided())
	for i, sentence := range e.Sentences {
		title := ""
		if i == 0 {
			title = "why"
		}
		line(title, "%s", admincommand.Clean(sentence))
	}
	line("pool then", "%s running, %d/%d waiting, breaker %s",
		share(e.Then.Running, e.Then.Limit), e.Then.Waiting, e.Then.QueueLimit, e.Then.Breaker)
	return nil
}

// decided returns the decision with its reason.
func (e *explanation) decided() string {
	text := e.Decision
	if e.Phase != "" {
		text += ", " + e.Phase
	}
	if e.Reason != "" {
		text += ": " + e.Reason + ", " + e.Text
	}
	return text
}

func explainLast(s *call) error {
	limit, err := s.Cmd.Flags().GetInt("limit")
	if err != nil {
		return err
	}
	var answer struct{ Explanations, Slowest []explanation }
	text, err := s.Server.Get(fmt.Sprintf("explain?limit=%d", limit), &answer)
	if err != nil || s.JSON {
		return s.OrJSON(text, err)
	}
	slowest, err := s.Cmd.Flags().GetBool("slowest")
	switch {
	case err != nil:
		return err
	case slowest:
		printSlowest(s, answer.Slowest)
		return nil
	case len(answer.Explanations) == 0:
		fmt.Fprintln(s.Out, "no requests: all were served, or nothing is remembered")
		return nil
	}
	t := admincommand.NewTable("TIME", "ID", "POOL", "DECISION", "REASON", ">WAITED", "CLIENT", "REQUEST")
	for _, e := range answer.Explanations {
		t.Add(e.At.Local().Format(time.TimeOnly), e.ID, admincommand.Clean(e.Pool), e.Decision, e.Reason, admincommand.Brief(e.Waited),
			admincommand.Clean(e.Client), admincommand.Clean(e.Method+" "+e.Host+e.Path))
	}
	t.Print(s.Out)
	return nil
}

// printSlowest lists served requests, the slowest first.
func printSlowest(s *call, all []explanation) {
	if len(all) == 0 {
		fmt.Fprintln(s.Out, "no requests: none was served in the last minutes, or nothing is remembered")
		return
	}
	t := admincommand.NewTable("TIME", "ID", "POOL", ">STATUS", ">TOTAL", ">WAITED", ">RAN", "CLIENT", "REQUEST")
	for _, e := range all {
		t.Add(e.At.Local().Format(time.TimeOnly), e.ID, admincommand.Clean(e.Pool), fmt.Sprint(e.Status), admincommand.Brief(e.Total), admincommand.Brief(e.Waited), admincommand.Brief(e.Ran),
			admincommand.Clean(e.Client), admincommand.Clean(e.Method+" "+e.Host+e.Path))
	}
	t.Print(s.Out)
}
