package list_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/list"
)

// A list has the order of a slice, from both ends, after any pushes and removals.
func TestListAgainstSlice(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	var l list.List[int]
	var want []int
	elements := make([]list.Element[int], 10)
	for i := range elements {
		elements[i].Value = i
	}
	for range 10_000 {
		i := rnd.IntN(len(elements))
		if at := slices.Index(want, i); at >= 0 {
			l.Remove(&elements[i])
			want = slices.Delete(want, at, at+1)
		} else {
			l.Push(&elements[i])
			want = append(want, i)
		}
		var forward, backward []int
		for e := l.Front(); e != nil; e = e.Next() {
			forward = append(forward, e.Value)
		}
		for e := l.Back(); e != nil; e = e.Prev() {
			backward = append(backward, e.Value)
		}
		slices.Reverse(backward)
		if l.Len() != len(want) || !slices.Equal(forward, want) || !slices.Equal(backward, want) {
			t.Fatalf("%d elements, %v forward, %v backward, want %v", l.Len(), forward, backward, want)
		}
	}
}
