package celery_test

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// raw is an argument that is sent unchanged.
func raw(text string) json.RawMessage { return json.RawMessage(text) }

func withArg(arg any) celery.Task { return celery.Task{Name: "lab.echo", Args: []any{arg}} }

func withHeader(name string, value any) celery.Task {
	return celery.Task{Name: "lab.echo", Headers: map[string]any{name: value}}
}

func TestTasksThatNoWorkerCouldReadAreRefused(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 256)
	for name, task := range map[string]celery.Task{
		"no name":                          {},
		"a name that is too long":          {Name: long},
		"a name with a line end":           {Name: "a\nb"},
		"a name that is not UTF-8":         {Name: "\xff"},
		"an id that is too long":           {Name: "a", ID: long},
		"an id with a control character":   {Name: "a", ID: "a\x06\x16b"},
		"a queue with a control character": {Name: "a", Queue: "celery\x06\x163"},
		"a shadow that is too long":        {Name: "a", Shadow: long},
		"a parent with a control code":     {Name: "a", ParentID: "\x00"},
		"a priority below all":             {Name: "a", Priority: new(-1)},
		"a priority above all":             {Name: "a", Priority: new(10)},
		"an eta in the year 10000":         {Name: "a", ETA: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)},
		"an expiry before the epoch":       {Name: "a", Expires: time.Date(1960, 1, 1, 0, 0, 0, 0, time.UTC)},
		"a negative limit":                 {Name: "a", HardLimit: -1},
		"a limit of microseconds":          {Name: "a", SoftLimit: time.Microsecond},
		"a limit of years":                 {Name: "a", SoftLimit: 1e6 * time.Hour},
		"a soft limit above the hard one":  {Name: "a", HardLimit: time.Second, SoftLimit: time.Minute},
		"negative retries":                 {Name: "a", Retries: -1},
		"args that cannot be written":      withArg(make(chan int)),
		"kwargs that cannot be written":    {Name: "a", Kwargs: map[string]any{"f": math.NaN()}},
		"raw JSON that is none":            withArg(raw(`{"a":`)),
		"raw JSON that closes the args":    withArg(raw(`1],{},{}]`)),
		"raw JSON that is not UTF-8":       withArg(raw("\"\xff\"")),
		"NaN":                              withArg(raw("NaN")),
		"deep nesting":                     withArg(raw(strings.Repeat("[", 200) + strings.Repeat("]", 200))),
		"an integer of 5000 digits":        withArg(raw(strings.Repeat("9", 5000))),
		"half a character":                 withArg(raw(`"\ud83d"`)),
		"the other half of one":            withArg(raw(`"\ude00"`)),
		"halves in the wrong order":        withArg(raw(`"\ude00\ud83d"`)),
		"arguments of 20 MiB":              withArg(strings.Repeat("x", 20<<20)),
		"an unknown wrapper":               withArg(raw(`{"__type__":"zzz","__value__":1}`)),
		"a wrapper with an escaped key":    withArg(raw(`{"\u005f_type__":"zzz","__value__":1}`)),
		"a wrapper without a name":         withArg(raw(`{"__type__":[],"__value__":1}`)),
		"a wrapper deep inside":            withArg(raw(`[[{"a":{"__type__":"uuid","__value__":{"int":1}}}]]`)),
		"the last of two keys counts":      withArg(raw(`{"__type__":"bytes","__value__":"a","__type__":"zzz"}`)),
		"a date that does not exist":       withArg(raw(`{"__type__":"date","__value__":"2026-02-30"}`)),
		"a date of the year 0":             withArg(raw(`{"__type__":"date","__value__":"0000-01-01"}`)),
		"a date and more":                  withArg(raw(`{"__type__":"date","__value__":"2026-02-03x"}`)),
		"half a datetime":                  withArg(raw(`{"__type__":"datetime","__value__":"2026-02-03T25:00:00"}`)),
		"a time with three digits":         withArg(raw(`{"__type__":"time","__value__":"10:00:00.123"}`)),
		"a decimal in words":               withArg(raw(`{"__type__":"decimal","__value__":"one"}`)),
		"base64 of another alphabet":       withArg(raw(`{"__type__":"base64","__value__":"_-"}`)),
		"a wrapper of a number":            withArg(raw(`{"__type__":"decimal","__value__":1}`)),
		"kwargs that are one value":        {Name: "a", Kwargs: map[string]any{"__type__": "decimal", "__value__": "1"}},
		"kwargs that are an array of them": {Name: "a", Kwargs: map[string]any{"__value__": []string{"1"}, "__type__": []string{"uuid"}}},
		"a header that is another value":   withHeader("x", map[string]any{"__type__": "decimal", "__value__": "1"}),
		"another value in a header":        withHeader("x", []any{map[string]any{"a": map[string]any{"__type__": "date", "__value__": "2026-02-03"}}}),
		"a header of Celery's":             withHeader("task", "other"),
		"a header of a task's request":     withHeader("Callbacks", 1),
		"a header that begins oddly":       withHeader("__class__", 1),
		"a header without a name":          withHeader("", 1),
		"a header with a space":            withHeader("x y", 1),
		"a header not in ASCII":            withHeader("xé", 1),
		"a header that is too long":        withHeader(strings.Repeat("x", 200), 1),
		"a header of another type":         withHeader("x", struct{}{}),
		"a header that is not UTF-8":       withHeader("x", "\xff"),
		"a header that is infinite":        withHeader("x", math.Inf(1)),
		"a header of 100 KiB":              withHeader("x", strings.Repeat("x", 100<<10)),
		"a header that holds itself":       withHeader("x", endless()),
		"a header with a bad name inside":  withHeader("x", map[string]any{"": 1}),
		"a bad value in a list":            withHeader("x", []any{struct{}{}}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if m, err := task.Encode(time.Now()); !errors.Is(err, celery.ErrInvalidTask) || m != nil {
				t.Errorf("%v, %v", m, err)
			}
		})
	}
}

func endless() any {
	m := map[string]any{}
	m["m"] = m
	return m
}

func TestUnusualTasksThatAWorkerCanReadAreSent(t *testing.T) {
	t.Parallel()
	for name, task := range map[string]celery.Task{
		"an id in Unicode":                 {Name: "a", ID: "req/42:ü"},
		"all limits":                       {Name: "a", HardLimit: 1500 * time.Millisecond, SoftLimit: time.Second},
		"a whole character":                withArg(raw(`"\ud83d\ude00 \\ud83d"`)),
		"a big integer":                    withArg(raw("1180591620717411303424")),
		"an object with one odd key":       withArg(raw(`{"__type__":"zzz"}`)),
		"an object with one key too many":  withArg(raw(`{"__type__":"zzz","__value__":1,"a":1}`)),
		"kwargs with one odd name":         {Name: "a", Kwargs: map[string]any{"__type__": "decimal"}},
		"kwargs with an odd name more":     {Name: "a", Kwargs: map[string]any{"__type__": "decimal", "__value__": "1", "a": 1}},
		"a kwarg that is another value":    {Name: "a", Kwargs: map[string]any{"a": raw(`{"__type__":"decimal","__value__":"1"}`)}},
		"bytes":                            withArg(raw(`{"__type__":"bytes","__value__":"a"}`)),
		"more bytes":                       withArg(raw(`{"__type__":"base64","__value__":"AP8gcmF3"}`)),
		"a uuid":                           withArg(raw(`{"__type__":"uuid","__value__":{"hex":"00000000000000000000000000000007"}}`)),
		"a datetime":                       withArg(raw(`{"__type__":"datetime","__value__":"2026-02-03T04:05:06.000007+00:00"}`)),
		"a date":                           withArg(raw(`{"__type__":"date","__value__":"2026-02-03"}`)),
		"a time":                           withArg(raw(`{"__type__":"time","__value__":"04:05:06"}`)),
		"a decimal":                        withArg(raw(`{"__type__":"decimal","__value__":"-1.50"}`)),
		"nested headers":                   withHeader("x-trace", map[string]any{"a": []any{nil, true, 1, int64(2), 1.5, "b"}}),
		"the headers of a trace":           withHeader("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
		"the lowest and highest priority":  {Name: "a", Priority: new(celery.HighestPriority)},
		"arguments of all kinds":           {Name: "a", Args: []any{nil, true, false, 1, 1.5, "x", []int{1}, map[string]int{"a": 1}}},
		"a backslash before a quote":       withArg(`\"`),
		"an expiry that has passed":        {Name: "a", Expires: time.Unix(1, 0)},
		"an object that looks like a list": withArg(raw(`{"0":1}`)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, err := task.Encode(time.Now())
			if err != nil {
				t.Fatal(err)
			}
			if fault := poison(m); fault != "" {
				t.Error(fault)
			}
		})
	}
}

func TestDefaultsOfATask(t *testing.T) {
	t.Parallel()
	now := time.Now()
	m, err := celery.Task{Name: "lab.echo", Expires: now.Add(-time.Hour)}.Encode(now)
	if err != nil {
		t.Fatal(err)
	}
	other, err := celery.Task{Name: "lab.echo"}.Encode(now)
	if err != nil {
		t.Fatal(err)
	}
	if m.RoutingKey != "celery" || m.CorrelationID == "" || m.CorrelationID == other.CorrelationID || m.Headers["root_id"] != m.CorrelationID {
		t.Errorf("message: %+v", m)
	}
	if m.ExpirationText() != "1" || other.ExpirationText() != "" {
		t.Errorf("expirations %q and %q", m.ExpirationText(), other.ExpirationText())
	}
	far, err := celery.Task{Name: "lab.echo", Expires: now.Add(50 * 24 * time.Hour)}.Encode(now)
	if err != nil || far.ExpirationText() != "" || far.Headers["expires"] == nil {
		t.Errorf("an expiration that RabbitMQ cannot take is '%s', %v", far.ExpirationText(), err)
	}
	if string(m.Body) != `[[],{},{"callbacks":null,"errbacks":null,"chain":null,"chord":null}]` {
		t.Errorf("body: %s", m.Body)
	}
}

func TestArgumentsAreShownAsPythonShowsThem(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		args []any
		want string
	}{
		{nil, "()"},
		{[]any{1}, "(1,)"},
		{[]any{1, "two", []any{3, nil}}, "(1, 'two', [3, None])"},
		{[]any{map[string]any{"v": true, "w": false}}, "({'v': True, 'w': False},)"},
		{[]any{"it's", `"`, `it's "`}, `("it's", '"', 'it\'s "')`},
		{[]any{"a\n\r\t\\\x01é\u200b\U000e0001"}, `('a\n\r\t\\\x01é\u200b\U000e0001',)`},
		{[]any{[]any{1, 2}, []any{}}, "([1, 2], [])"},
		{[]any{1.5, raw("1e5")}, "(1.5, 1e5)"},
	} {
		m, err := celery.Task{Name: "a", Args: test.args}.Encode(time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if got := m.Headers["argsrepr"]; got != test.want {
			t.Errorf("%v is shown as %v, want %s", test.args, got, test.want)
		}
	}
	m, err := celery.Task{Name: "a", Args: []any{strings.Repeat("é", 2000), 1, 2}}.Encode(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if got := m.Headers["argsrepr"].(string); len(got) > 1100 || !strings.HasSuffix(got, "...)") {
		t.Errorf("%d bytes, ends with %s", len(got), got[len(got)-10:])
	}
}

// The state that requests an abort equals that of Celery's own client.
func TestEncodeAborted(t *testing.T) {
	t.Parallel()
	const want = `{"status": "ABORTED", "result": null, "traceback": null, "children": null, "date_done": null, "task_id": "a-\u00e9\ud83d\ude00\"\\x<&>"}`
	for _, before := range []string{"", `{"status": "STARTED"}`, `{"status": "PROGRESS"}`, `{"status": "ABORTED"}`} {
		var stored []byte
		if before != "" {
			stored = []byte(before)
		}
		if got, err := celery.EncodeAborted("a-é😀\"\\x<&>", stored); string(got) != want || err != nil {
			t.Errorf("after %s: %s %v", before, got, err)
		}
	}
	for _, before := range []string{`{"status": "SUCCESS"}`, `{"status": "FAILURE"}`, `{"status": "REVOKED"}`} {
		if got, err := celery.EncodeAborted("a", []byte(before)); got != nil || err != nil {
			t.Errorf("after %s: %s %v", before, got, err)
		}
	}
	if _, err := celery.EncodeAborted("a", []byte("nonsense")); !errors.Is(err, celery.ErrUnreadable) {
		t.Error(err)
	}
}
