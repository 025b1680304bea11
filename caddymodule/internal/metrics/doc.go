// Package metrics publishes the numbers of all pools to Prometheus, as docs/metrics.md
// describes them. It reads them when they are scraped.
package metrics
