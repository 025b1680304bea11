package cli

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
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
Cancels one request: a waiting request is rejected, a run ends as by a timeout, an
upload or the rest of a response is cut short. Ids are in the lists of "waiting" and
"running", and in the access log.`,
			run: cancelRequest,
		},
		{
			use: "explain [ID]", short: "Shows the outcome of a request, or of the last unserved requests", args: cobra.MaximumNArgs(1),
			long: `
Shows the outcome of a request and its reason: how many requests were ahead of it, the
predicted and the actual wait, the decision, and the state of the pool at that time.
The id is in the field Offload-Request-Id of the response. Without an id it lists the
last requests that were not served as usual.`,
			flags: func(cmd *cobra.Command) {
				cmd.Flags().Int("limit", 20, "The longest list")
			},
			run: explain,
		},
	}
}

// list requests the requests of one pool or of all pools.
func (s *call) list(what string) (all []request, done bool, err error) {
	var answer struct{ Requests []request }
	var text []byte
	if len(s.args) == 1 {
		text, err = s.server.onPool(http.MethodGet, s.args[0], what, nil, &answer)
	} else {
		text, err = s.server.get(what, &answer)
	}
	if err != nil || s.json {
		return nil, true, s.orJSON(text, err)
	}
	if len(answer.Requests) == 0 {
		fmt.Fprintln(s.out, "no requests")
		return nil, true, nil
	}
	return answer.Requests, false, nil
}

func listWaiting(s *call) error {
	all, done, err := s.list("waiting")
	if done {
		return err
	}
	t := newTable("POOL", ">PLACE", "ID", ">AGE", ">WAITED", "CLASS", "CLIENT", "REQUEST")
	for _, r := range all {
		t.add(clean(r.Pool), fmt.Sprint(r.Position), r.ID, brief(r.Age), brief(r.InPhase), clean(r.Class), clean(r.Client), r.line())
	}
	t.print(s.out)
	return nil
}

func listRunning(s *call) error {
	all, done, err := s.list("running")
	if done {
		return err
	}
	t := newTable("POOL", "ID", "PHASE", ">AGE", ">IN PHASE", "CLASS", "CLIENT", "REQUEST", "NOTES")
	for _, r := range all {
		t.add(clean(r.Pool), r.ID, r.Phase, brief(r.Age), brief(r.InPhase), clean(r.Class), clean(r.Client), r.line(), r.notes())
	}
	t.print(s.out)
	return nil
}

// notes lists the unusual facts about a request.
func (r *request) notes() string {
	var notes []string
	if r.Abandoned {
		notes = append(notes, strings.TrimSpace("abandoned "+r.Reason))
	}
	if r.Unspooled != "" {
		notes = append(notes, "unspooled "+r.Unspooled)
	}
	return strings.Join(notes, ", ")
}

// line returns the method and the target of a request.
func (r *request) line() string { return clean(r.Method + " " + r.Host + r.Path) }

func cancelRequest(s *call) error {
	var answer request
	text, err := s.server.do(http.MethodPost, "requests/"+url.PathEscape(s.args[0])+"/cancel", nil, &answer)
	if err != nil || s.json {
		return s.orJSON(text, err)
	}
	fmt.Fprintf(s.out, "%s: cancelled in pool %s while it was %s\n", answer.ID, clean(answer.Pool), answer.Phase)
	return nil
}

func explain(s *call) error {
	if len(s.args) == 0 {
		return explainLast(s)
	}
	var e explanation
	text, err := s.server.get("explain/"+url.PathEscape(s.args[0]), &e)
	if err != nil || s.json {
		return s.orJSON(text, err)
	}
	line := func(title, format string, args ...any) {
		fmt.Fprintf(s.out, "%-9s %s\n", title, fmt.Sprintf(format, args...))
	}
	line("request", "%s %s from %s", clean(e.Method), clean(e.Host+e.Path), clean(e.Client))
	line("pool", "%s", clean(e.Pool))
	if !e.At.IsZero() {
		line("decided", "%s, %s ago", e.At.Local().Format(time.DateTime), brief(time.Since(e.At)))
	}
	line("decision", "%s", e.decided())
	if e.Unspooled != "" {
		line("body", "passed on as it comes: %s", e.Unspooled)
	}
	if e.Upload > 0 {
		line("upload", "%s", brief(e.Upload))
	}
	if e.Decision != "pending" {
		line("wait", "%s with %d ahead, predicted %s", brief(e.Waited), e.Ahead, brief(e.PredictedWait))
	}
	if e.Ran > 0 {
		line("run", "%s%s", brief(e.Ran), sentAgain(e.Sends))
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
	limit, err := s.cmd.Flags().GetInt("limit")
	if err != nil {
		return err
	}
	var answer struct{ Explanations []explanation }
	text, err := s.server.get(fmt.Sprintf("explain?limit=%d", limit), &answer)
	if err != nil || s.json {
		return s.orJSON(text, err)
	}
	if len(answer.Explanations) == 0 {
		fmt.Fprintln(s.out, "no requests: all were served, or nothing is remembered")
		return nil
	}
	t := newTable("TIME", "ID", "POOL", "DECISION", "REASON", ">WAITED", ">AHEAD", "CLIENT", "REQUEST")
	for _, e := range answer.Explanations {
		t.add(e.At.Local().Format(time.TimeOnly), e.ID, clean(e.Pool), e.Decision, e.Reason, brief(e.Waited),
			fmt.Sprint(e.Ahead), clean(e.Client), clean(e.Method+" "+e.Host+e.Path))
	}
	t.print(s.out)
	return nil
}

// sentAgain reports in text that a request was sent to the backend more than once.
func sentAgain(sends int) string {
	if sends < 2 {
		return ""
	}
	return fmt.Sprintf(", sent %d times", sends)
}
