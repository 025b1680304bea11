package upstream

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"testing"
)

// started runs Serve as the process would, and returns its addresses and a
// function that ends it.
func started(t *testing.T, config Config) (Ready, func() error) {
	t.Helper()
	text, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	stdin, input := io.Pipe()
	output, stdout := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- Serve(t.Context(), stdin, stdout) }()
	go func() { _, _ = input.Write(text) }()
	var ready Ready
	if err := json.NewDecoder(output).Decode(&ready); err != nil {
		t.Fatal(err)
	}
	return ready, func() error {
		if err := input.Close(); err != nil {
			return err
		}
		return <-ended
	}
}

func body(t *testing.T, url string) []byte {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestServeLivesAsLongAsItsInput(t *testing.T) {
	ready, end := started(t, Config{
		Workers: 1, SendBuffer: 64 << 10, Routes: map[string]Route{"/fast": {Size: 3}},
	})
	if got := body(t, "http://"+ready.Addr+"/fast/x"); len(got) != 3 {
		t.Fatalf("%d bytes, want 3", len(got))
	}
	var stats Stats
	if err := json.Unmarshal(body(t, "http://"+ready.Control), &stats); err != nil {
		t.Fatal(err)
	}
	if stats.MaxInside != 1 {
		t.Fatalf("stats %+v", stats)
	}
	if err := end(); err != nil {
		t.Fatal(err)
	}
}

func TestBareAnswersWithTheSizeInThePath(t *testing.T) {
	ready, end := started(t, Config{Bare: true})
	for path, want := range map[string]int{"/slow/0": 0, "/slow/128": 128, "/fast/65536": 65536} {
		if got := body(t, "http://"+ready.Addr+path); len(got) != want {
			t.Errorf("%s: %d bytes, want %d", path, len(got), want)
		}
	}
	if err := end(); err != nil {
		t.Fatal(err)
	}
}

func TestBareHangsUpOnWhatItCannotRead(t *testing.T) {
	for _, text := range []string{
		"GET /x HTTP/1.1\r\n\r\n", "GET /-1 HTTP/1.1\r\n\r\n", "GET /99999999999 HTTP/1.1\r\n\r\n", "what\r\n", "GET /1 HTTP/1.1\r\nHos",
	} {
		client, server := net.Pipe()
		ended := make(chan error, 1)
		go func() { ended <- new(bareAnswers).serve(server) }()
		if _, err := io.WriteString(client, text); err != nil {
			t.Fatal(err)
		}
		if err := client.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; err == nil {
			t.Errorf("%q: no error", text)
		}
	}
}

func TestServeRefusesBadConfig(t *testing.T) {
	if err := Serve(t.Context(), bytes.NewBufferString("no"), io.Discard); err == nil {
		t.Fatal("no error")
	}
}
