package main

import "github.com/caddy-offload/caddy-offload/internal/load"

// result has the figures of one run of a scene. Its counts are those of the
// blocking route.
type result struct {
	Requests  int            `json:"requests"`
	Completed int            `json:"completed"`
	Lost      int            `json:"lost"`
	Errors    map[string]int `json:"errors"`
	Blocking  load.Latencies `json:"blocking"`
	Fast      load.Route     `json:"fast"`
	Permits   int            `json:"permits"`
	ServiceMS float64        `json:"service_ms"`
	WallS     float64        `json:"wall_s"`
	IdealS    float64        `json:"ideal_s"`
	// Ratio is the time for each completed request divided by the ideal; zero
	// if none was completed.
	Ratio float64 `json:"ratio"`
}

// report has the results by scene.
type report struct {
	OK          bool              `json:"ok"`
	Unprotected map[string]result `json:"unprotected"`
	Protected   map[string]result `json:"protected"`
}

// lost returns the number of requests that the offloaded runs did not answer,
// on either route.
func (r *report) lost() int {
	lost := 0
	for _, result := range r.Protected {
		lost += result.Lost + result.Fast.Lost
	}
	return lost
}
