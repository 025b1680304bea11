package authority_test

import (
	"strings"
	"testing"

	"github.com/caddy-offload/caddy-offload/offloader/celery/internal/authority"
)

func TestPasswordsThatEndTheAuthority(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"redis://:12/secret@host:6379/0", "redis://:1?secret@h/0", "redis://:pa/secret@host/0", "redis://:1#secret@host/0",
		"redis://user:1/secret@h", "redis://:1?ssl_ca_certs=secret@h/0", "rediss://:1?ssl_cert_reqs=secret@h/0",
		"redis://:1?virtual_host=secret@h/0", "redis://:/secret@h", "redis://secret/x@h",
		"sentinel://a;sentinel://:1/secret@b", "sentinel://:1;secret@b/0", "redis+socket://:1/secret@x/run/redis.sock",
		"amqp://u:12/secret@host//", "amqps://u:1?secret@host/v", "amqp://u:1#secret@host/v",
	} {
		if err := authority.Check(url); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func TestURLsThatAreWhole(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"", "x", "redis://", "redis://h/1", "redis://:p%2Fw@h/1?virtual_host=2", "redis://a:b@c@h/1", "redis:///1",
		"redis+socket:///run/a@b/redis.sock", "sentinel://:pw@a;sentinel://:pw@b:1/2?master_name=m",
		"amqp://guest:guest@h//", "amqp://u:p@h/a%40b",
	} {
		if err := authority.Check(url); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
}
