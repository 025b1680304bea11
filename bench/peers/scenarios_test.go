package peers

import (
	"slices"
	"time"

	"github.com/caddy-offload/caddy-offload/bench/internal/hall"
	"github.com/caddy-offload/caddy-offload/bench/internal/stat"
)

const s = time.Second

// scenario is a load with the figures that it is for.
type scenario struct {
	title   string
	parties []hall.Party
	permits []int
	figures []figure

	// manyKeys are more than strides has a model for.
	manyKeys bool
}

// figure is one result of a history.
type figure struct {
	name string
	of   func(used []hall.Usage, permits int) float64
	aim  *span // of this project, nil for none
}

// span is a range of values with both of its ends.
type span struct{ from, to float64 }

// nearlyFair is the aim for a modest client, in % of its fair share.
var nearlyFair = &span{90, 110}

// scenarios are the tables of the result file.
var scenarios = []scenario{
	{
		title: "Runs of 2 s beside runs of 20 ms, 50 connections each. Light client: its share of the permit-time,\n" +
			"in % (fair: 50), and the p99 of its waits in 40 s, in s.",
		parties: hall.TwoClients(0),
		permits: []int{2, 8, 32},
		figures: []figure{
			{name: "share in 10 s", of: func(used []hall.Usage, _ int) float64 { return 100 * hall.Share(used, 0, 10*s) }},
			{name: "share in 10-40 s", of: func(used []hall.Usage, _ int) float64 { return 100 * hall.Share(used, 10*s, 40*s) }},
			{name: "p99 of its waits", of: func(used []hall.Usage, _ int) float64 { return stat.Quantile(used[0].Waits, 0.99) }},
		},
	},
	{
		title: "One client with 200 connections beside 50 modest ones with one, runs of 100 ms. Permit-time from\n" +
			"10 s to 60 s, in % of the fair share, a 51st.",
		parties: hall.GreedyClient(),
		permits: []int{4, 8, 32},
		figures: []figure{
			{name: "lowest modest", aim: nearlyFair, of: func(used []hall.Usage, permits int) float64 { return slices.Min(ofGreedy(used, permits)[1:]) }},
			{name: "highest modest", aim: nearlyFair, of: func(used []hall.Usage, permits int) float64 { return slices.Max(ofGreedy(used, permits)[1:]) }},
			{name: "greedy", of: func(used []hall.Usage, permits int) float64 { return ofGreedy(used, permits)[0] }},
		},
	},
	{
		title: "20 known clients with two connections, and from 10 s on 2000 made-up keys a second, runs of 100 ms.\n" +
			"Permit-time from 11 s to 30 s, in % of a 21st (fair if all made-up keys are one client).",
		parties:  hall.MadeUpKeys(20),
		permits:  []int{4, 8, 16},
		manyKeys: true,
		figures: []figure{
			{name: "lowest known", of: func(used []hall.Usage, permits int) float64 { return slices.Min(ofMadeUp(used, permits)[1:]) }},
			{name: "mean known", of: func(used []hall.Usage, permits int) float64 { return mean(ofMadeUp(used, permits)[1:]) }},
			{name: "made up, all", of: func(used []hall.Usage, permits int) float64 { return ofMadeUp(used, permits)[0] }},
		},
	},
	{
		title: "Two clients with runs of 500 ms, and from 20 s on a third one with runs of 50 ms, 50 connections each.\n" +
			"Newcomer: its share of the permit-time in its first second, in % (fair: 33.3).",
		parties: hall.Newcomer(),
		permits: []int{4, 8, 32},
		figures: []figure{
			{name: "share", of: func(used []hall.Usage, _ int) float64 { return 100 * hall.Share(used, 20*s, 21*s) }},
		},
	},
}

func ofGreedy(used []hall.Usage, permits int) []float64 { return parts(used, permits, 10*s, 60*s) }

func ofMadeUp(used []hall.Usage, permits int) []float64 { return parts(used, permits, 11*s, 30*s) }

// parts returns what each party has used of a time, in % of an equal part of the permits.
func parts(used []hall.Usage, permits int, from, to time.Duration) []float64 {
	equal := float64(permits) * (to - from).Seconds() / float64(len(used))
	all := make([]float64, len(used))
	for i := range used {
		all[i] = 100 * used[i].PermitTime(from, to) / equal
	}
	return all
}

func mean(all []float64) float64 {
	sum := 0.0
	for _, x := range all {
		sum += x
	}
	return sum / float64(len(all))
}
