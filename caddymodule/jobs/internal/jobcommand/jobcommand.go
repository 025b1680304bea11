// Package jobcommand has the commands about jobs, "caddy offload jobs ...". They use the admin
// endpoint of a running server, except for those that read a store that no server uses.
package jobcommand

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/admincommand"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/jobview"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/usage"
)

// Command returns the command, to be added to "caddy offload".
func Command() *cobra.Command {
	cmd := &cobra.Command{
		Use: "jobs", Short: "Shows and controls jobs, and checks their store",
		Long: `
Shows and controls the jobs of a running server, which are requests that were stored to be
run later. "check" and "export" read the folder of a store while no server uses it.`,
		RunE: usage.Unknown, DisableFlagsInUseLine: true,
	}
	for _, c := range []admincommand.Command{listCommand(), showCommand(), retryCommand(), cancelCommand()} {
		cmd.AddCommand(c.Cobra())
	}
	cmd.AddCommand(checkCommand(), exportCommand())
	return cmd
}

func listCommand() admincommand.Command {
	var filter struct {
		states               []string
		route, tenant, after string
		limit                int
	}
	return admincommand.Command{
		Use: "list", Short: "Lists jobs, the newest first", Args: cobra.NoArgs,
		Long: `
Lists jobs, the newest first. The last line shows how to list further ones. The states are
queued, running (streaming ones too), retry_wait, succeeded, failed, dead, expired and
cancelled; dead are the jobs whose attempts have all failed without a response.`,
		Example: "  caddy offload jobs list --state dead --route reports",
		Flags: func(cmd *cobra.Command) {
			flags := cmd.Flags()
			flags.StringSliceVar(&filter.states, "state", nil, "Only jobs in these states, as in dead,failed")
			flags.StringVar(&filter.route, "route", "", "Only jobs of this route")
			flags.StringVar(&filter.tenant, "tenant", "", "Only jobs of this tenant")
			flags.StringVar(&filter.after, "after", "", "Only jobs after this one in the list, by its id")
			flags.IntVar(&filter.limit, "limit", 20, "The maximum number of jobs to list")
		},
		Run: func(s *admincommand.Call) error {
			query := url.Values{"state": filter.states, "limit": {strconv.Itoa(filter.limit)}}
			for name, value := range map[string]string{"route": filter.route, "tenant": filter.tenant, "after": filter.after} {
				if value != "" {
					query.Set(name, value)
				}
			}
			return list(s, query)
		},
	}
}

func list(s *admincommand.Call, query url.Values) error {
	var answer jobview.List
	text, err := s.Server.Get(jobview.Segment+"?"+query.Encode(), &answer)
	if err != nil || s.JSON {
		return s.OrJSON(text, err)
	}
	if len(answer.Jobs) == 0 {
		fmt.Fprintln(s.Out, "no jobs")
		return nil
	}
	t := admincommand.NewTable("ID", "ROUTE", "STATE", ">AGE", ">ATTEMPT", ">RESULT", "REQUEST", "NOTES")
	for i := range answer.Jobs {
		job := &answer.Jobs[i]
		t.Add(job.ID, admincommand.Clean(job.Route), job.State, admincommand.Brief(time.Since(job.Created)),
			attempt(job), strconv.FormatInt(job.Bytes, 10), admincommand.Clean(job.Request.Line()), admincommand.Clean(notes(job)))
	}
	t.Print(s.Out)
	if answer.Next != "" {
		fmt.Fprintf(s.Out, "more: --after %s\n", answer.Next)
	}
	return nil
}

func attempt(job *jobview.Job) string { return fmt.Sprintf("%d/%d", job.Attempt, job.MaxAttempts) }

// notes lists the unusual facts about a job.
func notes(job *jobview.Job) string {
	var all []string
	if job.WaitingFor != "" {
		all = append(all, "waits for "+job.WaitingFor)
	}
	if job.Position > 0 {
		all = append(all, fmt.Sprintf("place %d", job.Position))
	}
	if text := job.Progress.Text(); text != "" {
		all = append(all, text)
	}
	if job.Reason != "" {
		all = append(all, job.Reason)
	}
	if job.Generation > 1 {
		all = append(all, fmt.Sprintf("generation %d", job.Generation))
	}
	return strings.Join(all, ", ")
}

// path returns the path of a job.
func path(id string, rest ...string) string {
	return strings.Join(append([]string{jobview.Segment, admincommand.Segment(id)}, rest...), "/")
}

func showCommand() admincommand.Command {
	return admincommand.Command{
		Use: "show JOB", Short: "Shows one job with its attempts", Args: cobra.ExactArgs(1),
		Run: func(s *admincommand.Call) error {
			var job jobview.Job
			text, err := s.Server.Get(path(s.Args[0]), &job)
			if err != nil || s.JSON {
				return s.OrJSON(text, err)
			}
			printJob(s, &job)
			return nil
		},
	}
}

func retryCommand() admincommand.Command {
	return admincommand.Command{
		Use: "retry JOB", Short: "Runs a job that has ended once more", Args: cobra.ExactArgs(1),
		Long: `
Puts a job that has ended into the queue of its route again, with all of its attempts. The
result that it had is replaced when the next attempt has one.`,
		Run: func(s *admincommand.Call) error { return change(s, "retry") },
	}
}

func cancelCommand() admincommand.Command {
	return admincommand.Command{
		Use: "cancel JOB", Short: "Cancels a job that has not ended", Args: cobra.ExactArgs(1),
		Long: `
Cancels a job. One that waits has ended at once. One that runs ends soon: its request to the
upstream is cut off, and the upstream may go on with the work.`,
		Run: func(s *admincommand.Call) error { return change(s, "cancel") },
	}
}

func change(s *admincommand.Call, action string) error {
	var job jobview.Job
	text, err := s.Server.Do(http.MethodPost, path(s.Args[0], action), nil, &job)
	if err != nil || s.JSON {
		return s.OrJSON(text, err)
	}
	parts := []string{job.State}
	if text := notes(&job); text != "" {
		parts = append(parts, text)
	}
	if job.Cancelled != nil && job.Ended.IsZero() {
		parts = append(parts, "is being cancelled")
	}
	fmt.Fprintf(s.Out, "%s: %s\n", job.ID, admincommand.Clean(strings.Join(parts, ", ")))
	return nil
}

// printJob prints a job, a line for each fact, and its attempts.
func printJob(s *admincommand.Call, job *jobview.Job) {
	line := func(title, text string) {
		if text != "" {
			fmt.Fprintf(s.Out, "%-10s %s\n", title, admincommand.Clean(text))
		}
	}
	line("job", job.ID)
	line("route", job.Route)
	line("tenant", job.Tenant)
	line("state", strings.TrimSuffix(job.State+", "+notes(job), ", "))
	line("request", fmt.Sprintf("%s from %s, %d bytes%s", job.Request.Line(), job.Request.Client, job.Request.BodySize, typed(job.Request.ContentType)))
	line("created", moment(job.Created))
	line("not before", moment(job.NotBefore))
	line("ended", moment(job.Ended))
	line("kept until", moment(job.KeepUntil))
	if job.Cancelled != nil {
		line("cancelled", "by the "+job.Cancelled.By+", "+moment(job.Cancelled.At))
	}
	if r := job.Response; r != nil {
		line("response", fmt.Sprintf("status %d, %d bytes%s", r.Status, job.Bytes, typed(r.ContentType)))
	}
	if h := job.Hook; h != nil {
		line("webhook", fmt.Sprintf("%s, %s, %d tries%s", h.URL, cmp.Or(h.State, "when the job has ended"), h.Tries, after(", ", h.Error)))
	}
	if len(job.Attempts) == 0 {
		return
	}
	fmt.Fprintln(s.Out)
	t := admincommand.NewTable(">GENERATION", ">ATTEMPT", "BEGAN", ">TOOK", "ENDED AS", ">STATUS", ">BYTES")
	for _, a := range job.Attempts {
		status := "-"
		if a.Status > 0 {
			status = strconv.Itoa(a.Status)
		}
		t.Add(strconv.Itoa(a.Generation), strconv.Itoa(a.Number), a.Began.Local().Format(time.DateTime), admincommand.Brief(a.Took()),
			admincommand.Clean(cmp.Or(a.Class, "goes on")+after(": ", a.Reason)), status, strconv.FormatInt(a.Bytes, 10))
	}
	t.Print(s.Out)
}

func typed(contentType string) string { return after(" of ", contentType) }

// after returns a text after a separator, or nothing without one.
func after(separator, text string) string {
	if text == "" {
		return ""
	}
	return separator + text
}

// moment returns a time of this machine, empty for none.
func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format(time.DateTime)
}
