package fidelity_test

import "testing"

func TestCompareMethods(t *testing.T) {
	compare(t, proxied,
		trial{name: "GET"},
		trial{name: "HEAD", request: request{method: "HEAD"}},
		trial{name: "POST", request: request{method: "POST", body: sized(100)}},
		trial{name: "POST of unknown length", request: request{method: "POST", body: unsized(100)}},
	)
}
