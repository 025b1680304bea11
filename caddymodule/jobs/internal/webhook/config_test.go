package webhook_test

import (
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/webhook"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// parse reads a block, in the place that it has in a route of jobs.
func parse(text string) (webhook.Config, error) {
	var c webhook.Config
	d := caddyfile.NewTestDispenser("jobs {\nwebhook " + text + "\n}")
	d.Next()
	for d.NextBlock(0) {
		if err := c.UnmarshalCaddyfile(d); err != nil {
			return c, err
		}
	}
	return c, nil
}

func TestBlocks(t *testing.T) {
	got, err := parse(`{
		from_header Offload-Callback
		allow_host hooks.example.com *.customer.example
		allow_host 192.0.2.1
		allow_port 443 8443
		allow_private 10.1.0.0/16 fd00::/8
		allow_http
		secret new file /etc/hook
		secret old env OLD_SECRET
		with_result
	}`)
	want := webhook.Config{
		FromHeader: "Offload-Callback", AllowHost: []string{"hooks.example.com", "*.customer.example", "192.0.2.1"},
		AllowPort: []int{443, 8443}, AllowPrivate: []string{"10.1.0.0/16", "fd00::/8"}, AllowHTTP: true,
		Secrets:    []webhook.Secret{{Name: "new", File: "/etc/hook"}, {Name: "old", Env: "OLD_SECRET"}},
		WithResult: true,
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v\nwant %+v", got, err, want)
	}
}

func TestBlocksThatAreWrong(t *testing.T) {
	const secret = "\nsecret main env S\n"
	for text, want := range map[string]string{
		"x {\n}":                "takes a block, nothing more",
		"{\n" + secret + "}":    "want either 'url' or 'from_header'",
		"{\nfrom_header A\n}":   "'allow_host'",
		"{\nurl https://a.b\n}": "messages are signed",
		"{\nurl https://a.b\nfrom_header A\nallow_host a.b" + secret + "}":     "want either 'url' or 'from_header'",
		"{\nurl https://a.b\nallow_host a.b" + secret + "}":                    "'allow_host' is for 'from_header'",
		"{\nurl http://a.b" + secret + "}":                                     "want https",
		"{\nurl https://a.b:8443" + secret + "}":                               "port 8443 is not allowed",
		"{\nurl https://127.0.0.1" + secret + "}":                              "not public",
		"{\nfrom_header A\nallow_host *a.b" + secret + "}":                     "bad allow_host value '*a.b'",
		"{\nfrom_header A\nallow_host a.b:443" + secret + "}":                  "bad allow_host value",
		"{\nfrom_header A\nallow_host *.10.0.0.1" + secret + "}":               "bad allow_host value",
		"{\nallow_port x\n}":                                                   "bad allow_port value 'x'",
		"{\nurl https://a.b\nallow_port 70000" + secret + "}":                  "bad allow_port value '70000'",
		"{\nurl https://a.b\nallow_private 10.1.0.0/8" + secret + "}":          "bad allow_private value '10.1.0.0/8'",
		"{\nurl https://a.b\nallow_private ::ffff:10.0.0.0/104" + secret + "}": "bad allow_private value",

		"{\nsecret main\n}":                          "takes a name",
		"{\nsecret main key x\n}":                    "bad secret source 'key'",
		"{\nurl https://a.b" + secret + secret + "}": "'main' is set twice",
		"{\nurl https://a.b\nurl https://c.d\n}":     "'url' is set twice",
		"{\nretry 3\n}":                              "unrecognized subdirective 'retry' of webhook",
	} {
		if _, err := parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\n%v, want '%s'", text, err, want)
		}
	}
}

func TestEndpointsThatClientsName(t *testing.T) {
	c := &webhook.Config{
		FromHeader: "Callback", AllowHost: []string{"hooks.example.com", "*.customer.example", "1.1.1.1"},
		AllowPort: []int{443, 8443}, Secrets: secrets, WithResult: true,
	}
	s := open(t, c)
	for url, allowed := range map[string]bool{
		"https://hooks.example.com/a?b=c":                        true,
		"https://HOOKS.example.com./":                            true,
		"https://hooks.example.com:8443":                         true,
		"https://a.b.customer.example/":                          true,
		"https://1.1.1.1/":                                       true,
		"https://customer.example/":                              false,
		"https://evilcustomer.example/":                          false,
		"https://hooks.example.com.evil.test/":                   false,
		"https://hooks.example.com@evil.test/":                   false,
		"https://user@hooks.example.com/":                        false,
		"https://hooks.example.com#@evil.test/":                  false,
		"https://hooks.example.com:80/":                          false,
		"https://hooks.example.com:/":                            true,
		"https://hooks.example.com:0443/":                        true,
		"http://hooks.example.com/":                              false,
		"ftp://hooks.example.com/":                               false,
		"//hooks.example.com/":                                   false,
		"/hook":                                                  false,
		"https:hooks.example.com":                                false,
		"https://":                                               false,
		"https://hooks.example.com\\@evil.test/":                 false,
		"https://hooks.example.com/\r\nA: b":                     false,
		"https://127.1/":                                         false,
		"https://0x7f000001/":                                    false,
		"https://2130706433.customer.example/":                   true,
		"https://[::1%25lo]/":                                    false,
		"https://ｈooks.example.com/":                             false,
		"https://hooks.example.com/" + strings.Repeat("a", 2048): false,
	} {
		hook, err := s.Hook(http.Header{"Callback": {url}})
		if (err == nil) != allowed {
			t.Errorf("%s: %v", url, err)
		}
		want := &jobs.Hook{URL: url, Secret: "main", WithResult: true}
		if allowed && !reflect.DeepEqual(hook, want) {
			t.Errorf("%s: the webhook is %+v, want %+v", url, hook, want)
		}
	}
	if hook, err := s.Hook(http.Header{}); hook != nil || err != nil {
		t.Errorf("without the header: %+v, %v", hook, err)
	}
}

func TestTheEndpointOfTheOperator(t *testing.T) {
	s := open(t, &webhook.Config{URL: "https://hook.test/", Secrets: secrets})
	hook, err := s.Hook(http.Header{"Callback": {"https://elsewhere.test/"}})
	if want := (&jobs.Hook{URL: "https://hook.test/", Secret: "main"}); err != nil || !reflect.DeepEqual(hook, want) {
		t.Errorf("%+v, %v, want %+v", hook, err, want)
	}
}
