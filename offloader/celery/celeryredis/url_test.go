package celeryredis

import (
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestURLs(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"redis://":                                      "tcp localhost:6379 db 0",
		"redis://h":                                     "tcp h:6379 db 0",
		"redis://h:1/2":                                 "tcp h:1 db 2",
		"redis://h:1//2":                                "tcp h:1 db 2",
		"redis://[::1]:1/2":                             "tcp [::1]:1 db 2",
		"redis://:p%40ss%2Fword@h":                      "tcp h:6379 db 0 as '' with 'p@ss/word'",
		"redis://user:pass@h/1":                         "tcp h:6379 db 1 as 'user' with 'pass'",
		"redis://h?virtual_host=3":                      "tcp h:6379 db 3",
		"rediss://h":                                    "tcp h:6379 db 0 TLS for h",
		"rediss://h?ssl_cert_reqs=CERT_REQUIRED":        "tcp h:6379 db 0 TLS for h",
		"rediss://h?ssl_cert_reqs=optional":             "tcp h:6379 db 0 TLS for h",
		"rediss://h?ssl_cert_reqs=CERT_OPTIONAL":        "tcp h:6379 db 0 TLS for h",
		"rediss://h?ssl_cert_reqs=none":                 "tcp h:6379 db 0 TLS for h unchecked",
		"rediss://h/1?ssl_cert_reqs=CERT_NONE":          "tcp h:6379 db 1 TLS for h unchecked",
		"redis+socket:///run/redis.sock?virtual_host=2": "unix /run/redis.sock db 2",
		"socket:///run/redis.sock":                      "unix /run/redis.sock db 0",
		"sentinel://a;sentinel://b:1;sentinel://c":      "tcp  db 0 sentinels a:26379 b:1 c:26379",
		"sentinel://:pw@a/2?master_name=m":              "tcp  db 2 as '' with 'pw' sentinels a:26379 master m",
	} {
		a, err := parseURL(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := a.String(); got != want {
			t.Errorf("%s is\n%s, want\n%s", text, got, want)
		}
	}
}

func (a address) String() string {
	text := fmt.Sprintf("%s %s db %d", a.network, a.addr, a.db)
	if a.username+a.password != "" {
		text += fmt.Sprintf(" as '%s' with '%s'", a.username, a.password)
	}
	if a.tls != nil {
		text += " TLS for " + a.tls.ServerName
		if a.tls.InsecureSkipVerify {
			text += " unchecked"
		}
		if a.tls.RootCAs != nil {
			text += " with authorities"
		}
		text += strings.Repeat(" with a certificate", len(a.tls.Certificates))
	}
	if a.sentinels != nil {
		text += " sentinels " + strings.Join(a.sentinels, " ")
	}
	if a.master != "" {
		text += " master " + a.master
	}
	return text
}

func TestURLsThatMakeNoSense(t *testing.T) {
	t.Parallel()
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"":                                   "unknown scheme",
		"http://h":                           "unknown scheme 'http'",
		"redis+cluster://h":                  "unknown scheme",
		"redis://h/x":                        "bad database 'x': want a whole number from 0",
		"redis://h/-1":                       "bad database '-1': want a whole number from 0",
		"redis://h?x=1":                      "unknown option 'x'",
		"redis://h?ssl_cert_reqs=none":       "for rediss:// only",
		"rediss://h?ssl_cert_reqs=maybe":     "unknown ssl_cert_reqs 'maybe'",
		"rediss://h?ssl_ca_certs=/nowhere":   "ssl_ca_certs",
		"rediss://h?ssl_ca_certs=" + empty:   "no certificate",
		"rediss://h?ssl_certfile=/nowhere":   "ssl_certfile",
		"redis://a;redis://b":                "only sentinel:// URLs can be given as a list",
		"sentinel://a;redis://b":             "only sentinel:// URLs can be given as a list",
		"redis://user:se%cret@h":             "not a URL",
		"sentinel://a;sentinel://%zz:secret": "not a URL",
		"redis://:12/secret@host:6379/0":     "has an '@' after its path has begun",
	} {
		_, err := parseURL(text)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "cret") {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
	if _, err := OpenBroker(BrokerSettings{Server: Server{URL: "sentinel://a"}}); err == nil {
		t.Error("a sentinel without a master is taken")
	}
	if _, err := OpenBackend(BackendSettings{Server: Server{URL: "x"}}); err == nil {
		t.Error("a backend without a server is taken")
	}
	if _, err := OpenReplies(RepliesSettings{Server: Server{URL: "x"}}); err == nil {
		t.Error("replies without a server are taken")
	}
}

func TestTLSOfTheSettingsRules(t *testing.T) {
	t.Parallel()
	b, err := OpenBroker(BrokerSettings{Server: Server{URL: "redis://h", TLS: &tls.Config{ServerName: "x"}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	s, err := OpenBroker(BrokerSettings{Server: Server{URL: "sentinel://127.0.0.1:1", MasterName: "m"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("closed again: %v", err)
	}
}
