// Package conformance is shared by the tools that run a conformance suite against
// the project's own Caddy, without offload and with it. It starts Caddy and
// compares the results. A case that fails without offload too does not count.
package conformance

import (
	"errors"
	"fmt"
	"slices"
)

// Result is the result of one site: the reason of a failure by case, empty for a
// passed case.
type Result map[string]string

// errNoCases is the error of a report without cases.
var errNoCases = errors.New("no cases in the report")

// Whole returns a result, or an error if there is no case in it.
func (r Result) Whole() (Result, error) {
	if len(r) == 0 {
		return nil, errNoCases
	}
	return r, nil
}

// Passed counts the cases that passed.
func (r Result) Passed() int {
	n := 0
	for _, reason := range r {
		if reason == "" {
			n++
		}
	}
	return n
}

// Reason returns why a case failed.
func (r Result) Reason(name string) string {
	if reason, played := r[name]; played {
		return reason
	}
	return "not played"
}

// LostIn returns the cases that pass here and not there.
func (r Result) LostIn(other Result) []string {
	var lost []string
	for name, reason := range r {
		if reason == "" && other.Reason(name) != "" {
			lost = append(lost, name)
		}
	}
	slices.Sort(lost)
	return lost
}

// Compare prints the result of a site in comparison with the plain one, and
// returns the lost cases.
func Compare(name string, plain, r Result) []string {
	fmt.Printf("%-28s %d of %d cases passed\n", name, r.Passed(), len(r))
	lost := plain.LostIn(r)
	for i, c := range lost {
		fmt.Printf("%-28s lost: %s: %s\n", name, c, r.Reason(c))
		lost[i] = name + ": " + c
	}
	return lost
}

// Twice compares once, and again if a case was lost. On a busy machine a case may
// fail by chance; a case that offload breaks is lost both times.
func Twice(compare func() (lost []string, err error)) error {
	lost, err := compare()
	if err != nil || len(lost) == 0 {
		return err
	}
	fmt.Println("once more")
	again, err := compare()
	if err != nil {
		return err
	}
	lost = slices.DeleteFunc(lost, func(name string) bool { return !slices.Contains(again, name) })
	if len(lost) > 0 {
		return fmt.Errorf("cases failed twice with offload and pass without it: %q", lost)
	}
	return nil
}
