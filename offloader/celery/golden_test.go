package celery_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// golden reads messages that were captured from Celery.
func golden[T any](t *testing.T, name string) T {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	var value T
	if err := json.Unmarshal(data, &value); err != nil {
		t.Fatal(err)
	}
	return value
}

type publishedCases struct {
	Cases []struct {
		Case string
		Keys map[string]struct {
			Type string
			Raw  []string
		}
	}
}

// notOurs are captured messages of kinds that the client never sends.
var notOurs = []string{
	"link+link_error", "chain", "group", "compression=gzip", "compression=zlib", "compression=bzip2",
	"serializer=pickle", "serializer=yaml", "serializer=msgpack", "stamped", "task_protocol=1", "send_task by name",
}

func TestTasksAreWrittenAsCeleryWritesThem(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"4.4.7", "5.2.6", "5.6.3"} {
		for _, c := range golden[publishedCases](t, "redis-publish-"+version+".json").Cases {
			if slices.Contains(notOurs, c.Case) {
				continue
			}
			t.Run(version+" "+c.Case, func(t *testing.T) {
				t.Parallel()
				for key, list := range c.Keys {
					if list.Type == "list" {
						sameEnvelope(t, key, list.Raw[0])
					}
				}
			})
		}
	}
}

// sameEnvelope encodes the task of a captured message and compares the two.
func sameEnvelope(t *testing.T, key, raw string) {
	t.Helper()
	want := decoded(t, []byte(raw))
	m, err := celery.OpenEnvelope([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	task := taskOf(t, m)
	task.Priority = nil // the Redis broker inverts it
	expiry := m.Expiration
	// This client lets the broker keep an expired task for another minute.
	encoded, err := task.Encode(task.Expires.Add(time.Minute - expiry))
	if err != nil {
		t.Fatal(err)
	}
	ours, err := encoded.Envelope(*m.Priority)
	if err != nil {
		t.Fatal(err)
	}
	got := decoded(t, ours)
	if expiry == 0 { // none was sent before 5.0
		delete(got["properties"].(map[string]any), "expiration")
	}
	for _, e := range []map[string]any{got, want} {
		headers, properties := e["headers"].(map[string]any), e["properties"].(map[string]any)
		for _, name := range []string{"origin", "replaced_task_nesting", "stamped_headers", "stamps"} {
			delete(headers, name) // the sender, and optional headers of newer versions
		}
		if key != "celery" || headers["ignore_result"] == false {
			delete(headers, "ignore_result") // since 5.1
		}
		delete(properties, "delivery_tag")
		delete(properties, "reply_to") // for the other backend
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("written\n%v\nwant\n%v", got, want)
	}
}

// decoded decodes an envelope together with its body.
func decoded(t *testing.T, envelope []byte) map[string]any {
	t.Helper()
	var e map[string]any
	if err := json.Unmarshal(envelope, &e); err != nil {
		t.Fatal(err)
	}
	body, err := base64.StdEncoding.DecodeString(e["body"].(string))
	if err != nil {
		t.Fatal(err)
	}
	var parts []any
	if err := json.Unmarshal(body, &parts); err != nil {
		t.Fatal(err)
	}
	e["body"] = parts
	return e
}

// own are the headers of a plain task.
var own = []string{
	"lang", "task", "id", "shadow", "eta", "expires", "group", "group_index", "retries", "timelimit", "root_id",
	"parent_id", "argsrepr", "kwargsrepr", "origin", "ignore_result", "replaced_task_nesting", "stamped_headers", "stamps",
}

// taskOf decodes a message to its task.
func taskOf(t *testing.T, m *celery.Message) celery.Task {
	t.Helper()
	task := celery.Task{
		Name: m.Headers["task"].(string), ID: m.Headers["id"].(string), Queue: m.RoutingKey,
		ETA: timeIn(t, m.Headers["eta"]), Expires: timeIn(t, m.Headers["expires"]),
		Headers: map[string]any{},
	}
	task.Shadow, _ = m.Headers["shadow"].(string)
	task.RootID, _ = m.Headers["root_id"].(string)
	task.IgnoreResult, _ = m.Headers["ignore_result"].(bool)
	limits := m.Headers["timelimit"].([]any)
	task.HardLimit, task.SoftLimit = secondsIn(limits[0]), secondsIn(limits[1])
	for name, value := range m.Headers {
		if !slices.Contains(own, name) {
			task.Headers[name] = value
		}
	}
	var body []json.RawMessage
	if err := json.Unmarshal(m.Body, &body); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(body[0], &task.Args); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(body[1], &task.Kwargs); err != nil {
		t.Fatal(err)
	}
	return task
}

func timeIn(t *testing.T, header any) time.Time {
	t.Helper()
	text, ok := header.(string)
	if !ok {
		return time.Time{}
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func secondsIn(limit any) time.Duration {
	n, _ := limit.(float64)
	return time.Duration(n * float64(time.Second))
}

type firehose struct {
	Firehose []struct {
		Exchange    string
		RoutingKeys []string `json:"routing_keys"`
		Properties  struct {
			Headers       map[string]any
			CorrelationID string `json:"correlation_id"`
			Expiration    string
		}
		Body string
	}
}

func TestTasksForAMQPHaveTheHeadersAndBodyOfCelery(t *testing.T) {
	t.Parallel()
	seen := 0
	for _, version := range []string{"5.2.6", "5.6.3"} {
		for _, c := range golden[firehose](t, "amqp-publish-"+version+".json").Firehose {
			if c.Exchange != "" || c.Properties.Headers["task"] == nil || c.Properties.Headers["retries"] != 0.0 {
				continue // not a task that a client has sent
			}
			if !json.Valid([]byte(c.Body)) {
				continue // compressed
			}
			seen++
			m := &celery.Message{Headers: c.Properties.Headers, Body: []byte(c.Body), RoutingKey: c.RoutingKeys[0]}
			encoded, err := taskOf(t, m).Encode(time.Now())
			if err != nil {
				t.Fatal(err)
			}
			ours := maps.Clone(encoded.Headers)
			for name := range ours {
				if want, ok := c.Properties.Headers[name]; ok && name != "origin" && fmt.Sprint(ours[name]) != fmt.Sprint(want) {
					t.Errorf("header %s is %v, want %v", name, ours[name], want)
				}
			}
			if !sameJSON(t, encoded.Body, []byte(c.Body)) {
				t.Errorf("body %s, want %s", encoded.Body, c.Body)
			}
			if encoded.CorrelationID != c.Properties.CorrelationID || encoded.Exchange != "" || encoded.RoutingKey != c.RoutingKeys[0] {
				t.Errorf("sent to %q %q about %s", encoded.Exchange, encoded.RoutingKey, encoded.CorrelationID)
			}
		}
	}
	if seen < 10 {
		t.Errorf("%d tasks seen", seen)
	}
}

func sameJSON(t *testing.T, a, b []byte) bool {
	t.Helper()
	var x, y any
	if err := json.Unmarshal(a, &x); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &y); err != nil {
		t.Fatal(err)
	}
	return reflect.DeepEqual(x, y)
}

func TestCompressedBodiesAreRead(t *testing.T) {
	t.Parallel()
	for _, c := range golden[publishedCases](t, "redis-publish-5.6.3.json").Cases {
		switch c.Case {
		case "compression=gzip", "compression=zlib":
			m, err := celery.OpenEnvelope([]byte(c.Keys["celery"].Raw[0]))
			if err != nil || !json.Valid(m.Body) {
				t.Errorf("%s: %v", c.Case, err)
			}
		case "compression=bzip2":
			if _, err := celery.OpenEnvelope([]byte(c.Keys["celery"].Raw[0])); err == nil {
				t.Errorf("%s was read", c.Case)
			}
		}
	}
}
