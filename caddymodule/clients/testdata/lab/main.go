// Command lab runs one kind of client in Go, or the gRPC backend. It is a module of its own,
// so that users of offload get none of these clients.
//
//	lab client NAME
//	lab backend ADDR
//
// A client prints one line with the versions, then reads calls from standard input, one JSON
// object a line, and prints for each what its caller sees.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"time"
)

// call is one call of a client's user.
type call struct {
	ID     string            `json:"id"`
	URL    string            `json:"url"`
	Method string            `json:"method"`
	Fields map[string]string `json:"fields"`
	Bytes  int               `json:"bytes"`
	Obey   bool              `json:"obey"`
}

// seen is what its caller sees.
type seen struct {
	ID     string            `json:"id"`
	Status int               `json:"status"`
	Fields map[string]string `json:"fields"`
	Body   string            `json:"body"`
	Error  string            `json:"error,omitempty"`
}

type client struct {
	module string // empty: Go itself
	do     func(call) (seen, error)
}

var clients = map[string]client{
	"net-http":      {"", plain},
	"retryablehttp": {"github.com/hashicorp/go-retryablehttp", retryable},
	"grpc-go":       {"google.golang.org/grpc", overGRPC},
}

func main() {
	if os.Args[1] == "backend" {
		fmt.Fprintln(os.Stderr, serve(os.Args[2]))
		os.Exit(1)
	}
	run(clients[os.Args[2]])
}

func run(c client) {
	out := json.NewEncoder(os.Stdout)
	var mu sync.Mutex // protects out
	if err := out.Encode(map[string]string{"versions": version(c.module)}); err != nil {
		panic(err)
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var one call
		if err := json.Unmarshal(in.Bytes(), &one); err != nil {
			panic(err)
		}
		go func() {
			answer, err := c.make(one)
			if err != nil {
				answer.Error = err.Error()
			}
			answer.ID = one.ID
			mu.Lock()
			defer mu.Unlock()
			if err := out.Encode(answer); err != nil {
				panic(err)
			}
		}()
	}
}

// tries is the number of attempts of a program that retries in a loop, since its client has
// no retries.
const tries = 4

// make makes a call, in such a loop if the client is to obey Retry-After.
func (c client) make(one call) (answer seen, err error) {
	for range tries {
		answer, err = c.do(one)
		wait, ok := answer.Fields["retry-after"]
		if err != nil || !ok || !one.Obey {
			break
		}
		seconds, err := strconv.Atoi(wait)
		if err != nil {
			return answer, err
		}
		time.Sleep(time.Duration(seconds) * time.Second)
	}
	return answer, err
}

// version returns the version of a module in this binary.
func version(module string) string {
	info, _ := debug.ReadBuildInfo()
	for _, m := range info.Deps {
		if m.Path == module {
			return path.Base(module) + " " + m.Version
		}
	}
	return runtime.Version()
}
