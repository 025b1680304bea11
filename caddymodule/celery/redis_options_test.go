package celery_test

import (
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/celerytest/redistest"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// The options set the names of queues, results and commands.
func TestNamesOnRedis(t *testing.T) {
	for name, tt := range map[string]struct{ words, queue, results, commands string }{
		"by default": {"", "celery", "celery-task-meta-", "/0.celery.pidbox"},
		"by the words": {
			"broker_prefix app_\nresult_prefix kept-\ncontrol_exchange other\nqueue slow\n",
			"app_slow", "kept-", "app_/0.other.pidbox",
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.NewServer(t)
			client := redis.NewClient(&redis.Options{Addr: server.Addr(), DisableIdentity: true})
			defer client.Close()
			commands := client.Subscribe(t.Context(), tt.commands)
			defer commands.Close()
			if _, err := commands.Receive(t.Context()); err != nil {
				t.Fatal(err)
			}
			s := site.Serve(t, nil, "celery {\nbroker "+server.URL()+"\nbackend "+server.URL()+"\n"+tt.words+
				"worker_check off\ntask_check off\ntimeout 2s\ntask lab.echo\n}")
			done := make(chan struct{})
			go func() {
				defer close(done)
				res, body := site.Get(t, s.Clients()["h1"], "https://"+s.Addr)
				wantProblem(t, res, body, 504, "timeout")
			}()
			testkit.Eventually(t, func() bool { return len(server.List(tt.queue)) == 1 })
			task, err := celery.OpenEnvelope([]byte(server.List(tt.queue)[0]))
			if err != nil {
				t.Fatal(err)
			}
			if !server.Subscribed(tt.results + task.CorrelationID) {
				t.Errorf("no subscription to %s%s", tt.results, task.CorrelationID)
			}
			<-done
			command, err := commands.ReceiveMessage(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			m, err := celery.OpenEnvelope([]byte(command.Payload))
			if err != nil || !strings.Contains(string(m.Body), `"revoke"`) || !strings.Contains(string(m.Body), task.CorrelationID) {
				t.Errorf("the command is %s %v", command.Payload, err)
			}
		})
	}
}
