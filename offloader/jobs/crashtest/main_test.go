package crashtest

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
)

// childVariable has the order of a child, as JSON.
const childVariable = "CRASHTEST_CHILD"

var kills = flag.Int("crash.kills", 20, "how often TestKilledProcessesLoseNothing kills the process")

func TestMain(m *testing.M) {
	text, isChild := os.LookupEnv(childVariable)
	if !isChild {
		testkit.Main(m)
		return
	}
	var o order
	err := json.Unmarshal([]byte(text), &o)
	if err == nil {
		err = runChild(o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
