package queue_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/jobs/internal/queue"
)

var epoch = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

func key(tenant string, second int) queue.Key {
	return queue.Key{Tenant: tenant, Since: epoch.Add(time.Duration(second) * time.Second)}
}

func all[T any](T) bool { return true }

// drain takes all jobs, each of the same cost.
func drain(q *queue.Queue[string]) string {
	var got []string
	for {
		v, ok := q.Pop(1, all, all)
		if !ok {
			return strings.Join(got, " ")
		}
		got = append(got, v)
	}
}

func TestTenantsTakeTurnsAndTheirOldestIsFirst(t *testing.T) {
	var q queue.Queue[string]
	for i, name := range []string{"a4", "a2", "b3", "a1", "b1", "c9", "a3"} {
		q.Push(key(name[:1], int(name[1]-'0')), name)
		if q.Len() != i+1 {
			t.Fatal(q.Len())
		}
	}
	if !q.Oldest().Equal(epoch.Add(time.Second)) {
		t.Fatal(q.Oldest())
	}
	if got := drain(&q); got != "a1 b1 c9 a2 b3 a3 a4" || q.Len() != 0 || !q.Oldest().IsZero() {
		t.Fatal(got)
	}
}

// The position of a job is the one at which it is served, if all jobs are of the same cost.
func TestPositionsAreThoseOfTheService(t *testing.T) {
	var q queue.Queue[int]
	var keys []queue.Key
	for i := range 100 {
		k := key(fmt.Sprint(rand.IntN(5)), i)
		keys = append(keys, k)
		q.Push(k, i)
	}
	want := make([]int, len(keys))
	for i, k := range keys {
		want[i] = q.Position(k)
	}
	if q.Position(key("none", 1)) != 0 || q.Position(key("0", 1000)) != 0 {
		t.Fatal("a job that is not there has a position")
	}
	for place := 1; q.Len() > 0; place++ {
		i, _ := q.Pop(1, all, all)
		if want[i] != place {
			t.Fatalf("job %d was promised place %d, and is served as number %d", i, want[i], place)
		}
	}
}

func TestTenantsAndJobsThatMayNotRunArePassedOver(t *testing.T) {
	var q queue.Queue[string]
	for i, name := range []string{"a1", "a2", "b1", "b2"} {
		q.Push(key(name[:1], i), name)
	}
	served := func(tenant string) bool { return tenant == "b" }
	fit := func(name string) bool { return name != "b1" }
	if v, _ := q.Pop(1, served, fit); v != "b2" {
		t.Fatal(v)
	}
	if v, ok := q.Pop(1, served, fit); ok {
		t.Fatal(v)
	}
	if got := drain(&q); got != "a1 a2 b1" {
		t.Fatal(got)
	}
}

func TestAJobIsRemovedOnce(t *testing.T) {
	var q queue.Queue[string]
	for i := range 5 {
		q.Push(key("a", i), fmt.Sprint(i))
	}
	for _, i := range []int{0, 2, 4} {
		if !q.Remove(key("a", i)) || q.Remove(key("a", i)) {
			t.Fatal(i)
		}
	}
	if q.Remove(key("b", 1)) || drain(&q) != "1 3" {
		t.Fatal("other jobs are left")
	}
}

// Tenants get equal parts of the time, whatever their jobs take, and one that was idle cannot
// save up.
func TestTimeIsShared(t *testing.T) {
	var q queue.Queue[string]
	used := map[string]float64{}
	seconds := map[string]float64{"short": 1, "long": 10, "late": 1}
	n := 0
	serve := func(until float64, tenants ...string) {
		clear(used)
		for total := 0.0; total < until; {
			for _, tenant := range tenants {
				n++
				q.Push(key(tenant, n), tenant)
			}
			tenant, _ := q.Pop(1, all, func(v string) bool { return slices.Contains(tenants, v) })
			q.Charge(tenant, seconds[tenant]-1)
			used[tenant] += seconds[tenant]
			total += seconds[tenant]
		}
	}
	serve(1000, "short", "long")
	if used["long"] < 480 || used["long"] > 520 {
		t.Fatal(used)
	}
	serve(900, "short", "long", "late")
	if used["late"] < 280 || used["late"] > 320 {
		t.Fatal(used)
	}
}

// Tenants that have gone take no memory.
func TestTenantsAreForgotten(t *testing.T) {
	var q queue.Queue[int]
	q.Push(key("stays", 0), -1)
	for i := range 20_000 {
		q.Push(key("stays", i+1), -1)
		q.Push(key(fmt.Sprint(i), i+1), i)
		q.Pop(1, all, all)
		q.Pop(1, all, all)
	}
	if n := q.Tenants(); n > 1000 {
		t.Fatalf("%d tenants are left", n)
	}
}

// New tenants without end delay a tenant that is there, but it is served.
func TestNewTenantsDoNotStarveOthers(t *testing.T) {
	var q queue.Queue[string]
	served := 0
	for i := range 1000 {
		q.Push(key("stays", i), "stays")
		q.Push(key(fmt.Sprint(i, "a"), i), "new")
		q.Push(key(fmt.Sprint(i, "b"), i), "new")
		if v, _ := q.Pop(1, all, all); v == "stays" {
			served++
		}
	}
	if served == 0 || served > 100 {
		t.Fatalf("it was served %d times", served)
	}
}
