package celery_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
)

// A URL with an unescaped password is rejected without a connection, and no part of it is shown:
// neither when a Caddyfile is adapted, nor when placeholders are replaced.
func TestPasswordsAreNotShown(t *testing.T) {
	for _, url := range []string{
		"redis://:12/secret@host:6379/0", "redis://:1?secret@h/0", "redis://:1#secret@h", "redis://:pa/secret@host/0",
		"redis://:a%zzsecret@host/0", "sentinel://:1/secret@h", "amqp://u:12/secret@host//", "amqps://u:1?secret@host/v", "ftp://:secret@host",
	} {
		t.Setenv("CELERY_TEST_URL", url)
		for word, other := range map[string]string{"broker": "backend redis://h/1", "backend": "broker redis://h/1"} {
			text := fmt.Sprintf("http://localhost {\n\tcelery {\n\t\t%s %q\n\t\t%s\n\t\ttask lab.add\n\t}\n}\n", word, url, other)
			_, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
			if err == nil || strings.Contains(err.Error(), "secret") {
				t.Errorf("%s %s in a Caddyfile: %v", word, url, err)
			}
			err = provision(t, route(t, fmt.Sprintf(`{%q: "{env.CELERY_TEST_URL}"}`, word)))
			if err == nil || strings.Contains(err.Error(), "secret") {
				t.Errorf("%s %s in the environment: %v", word, url, err)
			}
		}
	}
}
