package grpccall_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/grpccall"
)

func TestTimeouts(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"1H": time.Hour, "2M": 2 * time.Minute, "3S": 3 * time.Second, "4m": 4 * time.Millisecond, "5u": 5 * time.Microsecond, "6n": 6,
		"0n": 0, "99999999n": 99999999, "99999999S": 99999999 * time.Second, "2562047H": 2562047 * time.Hour,
		"": -1, "1": -1, "S": -1, "1s": -1, "-1S": -1, "+1S": -1, "1.5S": -1, " 1S": -1, "999999999n": -1, "2562048H": -1, "99999999H": -1, "0x1S": -1,
	} {
		limit, ok := grpccall.Timeout(http.Header{"Grpc-Timeout": {text}})
		if !ok {
			limit = -1
		}
		if limit != want {
			t.Errorf("%q: got %v, want %v", text, limit, want)
		}
	}
}
