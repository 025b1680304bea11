package block

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
)

func TestHandlerBlocksUntilItsClientLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, leave := context.WithCancel(t.Context())
		returned := false
		go func() {
			r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil)
			if err := (Handler{}).ServeHTTP(httptest.NewRecorder(), r, nil); err != nil {
				t.Error(err)
			}
			returned = true
		}()
		synctest.Wait()
		if returned {
			t.Fatal("returned while its client waits")
		}
		leave()
		synctest.Wait()
		if !returned {
			t.Fatal("still blocked after its client has left")
		}
	})
}

func TestDirectiveTakesNothing(t *testing.T) {
	adapter := caddyfile.Adapter{ServerType: httpcaddyfile.ServerType{}}
	for text, valid := range map[string]bool{
		"bench_block":               true,
		"bench_block /slow/*":       true,
		"bench_block /slow/* more":  false,
		"bench_block {\n\t\tx\n\t}": false,
	} {
		_, _, err := adapter.Adapt([]byte("http://localhost {\n\t"+text+"\n}\n"), nil)
		if (err == nil) != valid {
			t.Errorf("%s: error %v, want valid %v", text, err, valid)
		}
	}
}
