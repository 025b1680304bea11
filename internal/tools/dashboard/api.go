package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

const (
	rateInterval = "10s"
	// shown is the time range of a panel.
	shown = time.Minute
	step  = 5 * time.Second
	again = time.Second
)

// api is the HTTP API of Prometheus.
type api struct{ base string }

// await repeats the queries until each one has data.
func (a api) await(ctx context.Context, queries []query) error {
	for {
		var missing []error
		for _, q := range queries {
			if err := a.ask(ctx, q.expr); err != nil {
				missing = append(missing, fmt.Errorf("%s: %s: %w", q.panel, q.expr, err))
			}
		}
		if len(missing) == 0 {
			for _, q := range queries {
				fmt.Printf("ok  \t%s: %s\n", q.panel, q.expr)
			}
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(missing...)
		case <-time.After(again):
		}
	}
}

var errNoData = errors.New("no data")

// ask sends a query as a panel does. If there is no data, the error has the reason.
func (a api) ask(ctx context.Context, expr string) error {
	// a query without data is reported when the time for all is up
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	now := time.Now()
	values := url.Values{
		"query": {expr}, "step": {step.String()},
		"start": {stamp(now.Add(-shown))}, "end": {stamp(now)},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.base+"/api/v1/query_range?"+values.Encode(), nil)
	if err != nil {
		return fmt.Errorf("asking: %w", err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	var answer struct {
		Error string `json:"error"`
		Data  struct {
			Result []struct {
				Values [][2]any `json:"values"` // time and value
			} `json:"result"`
		} `json:"data"`
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	if answer.Error != "" {
		return errors.New(answer.Error)
	}
	for _, series := range answer.Data.Result {
		for _, v := range series.Values {
			if v[1] != "NaN" {
				return nil
			}
		}
	}
	return errNoData
}

func stamp(t time.Time) string { return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64) }
