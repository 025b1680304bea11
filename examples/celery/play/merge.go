package main

import "slices"

// rows returns one line for each variant and way: the sums of counts over the rounds, and
// the medians of all other numbers.
func (r *report) rows() []result {
	rounds := map[string][]result{}
	var paths []string
	for _, one := range r.Runs {
		if rounds[one.Path] == nil {
			paths = append(paths, one.Path)
		}
		rounds[one.Path] = append(rounds[one.Path], one)
	}
	var rows []result
	for _, path := range paths {
		rows = append(rows, merged(rounds[path]))
	}
	return rows
}

// merged makes one result of the rounds of one path.
func merged(rounds []result) result {
	sum := rounds[0]
	sum.Requests, sum.Completed, sum.Lost, sum.Errors = 0, 0, 0, map[string]int{}
	sum.Ping.Completed, sum.Ping.Lost = 0, 0
	for _, one := range rounds {
		sum.Requests += one.Requests
		sum.Completed += one.Completed
		sum.Lost += one.Lost
		sum.Ping.Completed += one.Ping.Completed
		sum.Ping.Lost += one.Ping.Lost
		for kind, n := range one.Errors {
			sum.Errors[kind] += n
		}
	}
	sum.WallS = median(rounds, func(r result) float64 { return r.WallS })
	sum.PerSecond = median(rounds, func(r result) float64 { return r.PerSecond })
	sum.P50 = median(rounds, func(r result) float64 { return r.P50 })
	sum.P99 = median(rounds, func(r result) float64 { return r.P99 })
	sum.Ping.P99 = median(rounds, func(r result) float64 { return r.Ping.P99 })
	return sum
}

// median returns the median, of an even number the lower middle value.
func median(rounds []result, of func(result) float64) float64 {
	var values []float64
	for _, one := range rounds {
		values = append(values, of(one))
	}
	slices.Sort(values)
	return values[(len(values)-1)/2]
}
