//go:build integration

package backends

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"testing"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-offload/caddy-offload/caddymodule"
	"github.com/caddy-offload/caddy-offload/internal/testkit"
)

// In the environment these make the test binary a Caddy, or a backend in Go that listens
// at the value.
const (
	asCaddy = "OFFLOAD_TEST_AS_CADDY"
	asGo    = "OFFLOAD_TEST_AS_GO"
)

func TestMain(m *testing.M) {
	if os.Getenv(asCaddy) != "" {
		caddycmd.Main()
		return
	}
	if addr := os.Getenv(asGo); addr != "" {
		panic(http.ListenAndServe(addr, http.HandlerFunc(answerInGo)))
	}
	testkit.Main(m)
}

// answerInGo has the routes of all backends. It does not look at its context.
func answerInGo(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/fast" {
		id := r.FormValue("id")
		seconds, _ := strconv.ParseFloat(r.FormValue("seconds"), 64)
		write("start " + id)
		testkit.Pause(time.Duration(seconds * float64(time.Second)))
		write("end " + id)
	}
	io.WriteString(w, "done\n")
}

// write adds a line to the journal.
func write(line string) {
	file, err := os.OpenFile(os.Getenv("JOURNAL"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		panic(err)
	}
	defer file.Close()
	fmt.Fprintln(file, line)
}
