//go:build integration

package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit/lab"
	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// Outcomes of tasks, with all versions of Celery in all combinations, and with the newest
// version on Valkey.
func TestOutcomes(t *testing.T) {
	t.Parallel()
	for _, version := range lab.Versions {
		for _, c := range combinations {
			t.Run(version+" "+c.String(), func(t *testing.T) {
				t.Parallel()
				playOutcomes(t, newBench(t, c, lab.WorkerOptions{Version: version}, celery.Settings{}))
			})
		}
	}
	for _, c := range onRedis {
		t.Run("valkey "+c.String(), func(t *testing.T) {
			t.Parallel()
			p := newPlaceOn(t, lab.StartValkey(t))
			playOutcomes(t, benchAt(p, c, lab.WorkerOptions{}, celery.Settings{}))
		})
	}
}

func playOutcomes(t *testing.T, b *bench) {
	for _, test := range []struct {
		name string
		play func(*testing.T, *bench)
	}{
		{"results come back exactly", exactResults},
		{"exceptions have type and message", exceptions},
		{"values that JSON does not have", oddValues},
		{"a retry is progress", retries},
		{"tasks that never end, end with the deadline", neverEnding},
		{"a process that dies is reported", processDies},
		{"time limits of the call hold", timeLimits},
		{"progress arrives while the task runs and a flood is bounded", progress},
		{"the same id twice is one result", sameID},
		{"headers reach the task", headers},
		{"what the encoder lets pass leaves the worker alive", worstTasks},
	} {
		t.Run(test.name, func(t *testing.T) { test.play(t, b) })
	}
	if !b.worker.Running() {
		t.Errorf("the worker has ended:\n%s", b.worker.Log())
	}
}

func isOld(b *bench) bool { return b.worker.Version == lab.Versions[0] }

func isNew(b *bench) bool { return b.worker.Version == lab.Versions[len(lab.Versions)-1] }

func exactResults(t *testing.T, b *bench) {
	for _, test := range []struct {
		name string
		args []any
		want string
	}{
		{"lab.factorial", []any{20}, "2432902008176640000"},
		{"lab.value", []any{"bigint"}, "1606938044258990275541962092341162602522202993782792835301376"},
		{"lab.echo", []any{1.5, "é", nil}, `{"args": [1.5, "\u00e9", null], "kwargs": {}}`},
		{"lab.value", []any{"unicode"}, `"\u00e9\ud83d\ude00\u0000\n"`},
	} {
		result, err := b.run(test.name, test.args...)
		if err != nil || string(result.Value) != test.want {
			t.Errorf("%s%v: %s %v, want %s", test.name, test.args, result.Value, err, test.want)
		}
	}
}

func exceptions(t *testing.T, b *bench) {
	for _, test := range []struct {
		name  string
		args  []any
		words string
		class error
	}{
		{"lab.fail", nil, "ValueError: ('boom', 42)", nil},
		{"lab.fail_custom", nil, "LabError: own exception type", nil},
		{"lab.fail_wrapped", nil, "TwoArgs: only one", nil},
		{"lab.fail_odd", nil, `ValueError: (nan, inf, None)`, nil},
		{"lab.factorial", []any{"x", 2}, "TypeError: ", nil},
		{"lab.not_there", nil, "NotRegistered: ", celery.ErrUnknownTask},
	} {
		_, err := b.run(test.name, test.args...)
		var failed *celery.TaskError
		if !errors.As(err, &failed) || !strings.HasPrefix(err.Error(), test.words) {
			t.Errorf("%s: %v, want %s", test.name, err, test.words)
			continue
		}
		if test.class != nil && !errors.Is(err, test.class) {
			t.Errorf("%s is not %v", test.name, test.class)
		}
		if strings.Contains(err.Error(), "Traceback") {
			t.Errorf("%s shows its traceback: %v", test.name, err)
		}
	}
}

func oddValues(t *testing.T, b *bench) {
	for kind, want := range map[string]error{
		"set": celery.ErrNotSerialisable, "object": celery.ErrNotSerialisable,
		"nan": celery.ErrNotFinite, "infinity": celery.ErrNotFinite,
	} {
		result, err := b.run("lab.value", kind)
		if err == nil {
			_, err = result.JSON()
		}
		if !errors.Is(err, want) {
			t.Errorf("%s: %s %v, want %v", kind, result.Value, err, want)
		}
	}
	result, err := b.run("lab.value", "types")
	if err != nil {
		t.Fatal(err)
	}
	var values []string
	plain, err := result.Plain()
	if err != nil || json.Unmarshal(plain, &values) != nil {
		t.Fatalf("%s %v", result.Value, err)
	}
	if got := strings.Join(values, " "); !strings.HasPrefix(got, "2020-12-10T15:45:00 2020-12-10") || !strings.HasSuffix(got, " 1.50 00000000-0000-0000-0000-000000000007") {
		t.Errorf("types: %s", got)
	}
	result, err = b.run("lab.value", "bytes")
	if isOld(b) {
		if !errors.Is(err, celery.ErrNotSerialisable) {
			t.Errorf("bytes: %v", err)
		}
		return
	}
	if data, ok := result.Bytes(); !ok || string(data) != "\x00\xff raw" || err != nil {
		t.Errorf("bytes: %q %v", data, err)
	}
}

func retries(t *testing.T, b *bench) {
	var states []string
	client := celery.NewClient(b.broker, b.backend, celery.Settings{NoExpiry: true}) // for 5.2
	result, err := client.Run(b.ctx, celery.Task{Name: "lab.retry", Args: []any{2}}, func(r celery.Result) {
		states = append(states, string(r.State))
	})
	// The first state may be skipped if the second follows at once.
	if got := strings.Join(states, " "); err != nil || string(result.Value) != `{"retries": 2}` || got != "RETRY RETRY" && got != "RETRY" {
		t.Errorf("%s %v after %v", result.Value, err, states)
	}
}

func neverEnding(t *testing.T, b *bench) {
	names := []string{"lab.ignore"}
	if isOld(b) { // newer ones keep a result that the call asks for
		names = append(names, "lab.forgotten")
	} else if _, err := b.run("lab.forgotten"); err != nil {
		t.Errorf("lab.forgotten: %v", err)
	}
	if isNew(b) { // it is a failure there
		if _, err := b.run("lab.reject"); err == nil || !strings.HasPrefix(err.Error(), "Reject: ") {
			t.Errorf("lab.reject: %v", err)
		}
	} else {
		names = append(names, "lab.reject")
	}
	for _, name := range names {
		ctx, cancel := context.WithTimeout(b.ctx, time.Second)
		_, err := b.client.Run(ctx, celery.Task{Name: name}, nil)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func processDies(t *testing.T, b *bench) {
	if _, err := b.run("lab.exit"); !errors.Is(err, celery.ErrWorkerLost) {
		t.Errorf("%v", err)
	}
}

func timeLimits(t *testing.T, b *bench) {
	for _, task := range []celery.Task{
		{Name: "lab.sleep", Args: []any{30}, HardLimit: time.Second},
		{Name: "lab.sleep", Args: []any{30}, SoftLimit: time.Second, HardLimit: 20 * time.Second},
	} {
		began := time.Now()
		_, err := b.call(task, nil)
		if !errors.Is(err, celery.ErrTimeLimit) || time.Since(began) > 15*time.Second {
			t.Errorf("%v after %s", err, time.Since(began))
		}
	}
}

// progress: each state arrives while the task goes on, and of a flood at least the
// last one.
func progress(t *testing.T, b *bench) {
	const steps = 10
	var seen []string
	path := t.TempDir() + "/seen"
	result, err := b.call(celery.Task{Name: "lab.steps", Args: []any{steps, path}}, func(r celery.Result) {
		seen = append(seen, string(r.Value))
		if err := os.WriteFile(path, make([]byte, len(seen)), 0o600); err != nil {
			t.Error(err)
		}
	})
	if err != nil || string(result.Value) != `{"done": 10}` || len(seen) != steps || seen[steps-1] != `{"current": 10}` {
		t.Errorf("%s %v after %v", result.Value, err, seen)
	}
	flood := 0
	result, err = b.call(celery.Task{Name: "lab.progress", Args: []any{500}}, func(celery.Result) { flood++ })
	if err != nil || string(result.Value) != `{"done": 500}` || flood == 0 || flood > 500 {
		t.Errorf("%s %v after %d states", result.Value, err, flood)
	}
}

// sameID: a task that is delivered twice, as after the loss of a connection, ends
// for its caller once.
func sameID(t *testing.T, b *bench) {
	id := celery.NewID()
	task := celery.Task{Name: "lab.factorial", Args: []any{5}, ID: id}
	for range 3 {
		call, err := b.client.Start(b.ctx, task)
		if err != nil {
			t.Fatal(err)
		}
		result, err := call.Wait(b.ctx, nil)
		call.Close()
		if err != nil || string(result.Value) != "120" {
			t.Errorf("%s %v", result.Value, err)
		}
	}
}

func headers(t *testing.T, b *bench) {
	trace := "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	result, err := b.call(celery.Task{
		Name: "lab.headers", ID: "req/42:ü", Headers: map[string]any{"traceparent": trace, "x-deep": map[string]any{"a": []any{1, nil}}},
	}, nil)
	if want := fmt.Sprintf(`{"traceparent": "%s", "id": "req/42:\u00fc"}`, trace); err != nil || string(result.Value) != want {
		t.Errorf("%s %v, want %s", result.Value, err, want)
	}
}

// worstTasks: every accepted task has an outcome, and the worker survives.
func worstTasks(t *testing.T, b *bench) {
	deep := strings.Repeat("[", 90) + strings.Repeat("]", 90)
	for name, task := range map[string]celery.Task{
		"deep arguments":     {Args: []any{json.RawMessage(deep)}},
		"digits":             {Args: []any{json.RawMessage(strings.Repeat("9", 4000))}},
		"a huge float":       {Args: []any{json.RawMessage("1e999"), json.RawMessage("-0.0")}},
		"odd text":           {Args: []any{"\x00\x1b\u2028\u200b\U0001f600\ufffd", json.RawMessage(`"\ud83d\ude00"`)}},
		"half a wrapper":     {Args: []any{json.RawMessage(`{"__type__":"zzz","a":1}`)}},
		"wrappers":           {Args: []any{json.RawMessage(`[{"__type__":"date","__value__":"2026-02-03"},{"__type__":"uuid","__value__":{"hex":"00000000000000000000000000000007"}},{"__type__":"base64","__value__":"AA=="},{"__type__":"decimal","__value__":"1.5"},{"__type__":"time","__value__":"10:11:12.000001+01:00"}]`)}},
		"empty names":        {Kwargs: map[string]any{"": 1, "self": 2, "class": 3, "a b": 4}},
		"an odd id":          {ID: "%s/../{0}:\"'ü "},
		"an odd shadow":      {Shadow: "%(name)s {0}"},
		"a long id":          {ID: strings.Repeat("i", 255)},
		"big headers":        {Headers: map[string]any{"x": strings.Repeat("x", 50_000)}},
		"many headers":       {Headers: manyHeaders()},
		"limits":             {HardLimit: 300 * 24 * time.Hour, SoftLimit: 100 * time.Millisecond},
		"retries":            {Retries: 1 << 20},
		"an eta in the past": {ETA: time.Unix(0, 0)},
		"a parent":           {ParentID: "%s", RootID: "{}"},
		"a priority":         {Priority: new(9)},
		"a far expiry":       {Expires: time.Date(2199, 12, 30, 0, 0, 0, 0, time.UTC)},
		"one MiB":            {Args: []any{strings.Repeat("x", 1<<20)}},
	} {
		task.Name = "lab.echo"
		ctx, cancel := context.WithTimeout(b.ctx, 20*time.Second)
		result, err := b.client.Run(ctx, task, nil)
		cancel()
		if failed, ok := errors.AsType[*celery.TaskError](err); ok && failed.Type != "" {
			t.Logf("%s: %v", name, err) // answered as well
			continue
		}
		if err != nil || result.State != celery.Success {
			t.Errorf("%s: %s %v\n%s", name, result.State, err, b.worker.Log()[max(0, len(b.worker.Log())-2000):])
		}
	}
	// One that is far in the future must not keep the others from running.
	if _, err := b.client.Send(b.ctx, celery.Task{Name: "lab.echo", ETA: time.Date(2199, 12, 30, 0, 0, 0, 0, time.UTC)}); err != nil {
		t.Error(err)
	}
	if _, err := b.run("lab.factorial", 3); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func manyHeaders() map[string]any {
	all := make(map[string]any)
	for i := range 500 {
		all[fmt.Sprintf("x-%d", i)] = []any{i, nil, "v"}
	}
	return all
}
