package webhook_test

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/webhook"
	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// received is what an endpoint has got.
type received struct {
	id, timestamp, signature, body string
}

// sent returns the message that an endpoint gets.
func sent(t *testing.T, change func(*webhook.Config, *jobs.Message)) received {
	t.Helper()
	got := make(chan received, 1)
	endpoint := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- received{r.Header.Get("webhook-id"), r.Header.Get("webhook-timestamp"), r.Header.Get("webhook-signature"), string(body)}
	})
	c := to(endpoint)
	m := ended(c.URL)
	change(c, &m)
	if d := open(t, c).Deliver(t.Context(), m); !d.Delivered {
		t.Fatalf("the delivery is %+v", d)
	}
	return testkit.Receive(t, got)
}

// signedBy returns the signature that the specification wants.
func (r received) signedBy(t *testing.T, key string) string {
	t.Helper()
	secret, err := base64.StdEncoding.DecodeString(key)
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, secret)
	io.WriteString(mac, r.id+"."+r.timestamp+"."+r.body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

func TestMessagesAreSigned(t *testing.T) {
	got := sent(t, func(*webhook.Config, *jobs.Message) {})
	if want := got.signedBy(t, firstKey); got.signature != want {
		t.Errorf("the signature is %s, want %s", got.signature, want)
	}
	if want := ended("").ID; got.id != want {
		t.Errorf("the ID is %s, want %s", got.id, want)
	}
	seconds, err := strconv.ParseInt(got.timestamp, 10, 64)
	if age := time.Since(time.Unix(seconds, 0)); err != nil || age < 0 || age > time.Minute {
		t.Errorf("the timestamp is %s", got.timestamp)
	}
}

// While a key changes, messages have a signature of each. The file is read again.
func TestKeysCanChange(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	for _, keys := range [][]string{{firstKey}, {secondKey, firstKey}, {secondKey}} {
		var content strings.Builder
		for _, key := range keys {
			content.WriteString("whsec_" + key + "\n")
		}
		if err := os.WriteFile(file, []byte(content.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		got := sent(t, func(c *webhook.Config, _ *jobs.Message) { c.Secrets = []webhook.Secret{{Name: "main", File: file}} })
		var want []string
		for _, key := range keys {
			want = append(want, got.signedBy(t, key))
		}
		if signatures := strings.Fields(got.signature); !reflect.DeepEqual(signatures, want) {
			t.Errorf("the signatures are %v, want %v", signatures, want)
		}
	}
}

func TestASecretFileThatIsLost(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("whsec_"+firstKey), 0o600); err != nil {
		t.Fatal(err)
	}
	c := &webhook.Config{URL: "https://hook.test/", Secrets: []webhook.Secret{{Name: "main", File: file}}}
	s := open(t, c)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if got, want := s.Deliver(t.Context(), ended(c.URL)), (jobs.Delivery{Error: "secret"}); got != want {
		t.Errorf("the delivery is %+v, want %+v", got, want)
	}
}

func TestPrivateKeys(t *testing.T) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOOK_PRIVATE", "whsk_"+base64.StdEncoding.EncodeToString(private))
	got := sent(t, func(c *webhook.Config, _ *jobs.Message) {
		c.Secrets = []webhook.Secret{{Name: "main", Env: "HOOK_PRIVATE"}}
	})
	encoded, ok := strings.CutPrefix(got.signature, "v1a,")
	signature, err := base64.StdEncoding.DecodeString(encoded)
	if !ok || err != nil || !ed25519.Verify(public, []byte(got.id+"."+got.timestamp+"."+got.body), signature) {
		t.Errorf("the signature is %s", got.signature)
	}
}

func TestSecretsThatAreNone(t *testing.T) {
	for name, value := range map[string]string{
		"empty":          "",
		"no prefix":      firstKey,
		"no base64":      "whsec_!",
		"too short":      "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 23)),
		"too long":       "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 65)),
		"short private":  "whsk_" + base64.StdEncoding.EncodeToString(make([]byte, 32)),
		"three keys":     strings.Repeat("whsec_"+firstKey+" ", 3),
		"second is none": "whsec_" + firstKey + " x",
	} {
		t.Setenv("HOOK_BAD", value)
		c := webhook.Config{URL: "https://hook.test/", Secrets: []webhook.Secret{{Name: "main", Env: "HOOK_BAD"}}}
		_, err := c.Open(nil)
		if err == nil {
			t.Errorf("%s: '%s' is a secret", name, value)
		} else if strings.Contains(err.Error(), firstKey) {
			t.Errorf("%s: the error holds the secret: %s", name, err)
		}
	}
	c := webhook.Config{URL: "https://hook.test/", Secrets: []webhook.Secret{{Name: "main", Env: "HOOK_MISSING"}}}
	if _, err := c.Open(nil); err == nil {
		t.Error("a variable that is not set is a secret")
	}
}

func TestWhatMessagesSay(t *testing.T) {
	const id = `"000000000000000000000000000000000000"`
	common := `"attempts":3,"location":"https://site.test/.jobs/000000000000000000000000000000000000"`
	for name, test := range map[string]struct {
		change func(*jobs.Message)
		want   string
	}{
		"a success": {
			func(*jobs.Message) {},
			`{"type":"job.succeeded","timestamp":"2030-01-02T03:04:05Z","data":{"id":` + id + `,"state":"succeeded","status":200,` + common + `}}`,
		},
		"no response": {
			func(m *jobs.Message) { m.Record.Response, m.Record.State = nil, jobs.Expired },
			`{"type":"job.expired","timestamp":"2030-01-02T03:04:05Z","data":{"id":` + id + `,"state":"expired",` + common + `}}`,
		},
		"a result that is not asked for": {
			func(m *jobs.Message) { m.Result = []byte("ok") },
			`{"type":"job.succeeded","timestamp":"2030-01-02T03:04:05Z","data":{"id":` + id + `,"state":"succeeded","status":200,` + common + `}}`,
		},
		"a text": {
			func(m *jobs.Message) { m.Result, m.Record.Hook.WithResult = []byte("ok"), true },
			`{"type":"job.succeeded","timestamp":"2030-01-02T03:04:05Z","data":{"id":` + id + `,"state":"succeeded","status":200,` + common +
				`,"result":{"content_type":"text/plain","body":"ok"}}}`,
		},
		"bytes": {
			func(m *jobs.Message) { m.Result, m.Record.Hook.WithResult = []byte{0xff}, true },
			`{"type":"job.succeeded","timestamp":"2030-01-02T03:04:05Z","data":{"id":` + id + `,"state":"succeeded","status":200,` + common +
				`,"result":{"content_type":"text/plain","encoding":"base64","body":"/w=="}}}`,
		},
	} {
		got := sent(t, func(_ *webhook.Config, m *jobs.Message) {
			m.Record.ID = jobs.ID{}
			test.change(m)
		})
		if got.body != test.want || !json.Valid([]byte(got.body)) {
			t.Errorf("%s:\n%s\nwant\n%s", name, got.body, test.want)
		}
	}
}
