//go:build integration

package main

import (
	"encoding/json"
	"errors"
	"os/exec"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/caddy-offload/caddy-offload/examples/gpu/modelserver"
	"github.com/caddy-offload/caddy-offload/internal/services"
	"github.com/caddy-offload/caddy-offload/internal/testkit"
)

// The real client of OpenAI needs a base URL and an API key, nothing else. All of its four
// streams that it leaves after the first token end in the server, else the crowd that
// comes after them would find no room.
func TestTheClientOfOpenAI(t *testing.T) {
	commands, err := services.PythonCommands(t.Context(), "requirements.txt")
	if err != nil {
		t.Fatal(err)
	}
	e := startAt(t, modelserver.Options{})
	cmd := exec.CommandContext(t.Context(), filepath.Join(commands, "python"), "client.py", e.base+"/small/v1", "key-anna")
	cmd.Env = append(cmd.Environ(), "PYTHONDONTWRITEBYTECODE=1")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s\n%s", cmd.Args, err, stderr(err))
	}
	var got struct {
		Models, Events, Left     []string
		Whole, Stranger, Version string
		Crowd                    int
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Log("openai", got.Version)
	want := got
	want.Models, want.Whole = []string{"small"}, "One GPU "
	want.Events = []string{"", "One ", "GPU ", "serves ", "many ", "clients ", ""}
	want.Left = []string{"One ", "One ", "One ", "One "}
	want.Crowd, want.Stranger = 12, "invalid_api_key"
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the client got %+v, want %+v", got, want)
	}
	testkit.Eventually(t, func() bool { return e.gpu.Stats().Users["anna"].Left == 4 })
	if anna := e.gpu.Stats().Users["anna"]; anna.Served != 14 {
		t.Errorf("the user got %+v", anna)
	}
	e.neverTooMany(t)
}

// stderr is what a program that failed wrote.
func stderr(err error) []byte {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return nil
	}
	return exit.Stderr
}
