package predict

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"testing"
)

var keep = flag.String("keep", "", "file that the figures are kept in")

func TestMain(m *testing.M) {
	flag.Parse()
	if *keep != "" {
		head := "PREDICT refusals and turns, in virtual time\n\n" +
			"repeat    go test ./bench/predict -count 1 -timeout 30m -args -histories 5 -keep ../results/predict.txt\n" +
			fmt.Sprintf("programs  %s\n\n", runtime.Version())
		if err := os.WriteFile(*keep, []byte(head), 0o644); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// publish prints a table, and appends it to the result file.
func publish(t *testing.T, text string) {
	t.Helper()
	t.Log("\n" + text)
	if *keep == "" {
		return
	}
	file, err := os.OpenFile(*keep, os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }() // the writes are checked
	if _, err := file.WriteString(text + "\n"); err != nil {
		t.Fatal(err)
	}
}
