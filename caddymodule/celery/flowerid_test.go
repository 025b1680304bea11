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

// verbs are the requests of Flower's API with the ID of a task.
var verbs = map[string]string{"result": http.MethodGet, "abort": http.MethodPost, "revoke": http.MethodPost}

// wantVerbs sends all these requests for a task.
func wantVerbs(t *testing.T, c *http.Client, url, id string, want int) {
	t.Helper()
	for verb, method := range verbs {
		status, got := ask(t, c, method, url+"/api/task/"+verb+"/"+id, "")
		if status != want || (want == 404) != (got["reason"] == "unknown_task") {
			t.Errorf("%s %s: got %d %v, want %d", verb, id, status, got, want)
		}
		if want == 404 && strings.Contains(fmt.Sprint(got), "secret") {
			t.Errorf("%s %s: got %v", verb, id, got)
		}
	}
}

// A route reveals nothing about tasks that it does not list, and neither stores nor revokes
// anything for invented IDs.
func TestFlowerKeepsToListedTasks(t *testing.T) {
	l := newLab(t)
	l.work(0, nil)
	s := l.flower("")
	other := celery.NewID()
	l.report(&celery.Message{CorrelationID: other}, celerytest.State(other, celery.Success, `"secret"`))
	named := celery.NewID()
	extended := func(id, name string) []byte {
		return fmt.Appendf(nil, `{"status": "SUCCESS", "result": "secret", "traceback": null, "name": %q, "task_id": %q}`, name, id)
	}
	l.report(&celery.Message{CorrelationID: named}, extended(named, "os.system"))
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		mine := l.sent(t, c, url)
		forged := mine[:len(mine)-1] + string("01"[(mine[len(mine)-1]-'0'+1)%2])
		for _, id := range []string{other, named, celery.NewID(), "a", forged, mine + "0", mine[:24], strings.ToUpper(other)} {
			wantVerbs(t, c, url, id, 404)
		}
		if _, got := ask(t, c, http.MethodGet, url+"/api/task/result/"+other+"?timeout=1", ""); got["reason"] != "unknown_task" {
			t.Errorf("a wait for another's: %v", got)
		}
		if stored, err := l.Fetch(t.Context(), forged); stored != nil || err != nil {
			t.Errorf("stored %s %v", stored, err)
		}
		wantVerbs(t, c, url, mine, 200)
	})
	for _, id := range l.revoked(false) {
		if id == other || id == named {
			t.Errorf("%s was revoked", id)
		}
	}
}

// If the backend stores names, requests about a listed task of another client work.
func TestFlowerTellsOfListedTasksOfOthers(t *testing.T) {
	l := newLab(t)
	l.work(0, nil)
	s := l.flower("")
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		id := celery.NewID()
		l.report(&celery.Message{CorrelationID: id},
			fmt.Appendf(nil, `{"status": "SUCCESS", "result": 3, "traceback": null, "name": "lab.add", "task_id": %q}`, id))
		wantVerbs(t, c, url, id, 200)
	})
}

// The IDs of a route are valid after a restart and in other processes with the same
// configuration, but not for a route that lists other tasks.
func TestFlowerKnowsItsIDsAgain(t *testing.T) {
	l := newLab(t)
	l.work(0, nil)
	s := l.flower("")
	id := l.sent(t, s.Clients()["h1"], "https://"+s.Addr)
	for words, want := range map[string]int{"tasks lab.*": 200, "tasks lab.a*": 404, "tasks lab.* x": 404} {
		again := site.Serve(t, nil, l.directive("flower\n"+words))
		again.EachVersion(func(t *testing.T, c *http.Client, url string) { wantVerbs(t, c, url, id, want) })
	}
}
