package celery_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/testkit/celerytest"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// odd are exceptions in a wrapper or in invalid JSON.
var odd = map[string]string{
	"wrapped": `{"exc_type": "UnpickleableExceptionWrapper", "exc_message": ["lab", "TwoArgs", ["only one"], "TwoArgs('only one')"], ` +
		`"exc_module": "celery.utils.serialization"}`,
	"nan": `{"exc_type": "ValueError", "exc_message": [NaN], "exc_module": "builtins"}`,
}

// The type that was raised decides the status of an exception, also if Celery has wrapped
// it or its arguments are not JSON.
func TestErrorsGoByTheTypeThatWasRaised(t *testing.T) {
	l := newLab(t)
	l.work(1, func(m *celery.Message) [][]byte {
		how := strings.Trim(string(celerytest.Arguments(m)[0]), `"`)
		return [][]byte{celerytest.State(m.CorrelationID, celery.Failure, odd[how])}
	})
	for _, tt := range []struct {
		how, name         string
		status            int
		exception, detail string
	}{
		{"wrapped", "TwoArgs", 422, "TwoArgs", "only one"},
		{"wrapped", "lab.TwoArgs", 423, "TwoArgs", "only one"},
		{"nan", "ValueError", 425, "ValueError", "nan"},
		{"nan", "builtins.ValueError", 425, "ValueError", "nan"},
	} {
		s := l.serve(fmt.Sprintf("task lab.echo\nargs {path.0}\ndetail message\nerrors {\n%s %d\n}", tt.name, tt.status))
		s.EachVersion(func(t *testing.T, c *http.Client, url string) {
			res, body := site.Get(t, c, url+"/"+tt.how)
			fields := wantProblem(t, res, body, tt.status, "task_failed")
			if fields["exception"] != tt.exception || fields["detail"] != tt.detail {
				t.Errorf("got %s", body)
			}
		})
	}
	flower := l.flower("detail message")
	flower.EachVersion(func(t *testing.T, c *http.Client, url string) {
		for how, want := range map[string]string{"wrapped": "TwoArgs('only one')", "nan": "ValueError(nan)"} {
			_, got := ask(t, c, http.MethodPost, url+"/api/task/apply/lab.echo", fmt.Sprintf(`{"args": [%q]}`, how))
			if got["state"] != "FAILURE" || got["result"] != want {
				t.Errorf("%s: got %v", how, got)
			}
		}
	})
}

// The progress event of a retry shows the unwrapped exception.
func TestRetriesTellTheTypeThatWasRaised(t *testing.T) {
	l := newLab(t)
	l.work(0, nil)
	s := l.serve("task lab.slow\ndetail message")
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		ear := listen(t.Context(), t, c, url)
		m := l.take()
		ear.want("event: task | id: " + m.CorrelationID + ` | data: {"task_id":"` + m.CorrelationID + `"}`)
		l.report(m, celerytest.State(m.CorrelationID, celery.Retry, odd["wrapped"]))
		ear.want("event: progress | id: " + m.CorrelationID +
			` | data: {"state":"RETRY","meta":{"exc_type":"TwoArgs","exc_message":["only one"],"exc_module":"lab"}}`)
		l.report(m, celerytest.Succeed(m, "1"))
		ear.want("event: result | id: " + m.CorrelationID + " | data: 1")
	})
}
